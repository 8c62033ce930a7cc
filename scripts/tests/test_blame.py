"""Whose fault, refs that must not get worse, and what a reader gets: with a small emulator and a small consumer."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from .conftest import REPOSITORY, Gate, Judged, commit_all, git

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture(scope="module")
def published(docker_client: docker.DockerClient, emulator: Path) -> Iterator[str]:
    """The tag of a good image that stands for what is published."""
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{REPOSITORY}:published", str(emulator)], check=True)
    yield "published"
    docker_client.images.remove(f"{REPOSITORY}:published", force=True)


@pytest.fixture(scope="module")
def worse(gate: Gate, docker_client: docker.DockerClient, emulator: Path, published: str) -> Iterator[Gate]:
    """The gate with a candidate that is worse than what is published."""
    (emulator / "health").write_text("worse\n")
    try:
        done = gate.make("image", EMULATOR_TAG="pr-worse")
    finally:
        (emulator / "health").write_text("ok\n")
    assert done.returncode == 0, done.stdout
    made = {"image": next(gate.root.glob(".compat/*/candidate.json")).read_bytes()}
    yield Gate(gate.root, gate.settings | {"EMULATOR_TAG": "pr-worse", "COMPAT_BASELINE": published}, made)
    docker_client.images.remove(f"{REPOSITORY}:pr-worse", force=True)


def attributions(found: Judged) -> dict[str, str]:
    return {test: about["attribution"] for test, about in found.tests.items() if about["outcome"] == "failed"}


@pytest.fixture(scope="module")
def compared(worse: Gate, tmp_path_factory: pytest.TempPathFactory) -> tuple[Judged, str]:
    """A run in a GitHub job in which one test fails with the candidate only, and what it wrote to the job's page."""
    page = tmp_path_factory.mktemp("job") / "page.md"
    in_a_job = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)}
    return worse.judged("tests/test_steps.py tests/test_failing.py", **in_a_job), page.read_text()


@pytest.mark.containerd
def test_regressions_and_pre_existing_failures(compared: tuple[Judged, str]) -> None:
    found, _ = compared
    assert attributions(found) == {
        "test_steps.py::test_health": "regression",
        "test_failing.py::test_bad": "pre-existing",
    }
    assert found.reasons == ["develop: 2 of 5 tests failed: 1 pre-existing, 1 regression"]
    last = "red: develop: 3 passed, 2 failed (1 pre-existing, 1 regression)"
    assert found.output.splitlines()[-1] == last
    assert found.run["baseline"]["reference"].startswith(f"{REPOSITORY}:pr-baseline-")


def test_what_failed_is_compared_while_other_tests_still_run_once_the_run_will_be_red(worse: Gate) -> None:
    tests = ("test_failing.py::test_bad", "test_steps.py::test_health", "test_slow.py::test_slow[0]")
    found = worse.judged(" ".join(f"tests/{test}" for test in tests), COMPAT_JOBS="3")
    lines = found.output.splitlines()
    compared = lines.index("running what failed against published too")
    assert compared < next(number for number, line in enumerate(lines) if "test_slow" in line and "passed" in line)
    assert attributions(found) == {
        "test_steps.py::test_health": "regression",
        "test_failing.py::test_bad": "pre-existing",
    }


def test_one_failure_with_the_published_image_does_not_excuse_a_regression(worse: Gate, tmp_path: Path) -> None:
    """The suite's own races are not the candidate's excuse."""
    found = worse.judged("tests/test_steps.py tests/test_race.py", UV_TEST_FOLDER=str(tmp_path))
    assert attributions(found) == {"test_steps.py::test_health": "regression", "test_race.py::test_race": "regression"}


def test_page_of_a_job_is_the_summary(compared: tuple[Judged, str]) -> None:
    found, page = compared
    assert found.files["summary.md"] == page
    for part in ("1 regression", "`tests/test_steps.py::test_health`", "the emulator has forgotten a route"):
        assert part in page
    assert f"Candidate `{found.verdict['candidate']['reference']}`" in page


def test_each_cause_is_an_error_on_the_page_of_the_job(compared: tuple[Judged, str]) -> None:
    errors = [line for line in compared[0].output.splitlines() if line.startswith("::error")]
    assert len(errors) == 2
    assert all(line.startswith("::error title=sam-compat develop::") or "compat develop::" in line for line in errors)
    assert any("assert 'worse" in line for line in errors)


