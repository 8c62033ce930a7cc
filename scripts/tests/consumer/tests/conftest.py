"""What sam-cli does with the emulator: start or attach by name, from repository and tag, on a port; stop it later."""

import os
import time
import urllib.request
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from .repository import REPOSITORY

PORT = int(os.environ.get("DURABLE_EXECUTIONS_EMULATOR_PORT", "9014"))
NAME = os.environ.get("DURABLE_EXECUTIONS_CONTAINER_NAME", "consumer-emulator")


def image() -> str:
    return f"{REPOSITORY}:{os.environ.get('DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG', 'latest')}"


def start(reference: str = "", name: str = NAME, **options) -> docker.models.containers.Container:
    options = {"command": [str(PORT)], "ports": {f"{PORT}/tcp": PORT}} | options
    return docker.from_env().containers.run(reference or image(), name=name, detach=True, **options)


def answer(url: str) -> str:
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


def first_time(name: str) -> bool:
    """Whether no earlier try of a test has asked: a retry has a new process, checkout and HOME."""
    seen = Path(os.environ["UV_TEST_FOLDER"], name)
    first = not seen.exists()
    seen.touch()
    return first


@pytest.fixture(scope="module")
def url():
    """The emulator's address, with the emulator running behind it."""
    if external := os.environ.get("DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT"):
        yield f"http://localhost:{external}"
        return
    try:
        container = docker.from_env().containers.get(NAME)
    except NotFound:
        container = start()
    yield f"http://localhost:{PORT}"
    container.remove(force=True)


@pytest.fixture
def health(url):
    return answer(url)
