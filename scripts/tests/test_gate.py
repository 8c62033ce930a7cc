"""The make targets as a user runs them, with a small emulator and a small consumer."""

import re
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from gate import engine
from gate.model import SCHEMA

from .support.emulator import OTHERS, REPOSITORY
from .support.gate import Gate, Judged

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]
KNOWN_FAILURE = "test_known.py::test_never_worked"


# --- a green run, called from a poisoned environment


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a GitHub job."""
    return tmp_path_factory.mktemp("job") / "page.md"


@pytest.fixture(scope="module")
def green(gate: Gate, page: Path) -> Judged:
    return gate.compat(
        "tests/test_steps.py tests/test_callbacks.py tests/test_failing.py::test_good "
        "tests/test_known.py",
        COMPAT_MIN_PASSED="8",
        SAMCLI_KNOWN_FAILURES=f"tests/{KNOWN_FAILURE}@2999-12-31",
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


@pytest.mark.containerd
def test_a_run_without_a_reason_against_it_is_green(
    green: Judged, docker_client: docker.DockerClient
) -> None:
    assert green.green, green.reasons
    candidate = green.verdict["candidate"]
    assert (
        candidate["image_id"]
        == docker_client.images.get(candidate["reference"]).id
    )
    # The emulator's folder is outside of git.
    short = engine.short(candidate["image_id"])
    assert candidate["reference"] == f"{REPOSITORY}:pr-{short}"
    assert green.verdict["counts"] == {
        "develop": {
            "passed": 8,
            "failed": 0,
            "skipped": 0,
            "flaky": 0,
            "set aside": 1,
        }
    }
    assert (
        green.output.splitlines()[-1] == "green: develop: 8 passed, 1 set aside"
    )


def test_a_known_failure_does_not_count_and_is_shown(green: Judged) -> None:
    assert green.tests[KNOWN_FAILURE]["outcome"] == "failed"
    line = f"- set aside until 2999-12-31: `tests/{KNOWN_FAILURE}`: failed\n"
    assert line in green.output


def test_an_entry_of_samcli_tests_is_a_file_or_a_single_test(
    green: Judged,
) -> None:
    others = [test for test in green.tests if test != KNOWN_FAILURE]
    assert {green.tests[test]["outcome"] for test in others} == {"passed"}
    assert [test for test in others if "TestCallbacks" not in test] == [
        "test_failing.py::test_good",
        "test_known.py::test_works",
        "test_steps.py::test_answers[health?a=b::c]",
        "test_steps.py::test_answers[health]",
        "test_steps.py::test_health",
    ]


@pytest.mark.containerd
def test_each_shard_started_the_candidate_which_answered(green: Judged) -> None:
    image_id = green.verdict["candidate"]["image_id"]
    shards = green.run["shards"]
    assert [list(shard["containers"]) for shard in shards] == [[image_id]] * 4
    assert [shard["answered"] for shard in shards] == [True] * 4
    assert green.tests["test_steps.py::test_health"]["answers"] == {
        "GET /cgi-bin/health": [200]
    }


def test_the_verdict_holds_what_was_required(
    green: Judged, consumer: Path
) -> None:
    assert green.verdict["schema"] == SCHEMA
    required = green.verdict["requirements"]
    assert required["samcli_source"] == str(consumer)
    assert required["samcli_refs"] == ["develop"]
    assert required["samcli_tests"][0] == "tests/test_steps.py"
    assert required["compat_min_passed"] == 8


def test_each_shard_prints_a_line_at_its_end(green: Judged) -> None:
    (total,) = re.findall(
        r"^develop: 9 tests in (\d) shards$", green.output, re.MULTILINE
    )
    ended = re.findall(
        r"^develop: \w+-\d: (?:1 failed, )?(\d) passed in \d+ s$",
        green.output,
        re.MULTILINE,
    )
    assert (len(ended), sum(map(int, ended))) == (int(total), 8)


def test_the_report_is_printed_saved_and_on_the_page_of_the_job(
    green: Judged, gate: Gate, page: Path
) -> None:
    saved = (gate.results_folder / "summary.md").read_text()
    assert saved.endswith("\ngreen: develop: 8 passed, 1 set aside\n")
    assert page.read_text() == saved
    assert green.output.endswith(saved)


def test_a_second_run_builds_and_installs_nothing_again(
    green: Judged, gate: Gate
) -> None:
    assert "CACHED" in gate.make("image").stdout
    again = gate.make("samcli").stdout
    assert "aws-sam-cli 0.1.0 (develop, " in again
    assert "uv pip install" not in again


# --- one red run with every reason that does not exclude another
#
# To add a case: write a test file in consumer/tests and add it to RED_CASES, with what it comes to.

NOT_STARTED = "its tests passed, but no container of the candidate was started"
NOT_ANSWERED = (
    "every container of the candidate ended before it answered a request"
)
CAN_HAVE_ANSWERED = "another image can have answered: "


@dataclass(frozen=True)
class RedCase:
    """A test file of the consumer, what its tests come to, and why that is red."""

    file: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    marks: tuple[pytest.MarkDecorator, ...] = ()


RED_CASES = (
    RedCase("test_steps.py", passed=3),
    RedCase("test_failing.py", passed=1, failed=2),
    RedCase(
        "test_subtests.py",
        failed=2,
        reasons=("tests/test_subtests.py: no test passed (2 failed)",),
    ),
    RedCase(
        "test_skipped.py",
        skipped=2,
        reasons=("tests/test_skipped.py: no test passed (2 skipped)",),
    ),
    RedCase(
        "test_broken.py",
        reasons=(
            "shard collect ended with pytest's exit code 2",
            "tests/test_broken.py: no test passed (no result)",
        ),
    ),
    RedCase(
        "test_quits.py",
        passed=1,
        reasons=(
            "shard quits ended with pytest's exit code 0 in tests/test_quits.py::test_quits"
            "; 2 of its 3 tests have no result",
        ),
    ),
    RedCase(
        # It does not exist.
        "test_moved.py",
        reasons=(
            "tests/test_moved.py does not exist in this aws-sam-cli: was it moved? "
            "Name its new path in SAMCLI_TESTS",
            "tests/test_moved.py: no test passed (no result)",
        ),
    ),
    RedCase(
        "test_attaches.py",
        passed=1,
        reasons=(f"tests/test_attaches.py: {NOT_STARTED}",),
        marks=(pytest.mark.containerd,),
    ),
    RedCase(
        "test_crashes.py",
        passed=1,
        reasons=(f"tests/test_crashes.py: {NOT_ANSWERED}",),
        marks=(pytest.mark.containerd,),
    ),
    RedCase(
        "test_decoy.py",
        passed=1,
        reasons=(f"tests/test_decoy.py: {NOT_STARTED}",),
        marks=(pytest.mark.containerd,),
    ),
    RedCase(
        "test_own_name.py",
        passed=1,
        reasons=(f"{CAN_HAVE_ANSWERED}SHARD from {REPOSITORY}:other",),
        marks=(pytest.mark.containerd,),
    ),
    RedCase(
        "test_own_port.py",
        passed=1,
        reasons=(
            f"{CAN_HAVE_ANSWERED}{OTHERS}-on-port from {REPOSITORY}:other, on a shard's port",
        ),
        marks=(pytest.mark.containerd,),
    ),
)
PASSED = sum(case.passed for case in RED_CASES)
FAILED = sum(case.failed for case in RED_CASES)
TESTS = PASSED + FAILED + sum(case.skipped for case in RED_CASES)
TOTALS = (
    f"{FAILED} of {TESTS} tests failed: {FAILED} unknown",
    f"only {PASSED} tests passed; COMPAT_MIN_PASSED requires 99",
)


@pytest.fixture(scope="module")
def red(
    gate: Gate,
    docker_client: docker.DockerClient,
    other_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Judged:
    stale = docker_client.containers.run(
        other_image, name=f"{OTHERS}-stale", detach=True
    )
    try:
        return gate.judged(
            " ".join(f"tests/{case.file}" for case in RED_CASES),
            COMPAT_JOBS="4",
            COMPAT_MIN_PASSED="99",
            # On a retry some would pass.
            COMPAT_RERUNS="0",
            UV_TEST_FOLDER=str(tmp_path_factory.mktemp("red")),
        )
    finally:
        stale.remove(force=True)


def reasons(judged: Judged) -> list[str]:
    """Return the reasons without the ref, names and numbers of shards, image ids and logs."""
    volatile = r"^develop: | \(see [^)]+\)|( \()?sha256:[0-9a-f]+\)?|(?<=shard quits)-[0-9]"
    own_name = r"sam-compat-[0-9a-f]{8}-[0-9a-f]{8}-\w+-\d+"
    return [
        re.sub(volatile, "", re.sub(own_name, "SHARD", reason))
        for reason in judged.reasons
    ]


@pytest.mark.parametrize(
    "reason",
    [
        *(pytest.param(reason, id=reason) for reason in TOTALS),
        *(
            pytest.param(reason, id=f"{case.file}-{number}", marks=case.marks)
            for case in RED_CASES
            for number, reason in enumerate(case.reasons, start=1)
        ),
    ],
)
def test_each_cause_of_red_is_named(red: Judged, reason: str) -> None:
    assert reason in reasons(red), "\n".join(reasons(red))


@pytest.mark.containerd
def test_nothing_else_is_a_reason(red: Judged) -> None:
    expected = [
        *TOTALS,
        *(reason for case in RED_CASES for reason in case.reasons),
    ]
    assert sorted(reasons(red)) == sorted(expected)


def test_a_failing_test_is_listed_with_its_message_and_logs(
    red: Judged, gate: Gate
) -> None:
    failed = red.tests["test_failing.py::test_bad"]
    assert "the emulator has forgotten a route" in failed["message"]
    (shard,) = (
        shard for shard in red.run["shards"] if shard["name"] == failed["shard"]
    )
    suite, emulator = [(gate.root / log).read_text() for log in shard["logs"]]
    assert "assert 'ok" in suite
    assert '"GET /cgi-bin/health HTTP/1.1" 200' in emulator
    assert f"logs: {', '.join(shard['logs'])}\n" in red.output


@pytest.mark.parametrize(
    ("test", "reason"), [("one", "not today"), ("two", "nor this one")]
)
def test_a_skipped_test_is_named_with_its_reason(
    red: Judged, test: str, reason: str
) -> None:
    assert (
        f"- skipped: `tests/test_skipped.py::test_{test}`: `{reason}`\n"
        in red.output
    )


# --- retries


@pytest.fixture(scope="module")
def retried(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Five of twenty tests fail at first: no more than a quarter."""
    tests = "tests/test_retries.py tests/test_subtests.py tests/test_steps.py"
    return gate.judged(
        tests, UV_TEST_FOLDER=str(tmp_path_factory.mktemp("retried"))
    )


