"""Starts another image on the port of its shard's emulator, once the candidate has gone."""

import docker

from .conftest import NAME, answer, start
from .repository import REPOSITORY


def test_own_port(health):
    docker.from_env().containers.get(NAME).remove(force=True)
    name = f"{REPOSITORY.rpartition('/')[2]}-on-port"
    other = start(f"{REPOSITORY}:other", name)
    try:
        assert answer(name) == "another one\n"
    finally:
        other.remove(force=True)
