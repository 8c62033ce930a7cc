"""The make targets as a user runs them, with a small emulator and a small consumer."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from gate.sources import files

from .conftest import REPOSITORY, Gate, Judged, commit_all, git, shim

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]
containerd = pytest.mark.containerd
OTHERS = REPOSITORY.rpartition("/")[2]  # begins the names of containers that are not the gate's


@pytest.fixture(scope="module")
def other_image(docker_client: docker.DockerClient, emulator: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another image of the emulator's repository."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "busybox").write_bytes((emulator / "busybox").read_bytes())
    (folder / "busybox").chmod(0o755)
    (folder / "Dockerfile").write_text((emulator / "Dockerfile").read_text())
    (folder / "health").write_text("another one\n")
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{REPOSITORY}:other", str(folder)], check=True)
    return f"{REPOSITORY}:other"


# --- a green run


@pytest.fixture(scope="module")
def green(gate: Gate) -> Judged:
    return gate.compat()


@containerd
def test_green(green: Judged, docker_client: docker.DockerClient) -> None:
    assert green.green, green.reasons
    candidate, run = green.verdict["candidate"], green.run
    assert candidate["image_id"] == docker_client.images.get(candidate["reference"]).id
    assert re.fullmatch(f"{REPOSITORY}:pr-[0-9a-f]{{12}}", candidate["reference"])
    assert (run["passed"], run["failed"], run["skipped"], run["flaky"]) == (5, 0, 0, 0)
    assert set(green.outcomes().values()) == {"passed"}


@containerd
def test_each_shard_started_the_candidate(green: Judged) -> None:
    image_id = green.verdict["candidate"]["image_id"]
    for shard in green.run["shards"]:
        assert (shard["containers"], shard["served"]) == ({image_id: 1}, 1), shard
    assert green.run["containers"] == {image_id: 2}


def test_verdict_holds_what_was_required(green: Judged, consumer: Path) -> None:
    assert green.verdict["schema"] == 2
    required = green.verdict["gate"]
    assert (required["samcli_source"], required["refs"], required["min_passed"]) == (str(consumer), ["develop"], 3)
    assert required["tests"] == ["tests/test_steps.py", "tests/test_callbacks.py"]


def test_source_that_gits_configuration_replaces_is_named_as_it_was_read(gate: Gate, consumer: Path) -> None:
    """Publishing compares it with the committed source."""
    upstream = "https://host.example/sam.git"
    replaced = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{consumer}.insteadOf",
        "GIT_CONFIG_VALUE_0": upstream,
    }
    found = gate.compat("tests/test_steps.py", SAMCLI_SOURCE=upstream, **replaced)
    assert found.green, found.reasons
    assert found.verdict["gate"]["samcli_source"] == str(consumer)


def test_progress_is_a_line_for_each_test(green: Judged) -> None:
    line = r"^develop-[0-9a-f]{7} \[(\d)/5\] \d+ s(?:, about \d+ s left)?: \S+ passed \d+\.\d s$"
    assert re.findall(line, green.output, re.MULTILINE) == ["1", "2", "3", "4", "5"]


def test_long_steps_show_what_they_print(gate: Gate) -> None:
    done = gate.make("image", EMULATOR_PREBUILD="echo one; echo two >&2")
    steps = re.findall(r"^(?:\+|  \|) \S+(?: buildx build)?", done.stdout, re.MULTILINE)
    assert steps[:3] == ["+ echo", "  | one", "  | two"]
    assert "+ docker buildx build" in steps
    assert steps[-1].startswith("  | "), done.stdout
    kept = (gate.findings / "logs/prebuild.log").read_text()
    assert kept.splitlines()[-2:] == ["one", "two"]


def test_second_run_does_nothing_again(gate: Gate) -> None:
    gate.prepare()
    assert "installing" not in gate.make("samcli").stdout
    assert "CACHED" in gate.make("image").stdout


def test_poisoned_environment_changes_nothing(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".docker").symlink_to(Path.home() / ".docker")
    found = gate.judged(
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
    assert found.green, found.reasons
    assert found.run["passed"] == 5


def test_idle_slot_takes_tests_over_and_each_runs_once_against_the_candidate(gate: Gate) -> None:
    found = gate.judged("tests/test_slow.py", COMPAT_JOBS="2")
    assert found.green, found.reasons
    assert sorted(found.tests) == [f"test_slow.py::test_slow[{number}]" for number in range(6)]
    one, other = found.run["shards"]
    assert list(one["containers"].values()) == list(other["containers"].values()) == [1]
    assert {test["shard"] for test in found.run["tests"]} == {one["name"], other["name"]}
    assert re.findall(r"^develop-[0-9a-f]{7} \[(\d)/6\]", found.output, re.MULTILINE) == list("123456")


# --- one red run with every reason that does not exclude another

REDS = (
    "test_steps test_failing test_subtests test_skipped test_quits test_vanishes test_moved test_outside test_again "
    "evidence/test_attaches evidence/test_crashes evidence/test_decoy evidence/test_stranger"
)
STRANGERS = (f"{OTHERS}-stranger", "sam-compat-00000000-steps-1")  # the second is of no run that is alive


@pytest.fixture(scope="module")
def red(
    gate: Gate, docker_client: docker.DockerClient, other_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    names = ("stale", "paused")
    there = [docker_client.containers.run(other_image, name=f"{OTHERS}-{name}", detach=True) for name in names]
    try:
        there[1].pause()
        return gate.judged(
            " ".join(f"tests/{name}.py" for name in REDS.split()),
            COMPAT_JOBS="4",
            COMPAT_MIN_PASSED="99",
            COMPAT_RERUNS="0",
            UV_TEST_FOLDER=str(tmp_path_factory.mktemp("red")),
            UV_TEST_STRANGER=" ".join(STRANGERS),
        )
    finally:
        for container in there:
            container.remove(force=True)


def reasons(found: Judged) -> list[str]:
    """Return the reasons without the ref, the numbers of shards, image ids and the names of logs."""
    volatile = r"^develop: |(?<=shard )([a-z-]+)-\d+|; see \S+$| \(sha256:[0-9a-f]+\)$"
    return [re.sub(volatile, r"\1", reason) for reason in found.reasons]


@pytest.mark.parametrize(
    "reason",
    [
        "3 of 14 tests failed",
        "Only 9 tests passed; COMPAT_MIN_PASSED requires 99",
        "tests/test_subtests.py: no test passed (2 failed)",
        "tests/test_skipped.py: no test passed (2 skipped)",
        "tests/test_vanishes.py: no test passed (no results)",
        "tests/test_moved.py does not exist in this aws-sam-cli: was it moved?",
        "tests/test_moved.py: no test passed (no results)",
        "tests/test_outside.py does not exist in this aws-sam-cli: was it moved?",
        "tests/test_outside.py: no test passed (no results)",
        "tests/test_again.py and tests/test_steps.py in SAMCLI_TESTS are the same file: name it once",
        "tests/test_again.py: no test passed (no results)",
        "shard quits ended with pytest's exit code 0, it was in tests/test_quits.py::test_quits and left 2 of its 3 "
        "tests without a result, first tests/test_quits.py::test_quits",
        "shard vanishes ended with pytest's exit code 0, it was in tests/test_vanishes.py::test_vanishes and left no "
        "JUnit file",
    ],
)
def test_red_and_the_reason_is_named(red: Judged, reason: str) -> None:
    found = reasons(red)
    assert reason in found, "\n".join(found)


@containerd
@pytest.mark.parametrize(
    "reason",
    [
        "tests/evidence/test_attaches.py: no shard started a container of the candidate: its tests used something else",
        "tests/evidence/test_decoy.py: no shard started a container of the candidate: its tests used something else",
        "shard crashes: every container of the candidate exited before it answered a request",
        *(f"another image of {REPOSITORY} ran: {name} from {REPOSITORY}:other" for name in STRANGERS),
    ],
)
def test_red_where_tests_passed_without_the_candidate(red: Judged, reason: str) -> None:
    found = reasons(red)
    assert reason in found, "\n".join(found)


@containerd
def test_nothing_else_is_a_reason(red: Judged) -> None:
    assert len(red.reasons) == 18
    assert not any(reason.startswith(("shard steps", "shard stranger")) for reason in reasons(red))


@containerd
def test_container_of_another_image_that_runs_before_is_named_at_the_start(red: Judged) -> None:
    notes = re.findall(r"^note: (\S+) from \S+:other \((\w+)\) was running before", red.output, re.MULTILINE)
    assert sorted(notes) == [(f"{OTHERS}-paused", "paused"), (f"{OTHERS}-stale", "running")]


def test_failing_test_is_listed_with_its_message_and_logs(red: Judged) -> None:
    failed = red.tests["test_failing.py::test_bad"]
    assert "the emulator has forgotten a route" in failed["message"]
    suite, emulator = (Path(log).name for log in failed["logs"])
    assert "assert 'ok" in red.files[suite]
    assert emulator == suite.replace("suite-", "emulator-")
    assert emulator in red.files


def test_skipped_tests_are_named_with_their_reasons(red: Judged) -> None:
    assert "skipped: tests/test_skipped.py::test_one: not today" in red.output
    assert "skipped: tests/test_skipped.py::test_two: nor this one" in red.output


# --- retries


@pytest.fixture(scope="module")
def retried(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    files = ("flaky", "gives_up", "subtests", "leaves_running", "many", "steps", "callbacks")
    folder = str(tmp_path_factory.mktemp("retried"))
    return gate.judged(" ".join(f"tests/test_{name}.py" for name in files), COMPAT_JOBS="4", UV_TEST_FOLDER=folder)


@pytest.mark.parametrize(
    "test",
    [
        "test_flaky.py::test_second_time_lucky",
        "test_subtests.py::TestHistory::test_one_event_differs_once",
        "test_leaves_running.py::TestLeavesRunning::test_answers_on_its_port",
    ],
)
def test_test_that_passes_on_its_retry_is_flaky_and_named(retried: Judged, test: str) -> None:
    found = retried.tests[test]
    assert (found["outcome"], found["flaky"]) == ("passed", True)
    assert found["shard"].startswith("retry1-")
    assert f"flaky: tests/{test} passed on a retry only" in retried.output


def test_failure_is_not_undone_by_a_retry_that_skips(retried: Judged) -> None:
    found = retried.tests["test_gives_up.py::test_gives_up"]
    assert (found["outcome"], found["message"]) == ("failed", "failed, then skipped: no use")


def test_retries_are_one_phase_after_all_shards(retried: Judged) -> None:
    names = [shard["name"] for shard in retried.run["shards"]]
    retries = [name.startswith("retry1-") for name in names]
    assert retries == sorted(retries), names
    assert sum(retries) == 4, names
    assert len(retried.tests) == 22
    assert reasons(retried)[0] == "2 of 22 tests failed"


def test_retry_does_not_attach_to_the_container_of_the_first_try(retried: Judged) -> None:
    shards = [shard for shard in retried.run["shards"] if "leaves-running" in shard["name"]]
    assert [list(shard["containers"].values()) for shard in shards] == [[1], [1]]


def test_green_if_all_that_failed_pass_on_their_retry(gate: Gate, tmp_path: Path) -> None:
    found = gate.judged("tests/test_flaky.py", UV_TEST_FOLDER=str(tmp_path))
    assert found.green, found.reasons
    assert found.output.splitlines()[-1] == "green: develop: 1 passed, 1 flaky"


def test_no_retry_when_more_than_a_quarter_failed(gate: Gate, tmp_path: Path) -> None:
    found = gate.judged("tests/test_flaky.py tests/test_failing.py", UV_TEST_FOLDER=str(tmp_path), COMPAT_RERUNS="9")
    assert reasons(found)[0] == "2 of 3 tests failed"
    assert sorted(shard["name"].partition("-")[0] for shard in found.run["shards"]) == ["failing", "flaky"]


# --- the consumer's own configuration, below tests/: pytest moves its rootdir there


def test_retries_of_the_consumers_own_do_not_count(gate: Gate) -> None:
    found = gate.judged("tests/reruns/test_reruns.py")
    assert reasons(found)[0] == "1 of 1 tests failed"


def test_test_whose_call_did_not_run_has_not_passed(gate: Gate) -> None:
    found = gate.judged("tests/setup_only/test_setup_only.py")
    assert reasons(found) == [
        "tests/setup_only/test_setup_only.py: no test passed (2 skipped)",
        "Only 0 tests passed; COMPAT_MIN_PASSED requires 1",
    ]
    assert "skipped: tests/setup_only/test_setup_only.py::test_bad: pytest did not call it" in found.output


def test_deselected_tests_are_named_like_skipped_ones(gate: Gate) -> None:
    found = gate.judged("tests/deselects/test_some.py")
    assert found.green, found.reasons
    assert found.outcomes() == {
        "deselects/test_some.py::test_kept": "passed",
        "deselects/test_some.py::test_left_out": "skipped",
    }
    why = "deselected by aws-sam-cli's configuration"
    assert f"skipped: tests/deselects/test_some.py::test_left_out: {why}" in found.output
    assert found.output.splitlines()[-1] == "green: develop: 1 passed, 1 skipped"


def test_red_when_all_tests_are_deselected(gate: Gate) -> None:
    found = gate.judged("tests/deselects/test_all.py")
    assert reasons(found) == [
        "tests/deselects/test_all.py: no test passed (1 skipped)",
        "Only 0 tests passed; COMPAT_MIN_PASSED requires 1",
    ]


def test_single_tests_by_their_ids(gate: Gate) -> None:
    found = gate.judged("tests/test_failing.py::test_good tests/test_steps.py::test_answers")
    assert found.green, found.reasons
    assert sorted(found.tests) == [
        "test_failing.py::test_good",
        "test_steps.py::test_answers[health?a=b::c]",
        "test_steps.py::test_answers[health]",
    ]


# --- which image it was


@containerd
def test_containers_of_another_gate_that_runs_are_left_apart(
    gate: Gate, docker_client: docker.DockerClient, other_image: str
) -> None:
    run = f"sam-compat-{OTHERS}"
    docker_client.volumes.create(run)
    running = docker_client.containers.run(other_image, name=f"{run}-steps-1", detach=True)
    try:
        found = gate.judged("tests/evidence/test_stranger.py", UV_TEST_STRANGER=f"{run}-steps-2")
        running.reload()
        assert running.status == "running"
    finally:
        running.remove(force=True)
        docker_client.api.remove_volume(run)
    assert found.green, found.reasons


def test_another_clone_that_lists_the_packages_of_its_image_is_left_apart(gate: Gate, other_image: str) -> None:
    """That happens when `make image` or a comparison with the published image runs there."""
    listing = "sam-compat-0123abcd-packages"
    found = gate.judged("tests/evidence/test_stranger.py", UV_TEST_STRANGER=listing)
    assert found.green, found.reasons


@containerd
def test_red_when_the_tag_was_moved(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    try:
        found = gate.compat("tests/test_moves_tag.py", EMULATOR_TAG="pr-moves")
    finally:
        docker_client.images.remove(f"{REPOSITORY}:pr-moves")
    now = docker_client.images.get(other_image).id
    (reason,) = found.reasons
    assert reason.startswith(
        f"{REPOSITORY}:pr-moves was moved from {found.verdict['candidate']['image_id']} to {now} during the run."
    )


@containerd
def test_tag_moved_before_the_suite(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    gate.prepare()
    assert gate.make("image", EMULATOR_TAG="pr-moved").returncode == 0
    docker_client.images.get(other_image).tag(REPOSITORY, "pr-moved")
    done = gate.script("compat.py", EMULATOR_TAG="pr-moved")
    docker_client.images.remove(f"{REPOSITORY}:pr-moved")
    assert done.returncode == 2
    assert f"error: {REPOSITORY}:pr-moved no longer names the candidate: run `make image`." in done.stdout


@containerd
def test_adopted_image(gate: Gate, docker_client: docker.DockerClient, other_image: str) -> None:
    found = gate.compat("tests/test_callbacks.py tests/test_failing.py", EMULATOR_IMAGE=other_image)
    assert found.verdict["candidate"]["image_id"] == docker_client.images.get(other_image).id
    assert reasons(found) == ["1 of 4 tests failed"]


@containerd
def test_labels_and_tag_of_a_git_source(
    gate: Gate, docker_client: docker.DockerClient, emulator: Path, tmp_path: Path
) -> None:
    settings = {"EMULATOR_SOURCE": str(tmp_path), "EMULATOR_VERSION": "1.2.3"}
    for path in emulator.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    commit = commit_all(tmp_path)
    git("remote", "add", "origin", "https://host/emulator.git", cwd=tmp_path)
    done = gate.make("image", **settings)
    assert done.returncode == 0, done.stdout
    built = docker_client.images.get(f"{REPOSITORY}:pr-{commit[:12]}")
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in built.labels.items()}
    assert labels == {"version": "1.2.3", "revision": commit, "source": "https://host/emulator.git"}
    (tmp_path / "health").write_text("changed\n")
    assert gate.make("image", **settings).returncode == 0
    assert gate.make("image", EMULATOR_SOURCE=str(emulator), EMULATOR_TAG="pr-no-commit").returncode == 0
    outside = docker_client.images.get(f"{REPOSITORY}:pr-no-commit")
    assert outside.labels["org.opencontainers.image.revision"] == "", "not one that the base image has"
    dirty = docker_client.images.get(f"{REPOSITORY}:pr-{commit[:12]}-dirty")
    assert dirty.labels["org.opencontainers.image.revision"] == f"{commit}-dirty"


@containerd
@pytest.mark.parametrize("action", ["echo other >{}/health", "git -C {} checkout --quiet HEAD~1"])
def test_folder_that_changes_while_its_image_is_built_gives_no_candidate(
    gate: Gate, emulator: Path, tmp_path: Path, action: str
) -> None:
    """The image would hold what its label does not name."""
    folder = tmp_path / "emulator"
    shutil.copytree(emulator, folder)
    commit_all(folder)
    (folder / "health").write_text("newer\n")
    commit_all(folder)
    path = shim(tmp_path, "buildx build", action.format(shlex.quote(str(folder))))
    done = gate.make("image", EMULATOR_SOURCE=str(folder), PATH=path)
    assert f"error: {folder} changed while the image was built: run it again\n" in done.stdout
    assert not (gate.findings / "candidate.json").exists()


# --- what was checked out and installed


def test_results_of_one_ref_are_not_those_of_another_that_looks_alike(gate: Gate, consumer: Path) -> None:
    git("branch", "a/b", cwd=consumer)
    git("checkout", "--quiet", "-b", "a-b", cwd=consumer)
    try:
        (consumer / "tests/test_steps.py").write_text((consumer / "tests/test_vanishes.py").read_text())
        commit_all(consumer)
        found = gate.compat("tests/test_steps.py", SAMCLI_REFS="a/b a-b")
    finally:
        git("checkout", "--quiet", "develop", cwd=consumer)
        git("branch", "-D", "a/b", "a-b", cwd=consumer)
    assert [(run["ref"], run["passed"]) for run in found.verdict["runs"]] == [("a/b", 3), ("a-b", 0)]
    assert {reason.partition(": ")[0] for reason in found.reasons} == {"a-b"}


@pytest.fixture(scope="module")
def poisoned(gate: Gate) -> "list[subprocess.CompletedProcess[str]]":
    """What compat.py and samcli.py print after a test changed whatever a later run could use."""
    found = gate.judged("tests/test_poisons.py")
    assert found.green, found.reasons
    return [gate.script("compat.py"), gate.script("samcli.py")]


def test_run_is_refused_where_a_test_changed_what_is_installed(
    poisoned: "list[subprocess.CompletedProcess[str]]",
) -> None:
    refused = "error: aws-sam-cli develop was changed since it was installed: run `make samcli` first"
    assert (poisoned[0].returncode, poisoned[0].stdout.splitlines()[-1]) == (2, refused)


def test_next_run_installs_and_tests_what_was_committed(
    gate: Gate, poisoned: "list[subprocess.CompletedProcess[str]]"
) -> None:
    """Also where git's objects are replaced in the cache, and the checkout has entries that git does not look at."""
    assert "installing aws-sam-cli develop" in poisoned[1].stdout
    found = gate.judged("tests/test_steps.py tests/test_failing.py")
    assert sorted(found.tests)[2:] == [
        "test_steps.py::test_answers[health?a=b::c]",
        "test_steps.py::test_answers[health]",
        "test_steps.py::test_health",
    ]
    assert reasons(found) == ["1 of 5 tests failed"]