@pytest.mark.parametrize(
    "test",
    [
        "test_retries.py::test_second_time_lucky",
        "test_retries.py::test_rerun_by_aws_sam_cli_itself",
        "test_subtests.py::TestHistory::test_one_event_differs_once",
    ],
)
def test_a_test_that_passes_on_its_retry_is_flaky_and_named(
    retried: Judged, test: str
) -> None:
    result = retried.tests[test]
    assert (result["outcome"], result["flaky"]) == ("passed", True)
    assert result["shard"].startswith("retry1-")
    assert f"- flaky: `tests/{test}` passed on a retry only\n" in retried.output


def test_a_failure_is_not_undone_by_a_retry_that_skips(retried: Judged) -> None:
    result = retried.tests["test_retries.py::test_gives_up"]
    assert (result["outcome"], result["message"]) == (
        "failed",
        "failed, then skipped: no use",
    )


def test_what_still_fails_on_its_retry_is_red(retried: Judged) -> None:
    assert reasons(retried) == ["2 of 20 tests failed: 2 unknown"]


def test_a_run_is_green_if_what_failed_passes_on_its_retry(
    gate: Gate, tmp_path: Path
) -> None:
    tests = "tests/test_retries.py::test_second_time_lucky"
    judged = gate.judged(tests, UV_TEST_FOLDER=str(tmp_path))
    assert judged.green, judged.reasons
    assert judged.output.splitlines()[-1] == "green: develop: 1 passed, 1 flaky"


