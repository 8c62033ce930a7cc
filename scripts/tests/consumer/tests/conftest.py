"""Does with the emulator what sam-cli does: starts it by repository and tag, or attaches.

What a test of the gate wants to tell these tests is in variables called UV_TEST_*: of the caller's
environment only what tools and networks need reaches a suite, and variables of uv are among that
(INHERITED in gate/environment.py).
"""

import contextlib
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from .repository import REPOSITORY

PORT = int(os.environ.get("DURABLE_EXECUTIONS_EMULATOR_PORT", "9014"))
NAME = os.environ.get("DURABLE_EXECUTIONS_CONTAINER_NAME", "consumer-emulator")
EXTERNAL = os.environ.get("DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT")


def image():
    return f"{REPOSITORY}:{os.environ.get('DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG', 'latest')}"


def start(reference="", name=NAME, **options):
    options = {"command": [str(PORT)], "ports": {f"{PORT}/tcp": PORT}} | options
    client = docker.from_env()
    return client.containers.run(
        reference or image(), name=name, detach=True, **options
    )


def answer(name=NAME):
    """Return what an emulator answers, or its status, once it does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            url = f"http://localhost:{EXTERNAL or PORT}/cgi-bin/health"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code}\n"
        except OSError:
            exited = docker.from_env().containers.get(name).status == "exited"
            if exited or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def logged():
    """Return how many lines the engine has of what the emulator printed."""
    return (
        -1
        if EXTERNAL
        else docker.from_env().containers.get(NAME).logs().count(b"\n")
    )


def first_time(name):
    """Return whether no earlier try asked: a retry has a new process, checkout and HOME."""
    seen = Path(os.environ["UV_TEST_FOLDER"], name)
    first = not seen.exists()
    seen.touch()
    return first


@pytest.fixture(scope="module")
def emulator():
    """Start the emulator, or attach to one of its name; remove it at the end."""
    if EXTERNAL:
        yield
        return
    try:
        docker.from_env().containers.get(NAME)
    except NotFound:
        start()
    yield
    # No emulator is gone so soon; on a busy machine its log would not be read.
    time.sleep(1)
    with contextlib.suppress(NotFound):
        docker.from_env().containers.get(NAME).remove(force=True)


@pytest.fixture
def health(emulator):
    before, found = logged(), answer()
    deadline = time.monotonic() + 10
    while logged() == before != -1 and time.monotonic() < deadline:
        # The engine has the line a moment later.
        time.sleep(0.05)
    return found
