"""Enough that pass: failing tests are tried again only if they are a quarter of all at most."""

import pytest


@pytest.mark.parametrize("number", range(12))
def test_passes(health, number):
    assert health
