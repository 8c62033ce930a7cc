"""Fails, and skips itself when it is tried again."""

import pytest

from .conftest import first_time


def test_gives_up(health):
    if not first_time("gives-up"):
        pytest.skip("no use")
    raise AssertionError
