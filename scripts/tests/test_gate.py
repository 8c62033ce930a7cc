"""The make targets as a user runs them, with a small emulator and a small consumer."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound

from .conftest import REPOSITORY, Gate, commit_all, git, shim, until

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]


def judged(gate: Gate, tests: str = "", **settings: str) -> dict[str, Any]:
    """Run `make compat` and return the verdict, whose colour make's exit code and the last line must agree with."""
    if tests:
        settings = {"SAMCLI_TESTS": tests, "COMPAT_MIN_PASSED": "1"} | settings
    done = gate.make("compat", **settings)
    assert "Traceback" not in done.stdout, done.stdout
    assert (gate.findings / "verdict.json").exists(), done.stdout
    verdict = gate.verdict()
    assert done.returncode == (0 if verdict["green"] else 2), done.stdout
    last = [line for line in done.stdout.splitlines() if not line.startswith("make")][-1]
    assert last.startswith("green: " if verdict["green"] else "red: "), done.stdout
    assert verdict["green"] == (verdict["reasons"] == [])
    for reason in verdict["reasons"]:
        assert reason in done.stdout
    return verdict


def test_green(gate: Gate, docker_client: docker.DockerClient) -> None:
    verdict = judged(gate)
    assert verdict["green"], verdict["reasons"]
    candidate, (run,) = verdict["candidate"], verdict["runs"]
    assert candidate["image_id"] == docker_client.images.get(candidate["reference"]).id
    assert re.fullmatch(f"{REPOSITORY}:pr-[0-9a-f]{{12}}", candidate["reference"])
    assert (run["passed"], run["failed"], run["skipped"], run["flaky"]) == (5, 0, 0, 0)
    assert run["containers"] == {candidate["image_id"]: 1}
    assert {case["outcome"] for case in run["tests"]} == {"passed"}
    assert len(list((gate.findings / "junit").glob("*.xml"))) == 2


def test_progress_is_a_line_for_each_test(gate: Gate) -> None:
    done = gate.make("compat")
    lines = re.findall(r"^develop-[0-9a-f]{7} \[(\d)/5\] \w+-\d: \S+ passed \d+\.\d s$", done.stdout, re.MULTILINE)
    assert lines == ["1", "2", "3", "4", "5"]


def test_progress_tells_of_a_try_that_is_the_last(gate: Gate) -> None:
    done = gate.make("compat", SAMCLI_TESTS="tests/test_flaky.py tests/test_failing.py", COMPAT_MIN_PASSED="1")
    lines = re.findall(r"^develop-[0-9a-f]{7} \[\d/3\] \S+: (\w+ \w+)", done.stdout, re.MULTILINE)
    assert sorted(lines) == ["test_bad failed", "test_good passed", "test_second_time_lucky passed"]


def test_second_run_does_nothing_again(gate: Gate) -> None:
    gate.make("compat")
    again = gate.make("compat")
    assert "installing" not in again.stdout
    log = (gate.findings / "logs/build.log").read_text()
    assert "CACHED" in log or "Using cache" in log


@pytest.mark.fault(
    "the caller's environment has CI, PYTEST_ADDOPTS, credentials, a proxy, another emulator's port, tag and name",
    "green",
)
def test_poisoned_environment_changes_nothing(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".docker").symlink_to(Path.home() / ".docker")
    verdict = judged(
        gate,
        CI="true",
        HOME=str(tmp_path),
        PYTEST_ADDOPTS="--collect-only",
        PYTHONSTARTUP="/nowhere",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT="9",
        DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG="latest",
        DURABLE_EXECUTIONS_CONTAINER_NAME="mine",
        AWS_SECRET_ACCESS_KEY="secret",
        GITHUB_TOKEN="secret",
        SAM_CLI_POLL_DELAY="9",
    )
    assert verdict["green"], verdict["reasons"]
    assert verdict["runs"][0]["passed"] == 5