@pytest.mark.parametrize("how", ["edited", "added", "removed", "linked"])
def test_no_change_to_what_is_installed_is_missed(tmp_path: Path, how: str) -> None:
    file = tmp_path / "venv/lib/module.py"
    for path in (file, tmp_path / "src/setup.py"):
        path.parent.mkdir(parents=True)
        path.write_text("right\n")
    before, stat = files.fingerprint(tmp_path), file.stat()
    assert files.fingerprint(tmp_path) == before
    if how == "edited":  # with the size and the time that it had
        file.write_text("wrong\n")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    elif how == "added":
        (file.parent / "sitecustomize.py").touch()
    elif how == "removed":
        file.unlink()
    else:
        (tmp_path / "wrong.py").write_text("wrong\n")
        (tmp_path / "src/setup.py").unlink()
        (tmp_path / "src/setup.py").symlink_to("../wrong.py")
    assert files.fingerprint(tmp_path) != before


# --- errors


def test_folder_of_another_program_is_not_taken_for_a_venv(template: Gate) -> None:
    """Neither VENV in the environment, where other tools have it too, nor one that is no venv is ever emptied."""
    thesis = template.root / "mine/thesis.txt"
    thesis.parent.mkdir()
    thesis.touch()
    (template.root / ".cache/venv").unlink()
    dry = template.run("make", "-n", "image", VENV="mine")
    assert "venv --clear .cache/venv" in dry.stdout
    asked = template.run("make", "image", "VENV=mine")
    assert asked.returncode == 2
    assert "error: mine exists and is not a venv of this clone: remove it" in asked.stdout
    assert thesis.exists()


