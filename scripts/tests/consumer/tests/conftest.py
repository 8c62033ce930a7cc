"""What sam-cli does with the emulator: start or attach by name, from repository and tag, on a port; stop it later."""

import os
import time
import urllib.request

import docker
import pytest
from docker.errors import NotFound

from .repository import REPOSITORY


def image() -> str:
    return f"{REPOSITORY}:{os.environ.get('DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG', 'latest')}"


def start(client: docker.DockerClient, reference: str, name: str, port: int) -> docker.models.containers.Container:
    return client.containers.run(reference, [str(port)], name=name, ports={f"{port}/tcp": port}, detach=True)


@pytest.fixture(scope="module")
def url():
    """The emulator's address, with the emulator running behind it."""
    if external := os.environ.get("DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT"):
        yield f"http://localhost:{external}"
        return
    client = docker.from_env()
    name = os.environ.get("DURABLE_EXECUTIONS_CONTAINER_NAME", "consumer-emulator")
    port = int(os.environ.get("DURABLE_EXECUTIONS_EMULATOR_PORT", "9014"))
    try:
        container = client.containers.get(name)
    except NotFound:
        container = start(client, image(), name, port)
    yield f"http://localhost:{port}"
    container.remove(force=True)


@pytest.fixture
def health(url):
    """What the emulator answers, once it does."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