@pytest.mark.fault("a test of aws-sam-cli fails", "red")
def test_red_by_a_failing_test(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_failing.py tests/test_steps.py")
    assert verdict["reasons"] == ["develop: 1 of 5 tests failed"]
    (failed,) = [case for case in verdict["runs"][0]["tests"] if case["outcome"] == "failed"]
    assert (failed["file"], failed["name"]) == ("tests/test_failing.py", "test_bad")
    assert "the emulator has forgotten a route" in failed["message"]
    assert "assert 'ok" in (gate.root / failed["logs"][0]).read_text()


@pytest.mark.fault("only a subtest fails; pytest counts its test as passed too", "red")
def test_red_by_a_failed_subtest_and_flaky_by_another(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_subtests.py tests/test_steps.py")
    assert verdict["reasons"] == [
        "develop: 1 of 5 tests failed",
        "develop: tests/test_subtests.py: no test of it passed (1 failed)",
    ] or verdict["reasons"] == ["develop: 1 of 5 tests failed"]
    cases = {case["name"]: case for case in verdict["runs"][0]["tests"]}
    assert cases["TestHistory::test_one_event_differs"]["outcome"] == "failed"
    once = cases["TestHistory::test_one_event_differs_once"]
    assert (once["outcome"], once["flaky"]) == ("passed", True)


@pytest.mark.fault("a test fails, and passes on its retry", "green")
def test_flaky_test_is_green_and_named(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_flaky.py")
    assert verdict["green"], verdict["reasons"]
    assert [case["flaky"] for case in verdict["runs"][0]["tests"]] == [True]
    assert not judged(gate, "tests/test_flaky.py", COMPAT_RERUNS="0")["green"]


@pytest.mark.fault("a test fails, and skips itself on its retry", "red")
def test_red_when_a_failed_test_skips_itself_on_the_retry(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_gives_up.py tests/test_steps.py")
    assert "develop: 1 of 4 tests failed" in verdict["reasons"]
    assert not verdict["green"]


@pytest.mark.fault("a test leaves its emulator running, and its retry would attach to that", "green")
def test_retry_does_not_attach_to_the_container_of_the_first_try(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_leaves_running.py")
    assert verdict["green"], verdict["reasons"]
    assert [case["flaky"] for case in verdict["runs"][0]["tests"]] == [True]
    assert list(verdict["runs"][0]["containers"].values()) == [2]


@pytest.mark.fault("of two refs with similar names, one passes and one does not run its tests", "red")
def test_results_of_one_ref_are_not_those_of_another_that_looks_alike(gate: Gate, consumer: Path) -> None:
    git("branch", "a/b", cwd=consumer)
    git("checkout", "--quiet", "-b", "a-b", cwd=consumer)
    try:
        (consumer / "tests/test_steps.py").write_text((consumer / "tests/test_vanishes.py").read_text())
        commit_all(consumer)
        verdict = judged(gate, "tests/test_steps.py", SAMCLI_REFS="a/b a-b")
    finally:
        git("checkout", "--quiet", "develop", cwd=consumer)
        git("branch", "-D", "a/b", "a-b", cwd=consumer)
    assert [run["passed"] for run in verdict["runs"]] == [3, 0]
    assert not verdict["green"]


@pytest.mark.fault("the checkout of aws-sam-cli in `.cache/` is edited", "green")
def test_what_was_edited_in_the_cache_is_not_what_is_tested(gate: Gate) -> None:
    gate.make("samcli")
    installed = list((gate.root / ".cache/samcli").glob("*/src/tests/test_steps.py"))
    assert installed
    for file in installed:
        file.write_text("broken")
    commit = judged(gate)["runs"][0]["commit"]
    (tested,) = [file for file in installed if commit.startswith(file.parts[-4].partition("-")[0])]
    assert "def test_health" in tested.read_text()


def test_somebody_elses_folder_is_no_venv(template: Gate) -> None:
    """Neither VENV in the environment, where other tools have it too, nor one that is no venv is ever emptied."""
    thesis = template.root / "mine/thesis.txt"
    thesis.parent.mkdir()
    thesis.touch()
    dry = subprocess.run(
        ["make", "-n", "image"], cwd=template.root, env=template.environ(VENV="mine"), text=True, capture_output=True
    )
    assert "venv --clear .cache/venv" in dry.stdout
    asked = subprocess.run(
        ["make", "image", "VENV=mine"], cwd=template.root, env=template.environ(), text=True, capture_output=True
    )
    assert asked.returncode == 2
    assert "error: mine is there and is no venv: remove it" in asked.stderr
    assert thesis.exists()


@pytest.mark.fault("all tests of a file are skipped", "red")
def test_red_by_skipped_tests(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_steps.py tests/test_skipped.py")
    assert verdict["reasons"] == ["develop: tests/test_skipped.py: no test of it passed (2 skipped)"]
    assert [case["message"] for case in verdict["runs"][0]["tests"] if case["outcome"] == "skipped"] == [
        "not today",
        "nor this one",
    ]


@pytest.mark.fault("a file of SAMCLI_TESTS is not there any more", "red")
def test_red_by_a_missing_file(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_steps.py tests/test_moved.py")
    assert verdict["reasons"] == [
        "develop: tests/test_moved.py does not exist in aws-sam-cli develop: did it move?",
        "develop: tests/test_moved.py: no test of it passed (no results)",
    ]


@pytest.mark.fault("all tests pass, but fewer than COMPAT_MIN_PASSED", "red")
def test_red_by_too_few_tests(gate: Gate) -> None:
    verdict = judged(gate, "tests/test_steps.py", COMPAT_MIN_PASSED="4")
    assert verdict["reasons"] == ["develop: 3 tests passed, COMPAT_MIN_PASSED=4 asks for more"]


@pytest.mark.parametrize("way", ["quits", "vanishes"])
@pytest.mark.fault("pytest ends with exit code 0 before all tests have run", "red")
def test_red_when_pytest_ends_early_with_exit_code_0(gate: Gate, way: str) -> None:
    verdict = judged(gate, f"tests/test_steps.py tests/test_{way}.py")
    assert any("without a result" in reason or "no JUnit" in reason for reason in verdict["reasons"])


@pytest.mark.fault("a container of another image of the repository runs meanwhile", "red")
def test_red_when_another_image_of_the_repository_ran(gate: Gate, other_image: str) -> None:
    verdict = judged(gate, "tests/test_stranger.py")
    (reason,) = verdict["reasons"]
    name = f"{REPOSITORY.rpartition('/')[2]}-stranger"
    assert reason.startswith(f"develop: another image of {REPOSITORY} ran: {name} from {other_image} (sha256:")
    assert sorted(verdict["runs"][0]["containers"].values()) == [1, 1]


@pytest.mark.fault("the tests use a container that was there before", "red")
def test_red_when_a_stale_container_was_used(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    name = f"{REPOSITORY.rpartition('/')[2]}-stale"
    stale = docker_client.containers.run(other_image, ["9014"], name=name, detach=True)
    try:
        verdict = judged(gate, "tests/test_stale.py")
    finally:
        stale.remove(force=True)
    assert verdict["reasons"] == [
        "develop: no emulator container was started from the candidate: the suite tested something else"
    ]


@pytest.mark.fault("the candidate's tag is moved to another image while the suite runs", "red")
def test_red_when_the_tag_was_moved(gate: Gate, other_image: str) -> None:
    verdict = judged(gate, "tests/test_moves_tag.py")
    (reason,) = verdict["reasons"]
    assert "who moved the tag?" in reason


@pytest.mark.fault("a container of another gate, of another image of the repository, runs meanwhile", "green")
def test_containers_of_another_gate_are_left_apart(
    gate: Gate, docker_client: docker.DockerClient, other_image: str, tmp_path: Path
) -> None:
    meets = {"SAMCLI_TESTS": "tests/test_meets.py", "COMPAT_MIN_PASSED": "1", "UV_TEST_FOLDER": str(tmp_path)}
    running = gate.popen("make", "compat", f"VENV={sys.prefix}", **meets)
    until(lambda: list(tmp_path.glob("met-*")), of=running)
    others = docker_client.containers.run(other_image, ["9014"], name=f"sam-compat-others{os.getpid()}-1", detach=True)
    try:
        (tmp_path / "met-others").touch()
        output, _ = running.communicate()
        assert running.returncode == 0, output
        others.reload()
        assert others.status == "running"
    finally:
        others.remove(force=True)


def test_adopted_image(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    verdict = judged(gate, "tests/test_callbacks.py tests/test_failing.py", EMULATOR_IMAGE=other_image)
    assert verdict["candidate"]["image_id"] == docker_client.images.get(other_image).id
    assert verdict["runs"][0]["failed"] == 1


@pytest.mark.parametrize("builder", ["buildx", "classic"])
def test_labels_and_tag_of_a_git_source(
    gate: Gate, docker_client: docker.DockerClient, emulator: Path, tmp_path: Path, builder: str
) -> None:
    settings = {"EMULATOR_SOURCE": str(tmp_path), "EMULATOR_VERSION": "1.2.3"}
    for path in emulator.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    commit = commit_all(tmp_path)
    git("remote", "add", "origin", "https://host/emulator.git", cwd=tmp_path)
    if builder == "classic":
        settings["PATH"] = shim(tmp_path / ".git", "buildx version", "exit 1")
    done = gate.make("image", **settings)
    assert done.returncode == 0, done.stdout
    assert ("Step 1/" in (gate.findings / "logs/build.log").read_text()) == (builder == "classic")
    built = docker_client.images.get(f"{REPOSITORY}:pr-{commit[:12]}")
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in built.labels.items()}
    assert labels == {"version": "1.2.3", "revision": commit, "source": "https://host/emulator.git"}
    (tmp_path / "health").write_text("changed\n")
    assert gate.make("image", **settings).returncode == 0
    assert (
        docker_client.images.get(f"{REPOSITORY}:pr-{commit[:12]}-dirty")
        .labels["org.opencontainers.image.revision"]
        .endswith("-dirty")
    )


@pytest.mark.parametrize(
    ("script", "settings", "says"),
    [
        ("image.py", {"EMULATOR_PREBUILD": "echo no such backend; exit 3"}, "EMULATOR_PREBUILD=.* failed"),
        ("image.py", {"EMULATOR_SOURCE": "scripts"}, "scripts has no Dockerfile"),
        (
            "image.py",
            {"EMULATOR_IMAGE": "compat.example/nothing:here"},
            "there is no image compat.example/nothing:here",
        ),
        (
            "image.py",
            {"EMULATOR_TAG": "latest"},
            "EMULATOR_TAG='latest' .from environment.: looks like a published tag",
        ),
        ("samcli.py", {"SAMCLI_SOURCE": "nowhere"}, "SAMCLI_SOURCE: nowhere cannot be reached"),
        ("samcli.py", {"SAMCLI_REFS": "v0.0.0"}, "has no branch, tag or commit v0.0.0"),
        ("samcli.py", {"SAMCLI_REFS": "latest"}, "has no release tag"),
        ("samcli.py", {"SAMCLI_PYTHON": "3.2"}, "Python 3.2 is not to be had"),
        (
            "compat.py",
            {"EMULATOR_REPOSITORY": "other/repository"},
            "made with another EMULATOR_REPOSITORY: run `make image`",
        ),
        ("compat.py", {"EMULATOR_SOURCE": "elsewhere"}, "made with another EMULATOR_SOURCE: run `make image`"),
        ("compat.py", {"SAMCLI_PYTHON": "3.2"}, "installed for other settings: run `make samcli`"),
        ("image.py", {"EMULATOR_SOURCE": "~nobody-of-that-name/x"}, "is no folder and no git URL"),
        ("image.py", {"EMULATOR_IMAGE": "foo:bar:baz"}, "error: .*foo:bar:baz"),
        ("compat.py", {"SAMCLI_REFS": "v0.0.0"}, "installed for other settings: run `make samcli`"),
    ],
)
@pytest.mark.fault("a setting is wrong, or not the one that the candidate or aws-sam-cli was made with", "error")
def test_bad_input_is_one_line_and_exit_code_2(gate: Gate, script: str, settings: dict[str, str], says: str) -> None:
    gate.make("image")
    gate.make("samcli")
    before = sorted(path.name for path in (gate.root / ".cache/samcli").iterdir())
    done = gate.script(script, **settings)
    assert done.returncode == 2, done.stdout
    assert re.search(says, done.stdout.splitlines()[-1])
    assert done.stdout.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stdout
    assert not (gate.findings / "verdict.json").exists()
    assert sorted(path.name for path in (gate.root / ".cache/samcli").iterdir()) == before


@pytest.mark.fault("the image cannot be built", "error")
def test_failing_build_shows_its_last_lines(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY not-there /\n")
    done = gate.script("image.py", EMULATOR_SOURCE=str(tmp_path))
    assert done.returncode == 2
    assert "not-there" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("error: docker build failed")


@pytest.mark.fault("aws-sam-cli cannot be installed", "error")
def test_failing_install_leaves_nothing(gate: Gate, consumer: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", str(consumer), str(tmp_path / "broken"), cwd=tmp_path)
    project = tmp_path / "broken/pyproject.toml"
    project.write_text(project.read_text().replace('"docker", ', '"docker==0.0.0.nothing", '))
    commit = commit_all(tmp_path / "broken")
    done = gate.script("samcli.py", SAMCLI_SOURCE=str(tmp_path / "broken"))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("error: installing aws-sam-cli failed")
    assert not list((gate.root / ".cache/samcli").glob(f"{commit[:12]}*"))


@pytest.mark.fault("the candidate's tag is moved to another image before the suite runs", "error")
def test_tag_moved_before_the_suite(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    gate.make("image")
    gate.make("samcli")
    docker_client.images.get(other_image).tag(REPOSITORY, "pr-moved")
    assert gate.make("image", EMULATOR_TAG="pr-moved").returncode == 0
    docker_client.images.get(other_image).tag(REPOSITORY, "pr-moved")
    done = gate.script("compat.py", EMULATOR_TAG="pr-moved")
    assert done.returncode == 2
    assert "pr-moved does not name the candidate any more: run `make image`" in done.stdout
    docker_client.images.remove(f"{REPOSITORY}:pr-moved")
    with pytest.raises(NotFound):
        docker_client.images.get(f"{REPOSITORY}:pr-moved")
