"""Passes with the candidate, while somebody else uses another image of the repository."""

import os

import docker

from .conftest import start
from .repository import REPOSITORY


def test_beside_another_image(health):
    other = f"{REPOSITORY}:other"
    by_id = docker.from_env().images.get(other).id
    for name in os.environ["UV_TEST_STRANGER"].split():
        start(other, name, ports={}).remove(force=True)
        start(by_id, f"{name}-by-id", ports={}).remove(force=True)
    assert health
