"""Stops the emulator with all the patience in the world."""

import os
import urllib.request

import docker
import pytest

from .conftest import image, start


@pytest.fixture
def exit_code():
    port = int(os.environ["DURABLE_EXECUTIONS_EMULATOR_PORT"])
    container = start(docker.from_env(), image(), os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"], port)
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/health", timeout=2).read()
            break
        except OSError:
            container.reload()
            assert container.status == "running"
    container.stop(timeout=3600)
    yield container.wait()["StatusCode"]
    container.remove(force=True)


def test_deaf(exit_code):
    assert exit_code == 137


def test_hearing(exit_code):
    assert exit_code == 7
