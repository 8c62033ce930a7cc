"""The make targets as a user runs them, with a small emulator and a small consumer."""

import re
from pathlib import Path

import docker
import pytest

from .conftest import OTHERS, REPOSITORY, Gate, Judged

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]
containerd = pytest.mark.containerd


# --- a green run, called from a poisoned environment


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a GitHub job."""
    return tmp_path_factory.mktemp("job") / "page.md"


@pytest.fixture(scope="module")
def green(gate: Gate, page: Path) -> Judged:
    return gate.compat(
        "tests/test_steps.py tests/test_callbacks.py tests/test_failing.py::test_good",
        COMPAT_MIN_PASSED="7",
        GITHUB_STEP_SUMMARY=str(page),
        CI="true",
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
        DOCKER_CONFIG=str(Path.home() / ".docker"),
    )


@containerd
def test_green(green: Judged, docker_client: docker.DockerClient) -> None:
    assert green.green, green.reasons
    candidate, run = green.verdict["candidate"], green.run
    assert candidate["image_id"] == docker_client.images.get(candidate["reference"]).id
    assert re.fullmatch(f"{REPOSITORY}:pr-[0-9a-f]{{12}}", candidate["reference"])
    assert (run["passed"], run["failed"], run["skipped"], run["flaky"]) == (7, 0, 0, 0)
    assert green.output.splitlines()[-1] == "green: develop: 7 passed"


def test_entries_are_files_and_single_tests(green: Judged) -> None:
    assert {test["outcome"] for test in green.run["tests"]} == {"passed"}
    assert [test for test in green.tests if "TestCallbacks" not in test] == [
        "test_steps.py::test_health",
        "test_steps.py::test_answers[health]",
        "test_steps.py::test_answers[health?a=b::c]",
        "test_failing.py::test_good",
    ]


@containerd
def test_each_shard_started_the_candidate_which_answered(green: Judged) -> None:
    image_id = green.verdict["candidate"]["image_id"]
    assert len(green.run["shards"]) == 3
    for shard in green.run["shards"]:
        assert list(shard["containers"]) == [image_id], shard
        assert shard["answered"], shard
    assert green.tests["test_steps.py::test_health"]["requests"] == {"GET /cgi-bin/health 200": 1}


def test_verdict_holds_what_was_required(green: Judged, consumer: Path) -> None:
    assert green.verdict["schema"] == 3
    required = green.verdict["settings"]
    assert (required["samcli_source"], required["samcli_refs"]) == (str(consumer), ["develop"])
    assert (required["samcli_tests"][0], required["compat_min_passed"]) == (
        "tests/test_steps.py",
        7,
    )


def test_progress_is_a_line_for_each_shard(green: Judged) -> None:
    (total,) = re.findall(r"^develop: 7 tests in (\d) shards$", green.output, re.MULTILINE)
    ended = re.findall(r"^develop: \w+-\d: (\d) passed in \d+ s$", green.output, re.MULTILINE)
    assert (len(ended), sum(map(int, ended))) == (int(total), 7)


def test_report_is_printed_saved_and_on_the_page_of_the_job(
    green: Judged, gate: Gate, page: Path
) -> None:
    saved = (gate.findings / "summary.md").read_text()
    assert saved.endswith("\ngreen: develop: 7 passed\n")
    assert page.read_text() == saved
    assert green.output.endswith(saved)


def test_second_run_builds_and_installs_nothing_again(green: Judged, gate: Gate) -> None:
    assert "CACHED" in gate.make("image").stdout
    again = gate.make("samcli").stdout
    assert "aws-sam-cli 0.1.0 (develop, " in again
    assert "uv pip install" not in again


# --- one red run with every reason that does not exclude another

REDS = (
    "test_steps test_failing test_subtests test_skipped test_broken test_quits test_moved "
    "test_attaches test_crashes test_decoy test_stranger"
)
STRANGERS = (f"{OTHERS}-stranger", "sam-compat-00000000-steps-1")  # that is another clone's gate


@pytest.fixture(scope="module")
def red(
    gate: Gate,
    docker_client: docker.DockerClient,
    other_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Judged:
    stale = docker_client.containers.run(other_image, name=f"{OTHERS}-stale", detach=True)
    try:
        return gate.judged(
            " ".join(f"tests/{name}.py" for name in REDS.split()),
            COMPAT_JOBS="4",
            COMPAT_MIN_PASSED="99",
            UV_TEST_FOLDER=str(tmp_path_factory.mktemp("red")),
            UV_TEST_STRANGER=" ".join(STRANGERS),
        )
    finally:
        stale.remove(force=True)


def reasons(found: Judged) -> list[str]:
    """Return the reasons without the ref, the numbers of shards, image ids and logs."""
    volatile = r"^develop: | \(see [^)]+\)|( \()?sha256:[0-9a-f]+\)?|(?<=shard quits)-[0-9]"
    return [re.sub(f"{volatile}|: \\d not compared$", "", reason) for reason in found.reasons]


@pytest.mark.parametrize(
    "reason",
    [
        "4 of 15 tests failed",
        "Only 9 tests passed; COMPAT_MIN_PASSED requires 99",
        "tests/test_subtests.py: no test passed (2 failed)",
        "tests/test_skipped.py: no test passed (2 skipped)",
        "shard collect ended with pytest's exit code 2",
        "tests/test_broken.py: no test passed (no result)",
        "tests/test_moved.py does not exist in this aws-sam-cli: was it moved?",
        "tests/test_moved.py: no test passed (no result)",
        "shard quits ended with pytest's exit code 0 in tests/test_quits.py::test_quits"
        "; 2 of its 3 tests have no result",
    ],
)
def test_red_and_the_reason_is_named(red: Judged, reason: str) -> None:
    assert reason in reasons(red), "\n".join(reasons(red))


NOT_STARTED = "its tests passed, but no container of the candidate was started"
NOT_ANSWERED = "every container of the candidate ended before it answered a request"


@containerd
@pytest.mark.parametrize(
    "reason",
    [
        f"tests/test_attaches.py: {NOT_STARTED}",
        f"tests/test_decoy.py: {NOT_STARTED}",
        f"tests/test_crashes.py: {NOT_ANSWERED}",
        f"another image of {REPOSITORY} ran: {STRANGERS[0]} from {REPOSITORY}:other",
        f"another image of {REPOSITORY} ran: {STRANGERS[0]}-by-id from ",
    ],
    ids=["attaches", "decoy", "crashes", "stranger", "stranger by id"],
)
def test_red_where_tests_passed_without_the_candidate(red: Judged, reason: str) -> None:
    assert reason in reasons(red), "\n".join(reasons(red))


@containerd
def test_nothing_else_is_a_reason(red: Judged) -> None:
    """What another clone's gate starts is its own."""
    assert len(red.reasons) == 14, red.reasons


