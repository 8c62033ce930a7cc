"""Enough that pass, and one of each kind that fails the first time."""

import pytest

from .conftest import NAME, first_time


@pytest.mark.parametrize("number", range(12))
def test_passes(health, number):
    assert health


def test_second_time_lucky(health):
    assert not first_time("flaky")


def test_gives_up(health):
    if not first_time("gives-up"):
        pytest.skip("no use")
    raise AssertionError


@pytest.mark.flaky(reruns=3)
def test_rerun_by_aws_sam_cli_itself(health):
    assert "retry" in NAME or not first_time("rerun")
