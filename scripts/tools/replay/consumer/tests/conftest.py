"""A user of `sam local`: the commands as typed, and boto3 against `sam local start-lambda`."""

import socket
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

APP = Path(__file__).parent.parent
WITHOUT_RETRIES = Config(
    signature_version=UNSIGNED, retries={"max_attempts": 0}
)


@pytest.fixture(scope="module")
def functions():
    """The functions by boto3, as `sam local start-lambda` serves them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, log = start("start-lambda", "--port", str(port))
    until(lambda: "Running on" in log.read_text() or server.poll() is not None)
    url = f"http://127.0.0.1:{port}"
    yield boto3.client("lambda", endpoint_url=url, config=WITHOUT_RETRIES)
    server.terminate()
    server.wait(300)


def sam(*arguments):
    """Run a command of `sam local` to its end and return what it printed."""
    command = ["sam", "local", *arguments]
    done = subprocess.run(
        command, cwd=APP, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, error(done.stderr)
    return done.stdout


def start(*arguments):
    log = APP / f"{arguments[0]}.log"
    command = ["sam", "local", *arguments]
    with log.open("w") as output:
        return subprocess.Popen(
            command, cwd=APP, stdout=output, stderr=output
        ), log


def error(printed):
    lines = printed.strip().splitlines()
    return next((line for line in lines if "Error: " in line), lines[-1])


def until(condition):
    deadline = time.monotonic() + 300
    while not (value := condition()):
        assert time.monotonic() < deadline, "not within 300 s"
        time.sleep(0.3)
    return value
