from ..conftest import health, url  # noqa: F401  (this folder has a configuration of its own)


def test_good(health):  # noqa: F811
    assert health


def test_bad(health):  # noqa: F811
    raise AssertionError
