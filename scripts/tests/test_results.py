"""What a shard leaves: the plugin's records, and the log of its emulators."""

import json
from pathlib import Path
from typing import Any

import pytest

from gate import results

ONE = "tests/test_a.py::TestX::test_one"
TWO = "tests/test_a.py::TestX::test_two[a::b/c.py]"


def report(
    test: str, when: str, outcome: str, message: str = ""
) -> dict[str, Any]:
    """Return the record of one phase of a test, as pytest reports it."""
    at = 12.0 if when == "call" else 19.0
    return {
        "test": test,
        "when": when,
        "outcome": outcome,
        "message": message,
        "at": at,
    }


def ran(test: str, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a test from its start to its end."""
    return [
        {"started": test, "at": 10.0},
        report(test, "setup", "passed"),
        *reports,
        report(test, "teardown", "passed"),
        {"finished": test, "at": 20.0},
    ]


def outcome(*reports: tuple[str, str, str]) -> tuple[str, str]:
    """Return outcome and message of a test with these reports besides set-up and tear-down."""
    records = ran(ONE, *(report(ONE, *arguments) for arguments in reports))
    (result,) = results.tests(records, "a-1").values()
    return result.outcome, result.message


def test_a_test_whose_call_passes_is_passed() -> None:
    by_id = results.tests(
        [*ran(ONE, report(ONE, "call", "passed")), *ran(TWO)], "a-1"
    )
    assert list(by_id) == [ONE, TWO]
    one = by_id[ONE]
    assert one.file == "tests/test_a.py"
    assert (one.outcome, one.shard) == ("passed", "a-1")
    assert (one.began, one.ended) == (10.0, 12.0), (
        "without its class's tear-down"
    )


def test_a_test_that_pytest_did_not_call_is_not_passed() -> None:
    assert outcome() == ("skipped", "pytest did not call it")


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_test_that_fails_in_any_phase_is_failed(when: str) -> None:
    reports = [] if when == "setup" else [("call", "passed", "")]
    assert outcome(*reports, (when, "failed", "no\n route")) == (
        "failed",
        "no route",
    )


@pytest.mark.parametrize("when", ["setup", "call"])
def test_a_skipped_test_is_not_passed(when: str) -> None:
    assert outcome((when, "skipped", "not today")) == ("skipped", "not today")


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_one_failed_subtest_fails_its_test(failed: int) -> None:
    """Pytest reports each subtest, then the test itself, as passed where it used to."""
    reports = [("call", "passed", "")] * 3
    reports[failed] = ("call", "failed", "subtest 3")
    assert outcome(*reports) == ("failed", "subtest 3")


def test_a_skipped_subtest_does_not_undo_a_pass_or_a_failure() -> None:
    skipped = ("call", "skipped", "not this one")
    assert outcome(skipped, ("call", "passed", ""))[0] == "passed"
    assert outcome(("call", "failed", "no"), skipped) == ("failed", "no")


def test_a_rerun_by_aws_sam_cli_itself_is_a_failure() -> None:
    """As pytest-rerunfailures reports it: each try begins and finishes."""
    records = ran(ONE, report(ONE, "call", "rerun", "no"))
    records += ran(ONE, report(ONE, "call", "passed"))
    (result,) = results.tests(records, "a-1").values()
    assert (result.outcome, result.message) == ("failed", "no")


def test_a_test_that_did_not_finish_has_no_result_unless_it_failed() -> None:
    """The process ended, or was ended."""
    whole = ran(ONE, report(ONE, "call", "passed"))
    cut = [*whole, *ran(TWO)[:2]]
    assert list(results.tests(cut, "a-1")) == [ONE]
    assert results.unfinished(cut) == [TWO]
    assert results.unfinished(whole) == []
    by_id = results.tests([*cut, report(TWO, "call", "failed", "no")], "a-1")
    assert by_id[TWO].outcome == "failed"


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert results.records(path) == []
    first = json.dumps({"started": "\N{LINE SEPARATOR}é", "at": 1})
    second = json.dumps({"started": "\N{LINE SEPARATOR}é", "at": 2})
    path.write_text(f"{first}\n{second[:9]}")
    assert results.records(path) == [json.loads(first)]
    path.write_text(f"{first}\n{second}\n")
    assert len(results.records(path)) == 2


# --- versions of what else can break aws-sam-cli


def test_versions_are_those_of_its_dependencies_and_of_the_functions() -> None:
    records: list[dict[str, Any]] = [
        {"versions": {"boto3": "1.40.0"}, "at": 1.0},
        *ran(ONE, report(ONE, "call", "passed")),
        {"functions_packages": {"durable-sdk": ["1.7.0", "hash"]}, "at": 20.0},
    ]
    assert results.versions(records) == {
        "boto3": "1.40.0",
        "functions' durable-sdk": "1.7.0",
    }


# --- the log of an emulator, as `docker logs --timestamps` prints it

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Ax"


def answers(folder: Path, *lines: str) -> list[results.Answer]:
    """Return what is read from a log whose lines came at second 1, 2, 3, …"""
    log = folder / "emulator.log"
    log.write_text(
        "".join(
            f"1970-01-01T00:00:{second:02d}.123456789Z {line}\n"
            for second, line in enumerate(lines, start=1)
        )
    )
    return results.answers(log)


def line(request: str, status: int = 200) -> str:
    return (
        f'127.0.0.1 - - [25/Nov/2026 00:00:00] "{request} HTTP/1.1" {status} -'
    )


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/health", "/health"),
        (
            f"/2025-12-01/durable-executions/{UUID}%2F{UUID}/history?x=1",
            "/durable-executions/{}/history",
        ),
        (
            f"/2025-12-01/functions/{ARN}/invocations",
            "/functions/{}/invocations",
        ),
        ("/a/17/b", "/a/{}/b"),
        (
            "/callbacks/eyJhIjoxLCJiIjoyMzQ1fQ=x9/succeed",
            "/callbacks/{}/succeed",
        ),
        (
            "/send-durable-execution-callback-success",
            "/send-durable-execution-callback-success",
        ),
    ],
)
def test_ids_in_a_path_are_replaced(path: str, route: str) -> None:
    assert results.route_of(path).removeprefix("/2025-12-01") == route


def test_only_what_the_emulator_answered_is_read_with_its_time(
    tmp_path: Path,
) -> None:
    lines = [
        line("GET /health"),
        line(f"GET /e/{UUID}", 404),
        # A request of the emulator's own.
        'DEBUG http://127.0.0.1:3001 "POST /functions/x/invocations HTTP/1.1" 200 12',
        "Traceback (most recent call last):",
        line("POST /e/4", 500),
    ]
    found = [
        (int(answer.at), answer.route, answer.status)
        for answer in answers(tmp_path, *lines)
    ]
    assert found == [
        (1, "GET /health", 200),
        (2, "GET /e/{}", 404),
        (5, "POST /e/{}", 500),
    ]


def test_a_log_that_is_missing_has_no_answers(tmp_path: Path) -> None:
    assert results.answers(tmp_path / "missing") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\0\n",
        b'1970-01-01T00:00:01Z {"path": "/x", "status": 200}\n',
    ],
    ids=["empty", "binary", "JSON"],
)
def test_a_log_of_another_format_has_no_answers(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "log").write_bytes(content)
    assert results.answers(tmp_path / "log") == []
