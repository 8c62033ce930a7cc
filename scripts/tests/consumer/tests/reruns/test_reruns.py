from ..conftest import health, url  # noqa: F401  (this folder has a configuration of its own)

tries = []


def test_second_time_lucky(health):  # noqa: F811
    tries.append(health)
    assert len(tries) > 1