def test_nothing_is_retried_when_more_than_a_quarter_failed(
    gate: Gate, tmp_path: Path
) -> None:
    tests = (
        "tests/test_retries.py::test_second_time_lucky tests/test_failing.py"
    )
    judged = gate.judged(tests, UV_TEST_FOLDER=str(tmp_path), COMPAT_RERUNS="9")
    assert reasons(judged)[0] == "3 of 4 tests failed: 3 unknown"
    assert [
        shard["name"]
        for shard in judged.run["shards"]
        if "retry" in shard["name"]
    ] == []


# --- which image it was, and errors


STRANGER = f"{OTHERS}-stranger"
# Named as a shard's emulator of another clone's gate, which may run at the same time.
ANOTHER_CLONES = "sam-compat-00000000-steps-1"


@pytest.mark.containerd
def test_what_somebody_else_runs_is_a_note_unless_it_is_a_gates(
    gate: Gate, other_image: str
) -> None:
    judged = gate.judged(
        "tests/test_stranger.py",
        UV_TEST_STRANGER=f"{STRANGER} {ANOTHER_CLONES}",
    )
    assert judged.green, judged.reasons
    by_name, by_id = judged.run["notes"]
    harmless = "not of this run, and it cannot have answered: "
    assert by_name.startswith(f"{harmless}{STRANGER} from {other_image} (")
    assert by_id.startswith(f"{harmless}{STRANGER}-by-id from sha256:")
    assert f"- `{by_name}`\n" in judged.output


