"""Passes with the candidate, and gives its tag to another image, as another clone may."""

import docker

from .conftest import image
from .repository import REPOSITORY


def test_moves_tag(health):
    assert health == "ok\n"
    docker.from_env().images.get(f"{REPOSITORY}:other").tag(image())
