"""Whose fault, in how many shards, and what a reader gets: the make targets with a small emulator and consumer."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

import attendant

from .conftest import REPOSITORY, Gate, git
from .test_gate import judged

pytestmark = pytest.mark.engine


@pytest.fixture
def published(docker_client: docker.DockerClient, emulator: Path) -> Iterator[str]:
    """The tag of a good image that stands for what is published."""
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{REPOSITORY}:published", str(emulator)], check=True)
    yield "published"
    docker_client.images.remove(f"{REPOSITORY}:published", force=True)


def attributions(verdict: dict[str, Any]) -> dict[str, str | None]:
    (run,) = verdict["runs"]
    return {case["name"]: case["attribution"] for case in run["tests"] if case["outcome"] == "failed"}


@pytest.mark.fault("one test fails with the candidate only, another one with the published image too", "red")
def test_regressions_and_pre_existing_failures(gate: Gate, other_image: str, published: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    settings = {"EMULATOR_IMAGE": other_image, "COMPAT_BASELINE": published, "GITHUB_STEP_SUMMARY": str(page)}
    verdict = judged(gate, "tests/test_steps.py tests/test_failing.py", GITHUB_ACTIONS="true", **settings)
    assert attributions(verdict) == {"test_health": "regression", "test_bad": "pre-existing"}
    assert verdict["reasons"] == ["develop: 2 of 5 tests failed: 1 pre-existing, 1 regression"]
    summary = (gate.findings / "summary.md").read_text()
    assert page.read_text() == summary
    assert "**regression** `tests/test_steps.py::test_health`" in summary
    assert "the emulator has forgotten a route" in summary
    assert f"Candidate `{verdict['candidate']['reference']}`" in summary


def test_an_error_line_for_each_regression(gate: Gate, other_image: str, published: str) -> None:
    settings = {"EMULATOR_IMAGE": other_image, "COMPAT_BASELINE": published, "COMPAT_MIN_PASSED": "1"}
    done = gate.make("compat", SAMCLI_TESTS="tests/test_steps.py", GITHUB_ACTIONS="true", **settings)
    errors = [line for line in done.stdout.splitlines() if line.startswith("::error")]
    assert len(errors) == 1
    assert errors[0].startswith("::error title=sam-cli regression::test_health: AssertionError: assert 'another one")
    assert re.search(r"^red: develop: 2 passed, 1 failed \(1 regression\)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("baseline", "why"), [("nothing", "cannot be pulled"), ("other", "is the candidate itself")])
@pytest.mark.fault("a test fails, and there is no published image to compare with", "red")
def test_unknown_where_there_is_no_baseline(gate: Gate, other_image: str, baseline: str, why: str) -> None:
    verdict = judged(gate, "tests/test_steps.py", EMULATOR_IMAGE=other_image, COMPAT_BASELINE=baseline)
    assert attributions(verdict) == {"test_health": "unknown"}
    assert why in verdict["runs"][0]["unattributed"]
    assert verdict["reasons"] == ["develop: 1 of 3 tests failed: 1 unknown"]


def test_a_green_run_does_not_ask_for_the_baseline(gate: Gate) -> None:
    done = gate.make("compat", COMPAT_BASELINE="nothing")
    assert done.returncode == 0
    assert "nothing" not in done.stdout


def test_two_refs(gate: Gate, consumer: Path) -> None:
    git("tag", "v1.2.0", cwd=consumer)
    try:
        verdict = judged(gate, SAMCLI_REFS="develop latest", COMPAT_JOBS="1")
    finally:
        git("tag", "--delete", "v1.2.0", cwd=consumer)
    assert verdict["green"], verdict["reasons"]
    assert [(run["ref"], run["passed"]) for run in verdict["runs"]] == [("develop", 5), ("latest", 5)]
    assert len({tuple(run["containers"].items()) for run in verdict["runs"]}) == 1


def test_the_emulators_log_is_kept(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_failing.py")
    (failed,) = [case for case in verdict["runs"][0]["tests"] if case["outcome"] == "failed"]
    logs = [Path(log).name for log in failed["logs"]]
    assert [re.sub("develop-[0-9a-f]{7}", "develop", log) for log in logs] == [
        "suite-develop-failing-1.log",
        "emulator-develop-failing-1.log",
    ]


HEARING = "trap '/bin/busybox sleep 4; exit 7' TERM; /bin/busybox httpd -f -h /www -p $1 & wait"


def test_a_container_that_shuts_down_by_itself_is_left_alone(gate: Gate, emulator: Path, tmp_path: Path) -> None:
    context = tmp_path / "hearing"
    context.mkdir()
    for name in ("busybox", "health"):
        (context / name).write_bytes((emulator / name).read_bytes())
    (context / "busybox").chmod(0o755)
    (context / "run").write_text(HEARING)
    dockerfile = (emulator / "Dockerfile").read_text()
    entrypoint = 'COPY run /run\nENTRYPOINT ["/bin/busybox", "sh", "/run"]\n'
    (context / "Dockerfile").write_text(re.sub("ENTRYPOINT.*\n", entrypoint, dockerfile))
    verdict = judged(gate, "tests/test_stops.py", EMULATOR_SOURCE=str(context), COMPAT_RERUNS="0")
    outcomes = {case["name"]: case["outcome"] for case in verdict["runs"][0]["tests"]}
    assert outcomes == {"test_deaf": "failed", "test_hearing": "passed"}


def test_a_container_that_cannot_hear_is_not_waited_for(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_stops.py", COMPAT_RERUNS="0", COMPAT_TIMEOUT="60")
    outcomes = {case["name"]: case["outcome"] for case in verdict["runs"][0]["tests"]}
    assert outcomes == {"test_deaf": "passed", "test_hearing": "failed"}


@pytest.mark.parametrize(
    ("first_process", "deaf"),
    [
        ("echo ready; exec /bin/busybox httpd -f -p 9", True),
        ("trap 'exit 7' TERM; echo ready; while :; do :; done", False),
        ("/bin/busybox sleep 3600 & echo ready; wait", False),  # an init may tell its child
    ],
)
def test_deaf_is_who_neither_hears_nor_can_be_told(
    gate: Gate, docker_client: docker.DockerClient, first_process: str, deaf: bool
) -> None:
    gate.make("image")
    reference = json.loads((gate.findings / "candidate.json").read_text())["reference"]
    shell = ["/bin/busybox", "sh", "-c"]
    container = docker_client.containers.run(reference, [first_process], entrypoint=shell, detach=True)
    try:
        next(iter(container.logs(stream=True)))  # it says so once it is what it is to be
        answers = (attendant.is_deaf(docker_client.api.inspect_container(str(container.id))) for _ in range(200))
        assert deaf in answers if deaf else True not in answers
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    ("container", "why"),
    [
        ({"Id": "x", "State": {"Pid": 0}, "HostConfig": {}}, "it does not run"),
        ({"Id": "f" * 64, "State": {"Pid": 1}, "HostConfig": {}}, "a process of this machine, not of that container"),
    ],
    ids=["stopped", "elsewhere"],
)
def test_deafness_is_not_guessed(container: dict[str, object], why: str) -> None:
    assert not attendant.is_deaf(container), why
