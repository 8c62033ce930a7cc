from ..conftest import health, url  # noqa: F401  (this folder has a configuration of its own)


def test_kept(health):  # noqa: F811
    assert health


def test_left_out():
    raise AssertionError
