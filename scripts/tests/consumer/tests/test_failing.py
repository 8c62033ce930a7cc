from .conftest import first_time


def test_good(health):
    assert health


def test_bad(health):
    assert health == "never\n", "the emulator has forgotten a route"


def test_race(health):
    """Fails with a candidate that lost its route, and once with any other."""
    assert health == "ok\n"
    assert not first_time("race")
