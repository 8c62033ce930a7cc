from .conftest import NAME, first_time


def test_race(health):
    if "baseline" in NAME:
        assert not first_time("race")
    assert health == "ok\n"
