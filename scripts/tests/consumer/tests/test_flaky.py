from .conftest import first_time


def test_second_time_lucky(health):
    assert not first_time("flaky")