def test_failing_test_is_listed_with_its_message_and_logs(red: Judged, gate: Gate) -> None:
    failed = red.tests["test_failing.py::test_bad"]
    assert "the emulator has forgotten a route" in failed["message"]
    (shard,) = (shard for shard in red.run["shards"] if shard["name"] == failed["shard"])
    suite, emulator = ((gate.root / log).read_text() for log in shard["logs"])
    assert "assert 'ok" in suite
    assert '"GET /cgi-bin/health HTTP/1.1" 200' in emulator
    assert f"logs: {', '.join(shard['logs'])}\n" in red.output


def test_skipped_tests_are_named_with_their_reasons(red: Judged) -> None:
    for name, reason in (("one", "not today"), ("two", "nor this one")):
        assert f"- skipped: `tests/test_skipped.py::test_{name}`: `{reason}`\n" in red.output


# --- retries


@pytest.fixture(scope="module")
def retried(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Five of twenty tests fail at first: no more than a quarter."""
    tests = "tests/test_retries.py tests/test_subtests.py tests/test_steps.py"
    return gate.judged(tests, UV_TEST_FOLDER=str(tmp_path_factory.mktemp("retried")))


@pytest.mark.parametrize(
    "test",
    [
        "test_retries.py::test_second_time_lucky",
        "test_retries.py::test_rerun_by_aws_sam_cli_itself",
        "test_subtests.py::TestHistory::test_one_event_differs_once",
    ],
)
def test_test_that_passes_on_its_retry_is_flaky_and_named(retried: Judged, test: str) -> None:
    found = retried.tests[test]
    assert (found["outcome"], found["flaky"]) == ("passed", True)
    assert found["shard"].startswith("retry1-")
    assert f"- flaky: `tests/{test}` passed on a retry only\n" in retried.output


def test_failure_is_not_undone_by_a_retry_that_skips(retried: Judged) -> None:
    found = retried.tests["test_retries.py::test_gives_up"]
    assert (found["outcome"], found["message"]) == ("failed", "failed, then skipped: no use")


def test_what_still_fails_is_red(retried: Judged) -> None:
    assert reasons(retried) == ["2 of 20 tests failed"]


def test_green_if_what_failed_passes_on_its_retry(gate: Gate, tmp_path: Path) -> None:
    tests = "tests/test_retries.py::test_second_time_lucky"
    found = gate.judged(tests, UV_TEST_FOLDER=str(tmp_path))
    assert found.green, found.reasons
    assert found.output.splitlines()[-1] == "green: develop: 1 passed, 1 flaky"


def test_no_retry_when_more_than_a_quarter_failed(gate: Gate, tmp_path: Path) -> None:
    tests = "tests/test_retries.py::test_second_time_lucky tests/test_failing.py"
    found = gate.judged(tests, UV_TEST_FOLDER=str(tmp_path), COMPAT_RERUNS="9")
    assert reasons(found)[0] == "3 of 4 tests failed"
    assert not any("retry" in shard["name"] for shard in found.run["shards"])


# --- which image it was, and errors


@containerd
def test_red_when_the_tag_was_moved(
    gate: Gate, docker_client: docker.DockerClient, other_image: str
) -> None:
    assert gate.make("image", EMULATOR_TAG="pr-moved").returncode == 0
    docker_client.images.get(other_image).tag(REPOSITORY, "pr-moved")
    settings = {"EMULATOR_TAG": "pr-moved", "SAMCLI_TESTS": "tests/test_steps.py"}
    found = gate.read(gate.script("compat.py", **settings), red=1)
    candidate, other = found.verdict["candidate"], docker_client.images.get(other_image).id
    moved = f"{REPOSITORY}:pr-moved was moved from {candidate['image_id']} to {other}: "
    assert any(reason.startswith(moved) for reason in found.reasons), found.reasons
    assert any(f"another image of {REPOSITORY} ran: " in reason for reason in found.reasons)
    assert {each for shard in found.run["shards"] for each in shard["containers"]} == {other}


@pytest.mark.parametrize(
    ("script", "settings", "says"),
    [
        ("image.py", {"EMULATOR_PREBUILD": "exit 3"}, r"EMULATOR_PREBUILD failed \(exit code 3"),
        ("compat.py", {"SAMCLI_REFS": "v0.0.0"}, "has no branch, tag or commit v0.0.0"),
        ("image.py", {"COMPAT_JOBS": "many"}, "COMPAT_JOBS=many: must be a number"),
        ("compat.py", {"COMPAT_JOBS": "many"}, "COMPAT_JOBS=many: must be a number"),
    ],
)
def test_after_an_error_there_is_no_verdict(
    gate: Gate, script: str, settings: dict[str, str], says: str
) -> None:
    gate.prepare()
    for name in ("verdict.json", "summary.md"):
        (gate.findings / name).touch()
    done = gate.script(script, **settings)
    assert done.returncode == 2, done.stdout
    assert re.search(f"^error: .*{says}", done.stdout.splitlines()[-1]), done.stdout
    assert not list(gate.findings.glob("verdict.json"))
    assert not list(gate.findings.glob("summary.md"))
