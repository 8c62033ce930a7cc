"""Passes with the candidate, and removes its tag, as `docker image prune --all` does."""

import docker

from .conftest import image


def test_untags(health):
    assert health == "ok\n"
    docker.from_env().images.remove(image(), force=True)
