"""Attaches to a container that was there before, as sam-cli does, and never starts the candidate."""

import docker


def test_attaches():
    container = docker.from_env().containers.get("stale-emulator")
    assert container.status == "running"
