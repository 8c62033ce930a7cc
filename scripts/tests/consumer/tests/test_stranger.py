"""Passes with the candidate, while another image of the repository is started too."""

import os

from .conftest import start
from .repository import REPOSITORY


def test_of_another_image(health):
    for name in os.environ["UV_TEST_STRANGER"].split():
        start(f"{REPOSITORY}:other", name, ports={}).remove(force=True)
    assert health
