"""The candidate's tag comes to name another image while the suite runs, as by a pull."""

import os

import docker

from .conftest import image
from .repository import REPOSITORY


def test_moves_tag(health):
    client = docker.from_env()
    other = client.images.get(f"{REPOSITORY}:other")
    other.tag(REPOSITORY, os.environ["DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG"])
    assert client.images.get(image()).id == other.id
