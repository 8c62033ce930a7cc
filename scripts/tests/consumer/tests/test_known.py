def test_works(health):
    assert health


def test_never_worked(health):
    assert health == "never\n", "the emulator never had this route"