def test_emulators_log_is_kept(compared: tuple[Judged, str]) -> None:
    logs = [Path(log).name for log in compared[0].tests["test_failing.py::test_bad"]["logs"]]
    assert [re.sub(r"develop-[0-9a-f]{7}|-\d", "", log) for log in logs] == [
        "suite--failing.log",
        "emulator--failing.log",
    ]


def test_unknown_where_the_published_image_cannot_be_pulled(worse: Gate) -> None:
    found = worse.judged("tests/test_steps.py", COMPAT_BASELINE="nothing")
    assert attributions(found) == {"test_steps.py::test_health": "unknown"}
    assert "cannot be pulled" in found.run["unattributed"]
    assert found.reasons == ["develop: 1 of 3 tests failed: 1 unknown"]


@pytest.mark.containerd
def test_unknown_where_the_published_image_is_the_candidate(worse: Gate) -> None:
    found = worse.judged("tests/test_steps.py", COMPAT_BASELINE="pr-worse")
    assert attributions(found) == {"test_steps.py::test_health": "unknown"}
    assert "is the candidate itself" in found.run["unattributed"]


def test_unknown_where_the_published_image_does_not_start(
    worse: Gate, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    """Else every regression would look as if the published image had it too, and a compared ref would be green."""
    (tmp_path / "Dockerfile").write_text(f'FROM {REPOSITORY}:published\nENTRYPOINT ["/nowhere"]\n')
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{REPOSITORY}:broken", str(tmp_path)], check=True)
    try:
        refs = {"SAMCLI_REFS": "develop", "COMPAT_BASELINE": "broken"}
        found = worse.judged("tests/test_steps.py tests/test_failing.py", **refs)
    finally:
        docker_client.images.remove(f"{REPOSITORY}:broken", force=True)
    assert attributions(found) == {
        "test_steps.py::test_health": "unknown",
        "test_failing.py::test_bad": "unknown",
    }
    assert "was started" in found.run["unattributed"]


def test_green_run_does_not_ask_for_the_published_image(gate: Gate) -> None:
    found = gate.judged("tests/test_steps.py", COMPAT_BASELINE="nothing")
    assert found.green
    assert "nothing" not in found.output


# --- several refs


@pytest.fixture
def older(consumer: Path) -> Iterator[str]:
    """A release with a test that fails with every emulator."""
    git("checkout", "--quiet", "--detach", cwd=consumer)
    with (consumer / "tests/test_steps.py").open("a") as file:
        file.write("\n\ndef test_bad(health):\n    assert not health\n")
    commit_all(consumer)
    git("tag", "v1.2.0", cwd=consumer)
    git("checkout", "--quiet", "develop", cwd=consumer)
    yield "latest"
    git("tag", "--delete", "v1.2.0", cwd=consumer)


def test_refs_that_must_not_get_worse(gate: Gate, older: str, published: str) -> None:
    refs = {"SAMCLI_COMPARED_REFS": older, "COMPAT_BASELINE": published, "EMULATOR_VERSION": "2"}
    found = gate.compat("tests/test_steps.py", **refs)
    assert found.green, found.reasons
    assert [(run["ref"], run["compared"], run["failed"]) for run in found.verdict["runs"]] == [
        ("develop", False, 0),
        ("v1.2.0", True, 1),
    ]


def test_commit_that_two_refs_name_runs_once(gate: Gate, consumer: Path) -> None:
    git("tag", "v1.2.1", cwd=consumer)
    try:
        found = gate.compat(SAMCLI_REFS="develop latest", COMPAT_JOBS="1")
    finally:
        git("tag", "--delete", "v1.2.1", cwd=consumer)
    assert found.green, found.reasons
    assert [run["words"] for run in found.verdict["runs"]] == [["develop", "latest"]]


# --- an emulator that is asked to stop


@pytest.fixture(scope="module")
def stops(gate: Gate) -> dict[str, str]:
    """What the tests report that stop an emulator and wait an hour for it, by the kind of emulator."""
    found = gate.judged("tests/test_stops.py", COMPAT_RERUNS="0", COMPAT_TIMEOUT="60")
    outcomes = {test: about["outcome"] + about["message"][:100] for test, about in found.tests.items()}
    return {re.sub(r".*\[(.*)\]", r"\1", test): outcome for test, outcome in outcomes.items()}


def test_container_without_sigterm_handler_is_killed_early(stops: dict[str, str]) -> None:
    assert stops["ignores"] == "passed"


def test_container_with_sigterm_handler_is_not_killed_early(stops: dict[str, str]) -> None:
    assert stops["handles"] == "passed"


def test_container_whose_init_hands_sigterm_on_is_not_killed_early(stops: dict[str, str]) -> None:
    assert stops["init"] == "passed"