@pytest.mark.containerd
def test_a_candidate_whose_tag_was_moved_during_the_run_is_red(
    gate: Gate, docker_client: docker.DockerClient, other_image: str
) -> None:
    assert gate.make("image", EMULATOR_TAG="pr-moved").returncode == 0
    settings = {
        "EMULATOR_TAG": "pr-moved",
        "SAMCLI_TESTS": "tests/test_moves_tag.py",
    }
    judged = gate.judgement_of(
        gate.script("compat.py", **settings), exit_code_if_red=1
    )
    candidate = judged.verdict["candidate"]
    other = docker_client.images.get(other_image).id
    (reason,) = judged.reasons
    moved = f"{REPOSITORY}:pr-moved was moved from {candidate['image_id']} to {other}: "
    assert reason.startswith(moved)


@pytest.mark.containerd
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "gone"])
def test_a_candidate_that_has_lost_its_tag_is_an_error_before_the_suite(
    gate: Gate,
    docker_client: docker.DockerClient,
    other_image: str,
    *,
    moved: bool,
) -> None:
    """As after `docker image prune --all`."""
    tag = f"{REPOSITORY}:pr-lost"
    assert gate.make("image", EMULATOR_TAG="pr-lost").returncode == 0
    docker_client.images.remove(tag)
    if moved:
        docker_client.images.get(other_image).tag(tag)
    done = gate.script("compat.py", EMULATOR_TAG="pr-lost")
    lost = f"{tag} no longer names the candidate: run `make image`"
    assert done.stdout == f"error: {lost}\n"
    assert done.returncode == 2


@pytest.mark.containerd
@pytest.mark.parametrize(
    ("file", "says"),
    [
        (
            "test_untags.py",
            f"{REPOSITORY}:pr-passing was removed during the run, as by ",
        ),
        (
            "test_killed.py",
            "develop: an emulator was killed: memory may be short: ",
        ),
    ],
    ids=["the tag", "an emulator"],
)
def test_what_others_or_the_system_remove_during_a_run_is_an_error(
    gate: Gate, file: str, says: str
) -> None:
    settings = {"EMULATOR_TAG": "pr-passing", "SAMCLI_TESTS": f"tests/{file}"}
    assert gate.make("image", **settings).returncode == 0
    done = gate.script("compat.py", **settings)
    assert done.stdout.splitlines()[-1].startswith(f"error: {says}")
    assert done.returncode == 2
    assert list(gate.results_folder.glob("verdict.json")) == []


@pytest.mark.parametrize(
    ("script", "settings", "says"),
    [
        (
            "image.py",
            {"EMULATOR_PREBUILD": "exit 3"},
            r"EMULATOR_PREBUILD failed \(exit code 3",
        ),
        (
            "compat.py",
            {"SAMCLI_REFS": "v0.0.0"},
            "has no branch, tag or commit v0.0.0",
        ),
        (
            "image.py",
            {"COMPAT_JOBS": "many"},
            "COMPAT_JOBS=many: must be a number",
        ),
        (
            "compat.py",
            {"COMPAT_JOBS": "many"},
            "COMPAT_JOBS=many: must be a number",
        ),
        (
            "compat.py",
            {"SAMCLI_TESTS": "tests/test_steps.py::test_helth"},
            "SAMCLI_TESTS: tests/test_steps.py::test_helth names no test of aws-sam-cli develop",
        ),
    ],
)
def test_after_an_error_there_is_no_verdict(
    gate: Gate, script: str, settings: dict[str, str], says: str
) -> None:
    gate.prepare()
    for name in ("verdict.json", "summary.md"):
        (gate.results_folder / name).touch()
    done = gate.script(script, **settings)
    assert done.returncode == 2, done.stdout
    assert re.search(f"^error: .*{says}", done.stdout.splitlines()[-1]), (
        done.stdout
    )
    assert not list(gate.results_folder.glob("verdict.json"))
    assert not list(gate.results_folder.glob("summary.md"))
