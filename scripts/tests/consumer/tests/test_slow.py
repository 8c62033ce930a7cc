"""The first test takes a while: an idle slot takes over others meanwhile."""

import time

import pytest


@pytest.mark.parametrize("number", range(6))
def test_slow(health, number):
    time.sleep(0 if number else 5)
    assert health
