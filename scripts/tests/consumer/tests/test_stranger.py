"""Everything passes, but not only the candidate ran."""

import docker

from .repository import REPOSITORY


def test_of_another_image(health):
    client = docker.from_env()
    stranger = client.containers.run(
        f"{REPOSITORY}:other", ["9014"], name=f"{REPOSITORY.rpartition('/')[2]}-stranger", detach=True
    )
    stranger.remove(force=True)
    assert health
