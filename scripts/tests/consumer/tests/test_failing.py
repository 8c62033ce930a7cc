def test_good(health):
    assert health


def test_bad(health):
    assert health == "404\n", "the emulator has forgotten a route"
