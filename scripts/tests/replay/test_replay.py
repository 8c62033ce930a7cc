"""The incident again: the released aws-sam-cli, called as its users call it, and the emulator of then and of after.

Emulator 1.2.0 gave executions names with a slash and knew none of them when aws-sam-cli asked; 1.2.1 does.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, ImageNotFound

from config import ROOT, load

from ..conftest import Gate, commit_all, copy_template, missing

pytestmark = [pytest.mark.engine, pytest.mark.replay]

CONSUMER = Path(__file__).parent / "consumer"
PUBLISHED = load(environ={}).emulator_repository  # aws-sam-cli knows no other
BASES = ("python:3.13-slim", "public.ecr.aws/lambda/python:3.13-x86_64")  # of emulators, of functions
SDK = "aws-durable-execution-sdk-python==1.7.0"  # of the time of the incident
BOTO3 = "boto3==1.44.5"  # which the SDK leaves open
EMULATOR = "aws-durable-execution-sdk-python-testing"
TAG = f"replay-{os.getpid()}"  # two test runs may share an engine
TESTS = " ".join(f"tests/test_{what}.py" for what in ("invoke", "start_lambda", "execution", "callback"))
DOCKERFILE = f"""\
FROM {BASES[0]}
COPY dist/*.whl /tmp/
RUN pip install --no-cache-dir /tmp/*.whl '{SDK}' '{BOTO3}' && rm /tmp/*.whl
ENV AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_DEFAULT_REGION=us-east-1
EXPOSE 9014
CMD ["dex-local-runner", "start-server", "--host", "0.0.0.0", "--port", "9014"]
"""
Found = tuple[str, dict[str, Any]]  # what `make compat` printed, and its verdict


@pytest.fixture(scope="module")
def bases(docker_client: docker.DockerClient) -> None:
    """The base images, from the engine or their registries."""
    for name in BASES:
        try:
            docker_client.images.get(name)
        except ImageNotFound:
            try:
                docker_client.images.pull(name)
            except APIError as error:
                missing(f"{name} cannot be pulled: {error.explanation}")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository whose tests call the released aws-sam-cli."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(CONSUMER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    uv = Path(sys.executable).with_name("uv")
    wanted = (f"--target={folder / 'functions'}", "--python-version=3.13", "--only-binary=:all:", SDK, BOTO3)
    done = subprocess.run([uv, "pip", "install", *wanted], capture_output=True, text=True)
    if done.returncode:
        missing(f"{SDK} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    commit_all(folder)
    return folder


@pytest.fixture(scope="module")
def gate(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient, bases: None, user: Path
) -> Iterator[Gate]:
    """The gate of an emulator's repository, by settings alone; which emulator is for the test to say."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "emulator").mkdir()
    (folder / "emulator/Dockerfile").write_text(DOCKERFILE)
    settings = {
        "EMULATOR_SOURCE": str(folder / "emulator"),
        "SAMCLI_SOURCE": str(user),
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_TESTS": TESTS,
        "COMPAT_MIN_PASSED": "10",
        "SAM_SKIP_PULL_IMAGE": "1",
    }
    yield Gate(copy_template(folder / "template"), settings)
    made = [tag for image in docker_client.images.list(name=PUBLISHED) for tag in image.tags]
    mine = {docker_client.images.get(tag).id for tag in made if f":{TAG}-" in tag}
    for tag in made:
        if f":{TAG}-" in tag or (":pr-baseline-" in tag and docker_client.images.get(tag).id in mine):
            docker_client.images.remove(tag, force=True)


def judged(gate: Gate, version: str, baseline: str) -> Found:
    """Return what `make compat` printed of a released emulator, and its verdict."""
    wheel = f"rm -rf dist && python -m pip download --quiet --no-deps --dest dist {EMULATOR}=={version}"
    done = gate.make("compat", EMULATOR_PREBUILD=wheel, EMULATOR_TAG=f"{TAG}-{version}", COMPAT_BASELINE=baseline)
    print(done.stdout)
    return done.stdout, gate.verdict()


@pytest.fixture(scope="module")
def mended(gate: Gate) -> Found:
    return judged(gate, "1.2.1", "")


@pytest.fixture(scope="module")
def broken(gate: Gate, mended: Found) -> Found:
    """The incident's own emulator, where the one that mended it is what is published."""
    return judged(gate, "1.2.0", f"{TAG}-1.2.1")


def row(verdict: dict[str, Any]) -> str:
    """Return the row that a verdict has in README's table."""
    (run,) = verdict["runs"]
    failing = sorted({call for case in run["tests"] for call in re.findall(r"when calling the (\w+)", case["message"])})
    cells = (
        verdict["candidate"]["version"],
        "green" if verdict["green"] else "red",
        f"{run['passed']} of {len(run['tests'])}",
        ", ".join(f"`{call}`" for call in failing) or "none",
    )
    return f"| {' | '.join(cells)} |"


def test_the_emulator_that_mended_it_is_green(mended: Found) -> None:
    output, verdict = mended
    assert verdict["green"], output
    assert verdict["runs"][0]["containers"].keys() == {verdict["candidate"]["image_id"]}
    assert verdict["candidate"]["packages"] == {SDK.partition("==")[0]: "1.7.0", EMULATOR: "1.2.1"}


def test_the_emulator_of_the_incident_is_red_and_the_report_names_the_calls(broken: Found) -> None:
    output, verdict = broken
    assert not verdict["green"], output
    cases = verdict["runs"][0]["tests"]
    assert {case["attribution"] for case in cases if case["outcome"] == "failed"} == {"regression"}, output
    for command in ("execution get", "execution history", "execution stop", "invoke"):
        assert re.search(rf"sam local {command}\b.* An error occurred \(404\) when calling the \w+ operation", output)
    assert "An error occurred (Service) when calling" in output, "what boto3 gets of sam local start-lambda"


def test_no_function_of_these_runs_is_left(docker_client: docker.DockerClient, broken: Found) -> None:
    """An execution that got no answer leaves its function's container behind, and sam does not care."""
    functions = docker_client.containers.list(all=True, filters={"label": "sam.cli.container.type"})
    mounts = {mount["Source"] for function in functions for mount in function.attrs["Mounts"]}
    assert [source for source in mounts if source.endswith("/project0/functions")] == []


def test_readme_shows_these_verdicts(broken: Found, mended: Found) -> None:
    readme = (ROOT / "README.md").read_text()
    assert [row(verdict) for _, verdict in (broken, mended) if row(verdict) not in readme] == []