@pytest.mark.parametrize(
    ("script", "settings", "says"),
    [
        ("image.py", {"EMULATOR_PREBUILD": "echo no such backend; exit 3"}, "EMULATOR_PREBUILD=.* failed"),
        ("image.py", {"EMULATOR_SOURCE": "scripts"}, "scripts has no Dockerfile"),
        ("image.py", {"EMULATOR_SOURCE": "~no-such-user/x"}, "is not a folder and not a git URL"),
        ("image.py", {"EMULATOR_IMAGE": "compat.example/none:x"}, "there is no image compat.example/none:x"),
        ("image.py", {"EMULATOR_IMAGE": "foo:bar:baz"}, "EMULATOR_IMAGE='foo:bar:baz' .from the environment."),
        ("image.py", {"EMULATOR_TAG": "latest"}, "EMULATOR_TAG='latest' .from the environment.: .*published"),
        ("samcli.py", {"SAMCLI_SOURCE": "nowhere"}, "SAMCLI_SOURCE: nowhere cannot be reached"),
        ("samcli.py", {"SAMCLI_REFS": "v0.0.0"}, "SAMCLI_REFS: .* has no branch, tag or commit v0.0.0"),
        ("samcli.py", {"SAMCLI_REFS": "latest"}, "there is no release tag vN.N.N, so latest names nothing"),
        ("samcli.py", {"SAMCLI_PYTHON": "3.2"}, "no venv of Python 3.2 can be made"),
        ("compat.py", {"EMULATOR_SOURCE": "elsewhere"}, "made with another EMULATOR_SOURCE: run `make image`"),
        ("compat.py", {"EMULATOR_REPOSITORY": "a/b"}, "made with another EMULATOR_REPOSITORY: run `make image`"),
        ("compat.py", {"SAMCLI_PYTHON": "3.2"}, "installed for other settings: run `make samcli`"),
        ("compat.py", {"SAMCLI_REFS": "v0.0.0"}, "installed for other settings: run `make samcli`"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(gate: Gate, script: str, settings: dict[str, str], says: str) -> None:
    gate.prepare()
    (gate.findings / "verdict.json").touch()
    before = sorted((gate.root / ".cache/samcli").iterdir())
    done = gate.script(script, **settings)
    assert done.returncode == 2, done.stdout
    assert re.search(f"^error: .*{says}", done.stdout.splitlines()[-1]), done.stdout
    assert "Traceback" not in done.stdout
    assert (gate.findings / "verdict.json").exists() == (script == "samcli.py")
    assert [path for path in before if not path.exists()] == []


def test_failing_build_shows_its_last_lines(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY not-there /\n")
    done = gate.script("image.py", EMULATOR_SOURCE=str(tmp_path))
    assert done.returncode == 2
    assert re.search(r"^  \| .*not-there", done.stdout, re.MULTILINE)
    log = gate.findings / "logs/build.log"
    assert done.stdout.splitlines()[-1].startswith(f"error: docker build failed in {tmp_path} (exit code 1")
    assert done.stdout.splitlines()[-1].endswith(f"the whole output is in {log})")
    assert "not-there" in log.read_text()
    assert not (gate.findings / "candidate.json").exists()


def test_missing_buildx_is_named(gate: Gate, tmp_path: Path) -> None:
    done = gate.script("image.py", PATH=shim(tmp_path, "buildx version", "exit 1"))
    assert done.returncode == 2
    assert "error: docker buildx is missing: install it, or run `make engine`" in done.stdout


def test_failing_install_leaves_nothing(gate: Gate, consumer: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", str(consumer), str(tmp_path / "broken"), cwd=tmp_path)
    project = tmp_path / "broken/pyproject.toml"
    project.write_text(project.read_text().replace('"docker", ', '"docker==0.0.0.nothing", '))
    commit = commit_all(tmp_path / "broken")
    done = gate.script("samcli.py", SAMCLI_SOURCE=str(tmp_path / "broken"))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("error: installing aws-sam-cli failed")
    assert not list((gate.root / ".cache/samcli").glob(f"{commit[:12]}*"))
