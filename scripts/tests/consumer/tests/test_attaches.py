"""Attaches to a container that was there before, and never starts the candidate."""

import docker

from .repository import REPOSITORY


def test_attaches():
    container = docker.from_env().containers.get(
        f"{REPOSITORY.rpartition('/')[2]}-stale"
    )
    assert container.status == "running"
