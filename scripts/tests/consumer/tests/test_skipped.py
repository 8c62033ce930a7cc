import pytest


@pytest.mark.skip(reason="not today")
def test_one():
    raise AssertionError


def test_two():
    pytest.skip("nor this one")
