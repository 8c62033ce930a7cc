"""Starts another image under the name of its shard's emulator, once the candidate has gone."""

import docker

from .conftest import NAME, answer, start
from .repository import REPOSITORY


def test_own_name(health):
    docker.from_env().containers.get(NAME).remove(force=True)
    start(f"{REPOSITORY}:other")
    assert answer() == "another one\n"
