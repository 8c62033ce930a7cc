"""A user of `sam local`: the commands as typed, and boto3 against `sam local start-lambda`."""

import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

APP = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder of this process's own: the emulator keeps its data where sam is called."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(APP / "template.yaml", folder)
    shutil.copytree(APP / "functions", folder / "functions")
    return folder


@pytest.fixture(scope="session")
def sam(project):
    """Calls sam and returns what it printed; a failure names the command and its most telling line."""

    def call(*arguments):
        done = subprocess.run(["sam", *arguments], cwd=project, capture_output=True, text=True, timeout=600)
        print("$ sam", *arguments, f"\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, f"sam {' '.join(arguments[:3])}: {complaint(done.stderr or done.stdout)}"
        return done.stdout

    return call


@pytest.fixture(scope="module")
def served(project):
    """The functions as `sam local start-lambda` serves them, and its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project / f"start-lambda-{port}.log"
    command = ["sam", "local", "start-lambda", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=project, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        until(lambda: "Running on" in log.read_text() or server.poll() is not None)
        assert server.poll() is None, f"sam local start-lambda: {complaint(log.read_text())}"
        config = Config(signature_version=UNSIGNED, read_timeout=300, retries={"max_attempts": 0})
        yield boto3.client("lambda", endpoint_url=f"http://127.0.0.1:{port}", config=config), log
    finally:
        server.terminate()
        server.wait(300)
        print(log.read_text())


@pytest.fixture
def functions(served):
    """The functions, by boto3."""
    return served[0]


@pytest.fixture
def asked(served):
    """The ARN of an execution that waits for its answer, or that sam has given up."""
    functions, log = served

    def ended():
        return len(re.findall(r"END RequestId|Error polling", log.read_text()))

    before = ended()
    execution = arn(functions.invoke(FunctionName="Asks", InvocationType="Event", Payload=b"{}"))
    until(lambda: ended() > before)
    return execution


def arn(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-durable-execution-arn"]


def complaint(said):
    """Return the most telling line of what sam printed."""
    lines = [line for line in said.splitlines() if line.strip()] or ["nothing was said"]
    return next((line for line in lines if "An error occurred" in line), lines[-1])


def until(condition, seconds=300):
    """Return the first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.3)
    return value


def history(sam, execution):
    return json.loads(sam("local", "execution", "history", execution, "--format", "json"))["Events"]


def question(events):
    """Return the id of the callback that an execution waits for, once its history has it."""
    ids = [event["CallbackStartedDetails"]["CallbackId"] for event in events if event["EventType"] == "CallbackStarted"]
    return ids[0] if ids else None
