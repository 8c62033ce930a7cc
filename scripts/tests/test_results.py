"""What a shard leaves: the plugin's records, and the log of its emulators."""

import json
from pathlib import Path
from typing import Any

import pytest

from gate import results

ONE, TWO = "tests/test_a.py::TestX::test_one", "tests/test_a.py::TestX::test_two[a::b/c.py]"


def report(test: str, when: str, outcome: str, message: str = "") -> dict[str, Any]:
    """Return the record of one phase of a test, as pytest reports it."""
    found = {"test": test, "when": when, "outcome": outcome, "message": message}
    return found | {"at": 12.0 if when == "call" else 19.0}


def ran(test: str, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a test from its start to its end."""
    begin, end = {"started": test, "at": 10.0}, {"finished": test, "at": 20.0}
    around = [report(test, when, "passed") for when in ("setup", "teardown")]
    return [begin, around[0], *reports, around[1], end]


def outcome(*reports: tuple[str, str, str]) -> tuple[str, str]:
    """Return outcome and message of a test with these reports besides set-up and tear-down."""
    (result,) = results.tests(ran(ONE, *(report(ONE, *each) for each in reports)), "a-1").values()
    return result.outcome, result.message


def test_passed() -> None:
    found = results.tests([*ran(ONE, report(ONE, "call", "passed")), *ran(TWO)], "a-1")
    assert list(found) == [ONE, TWO]
    assert found[ONE].file == "tests/test_a.py"
    assert (found[ONE].outcome, found[ONE].shard) == ("passed", "a-1")
    assert (found[ONE].began, found[ONE].ended) == (10.0, 12.0), "without its class's tear-down"


def test_pass_needs_the_call() -> None:
    assert outcome() == ("skipped", "pytest did not call it")


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_failed(when: str) -> None:
    reports = [] if when == "setup" else [("call", "passed", "")]
    assert outcome(*reports, (when, "failed", "no\n route")) == ("failed", "no route")


@pytest.mark.parametrize("when", ["setup", "call"])
def test_skipped_is_not_passed(when: str) -> None:
    assert outcome((when, "skipped", "not today")) == ("skipped", "not today")


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_one_failed_subtest_fails_its_test(failed: int) -> None:
    """Pytest reports each subtest, then the test itself, as passed where it used to."""
    reports = [("call", "passed", "")] * 3
    reports[failed] = ("call", "failed", "subtest 3")
    assert outcome(*reports) == ("failed", "subtest 3")


def test_skipped_subtest_does_not_undo_a_pass_or_a_failure() -> None:
    skipped = ("call", "skipped", "not this one")
    assert outcome(skipped, ("call", "passed", ""))[0] == "passed"
    assert outcome(("call", "failed", "no"), skipped) == ("failed", "no")


def test_rerun_by_aws_sam_cli_itself_is_a_failure() -> None:
    """As pytest-rerunfailures reports it: each try begins and finishes."""
    records = ran(ONE, report(ONE, "call", "rerun", "no"))
    records += ran(ONE, report(ONE, "call", "passed"))
    (result,) = results.tests(records, "a-1").values()
    assert (result.outcome, result.message) == ("failed", "no")


def test_test_that_did_not_finish_has_no_result_unless_it_failed() -> None:
    """The process ended, or was ended."""
    whole = ran(ONE, report(ONE, "call", "passed"))
    cut = [*whole, *ran(TWO)[:2]]
    assert list(results.tests(cut, "a-1")) == [ONE]
    assert results.unfinished(cut) == [TWO]
    assert results.unfinished(whole) == []
    found = results.tests([*cut, report(TWO, "call", "failed", "no")], "a-1")
    assert found[TWO].outcome == "failed"


def test_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert results.records(path) == []
    first, second = (json.dumps({"started": "\N{LINE SEPARATOR}é", "at": at}) for at in (1, 2))
    path.write_text(f"{first}\n{second[:9]}")
    assert results.records(path) == [json.loads(first)]
    path.write_text(f"{first}\n{second}\n")
    assert len(results.records(path)) == 2


# --- the log of an emulator, as `docker logs --timestamps` prints it

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Ax"


def answered(*requests: str, tmp_path: Path) -> list[tuple[float, str]]:
    """Return what is read from a log whose lines come at second 1, 2, 3, …"""
    stamps = (f"1970-01-01T00:00:{number:02d}.123456789Z" for number in range(1, 60))
    lines = [f"{stamp} {line}\n" for stamp, line in zip(stamps, requests, strict=False)]
    (tmp_path / "emulator.log").write_text("".join(lines))
    return results.answers(tmp_path / "emulator.log")


def line(request: str, status: int = 200) -> str:
    return f'127.0.0.1 - - [25/Nov/2026 00:00:00] "{request} HTTP/1.1" {status} -'


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/health", "/health"),
        (
            f"/2025-12-01/durable-executions/{UUID}%2F{UUID}/history?x=1",
            "/durable-executions/{}/history",
        ),
        (f"/2025-12-01/functions/{ARN}/invocations", "/functions/{}/invocations"),
        ("/a/17/b", "/a/{}/b"),
        ("/callbacks/eyJhIjoxLCJiIjoyMzQ1fQ=x9/succeed", "/callbacks/{}/succeed"),
        ("/send-durable-execution-callback-success", "/send-durable-execution-callback-success"),
    ],
)
def test_ids_in_a_path_are_replaced(path: str, route: str) -> None:
    assert results.route(path).removeprefix("/2025-12-01") == route


def test_answers_are_joined_to_the_test_that_ran_by_the_engines_clock(tmp_path: Path) -> None:
    found = answered(
        line("GET /health"),
        line(f"GET /e/{UUID}", 404),
        line("GET /e/2", 404),
        'DEBUG http://127.0.0.1:3001 "POST /functions/x/invocations HTTP/1.1" 200 12',  # it asked
        "Traceback (most recent call last):",
        line("POST /e/4", 500),
        tmp_path=tmp_path,
    )
    assert [text for _, text in found][::3] == ["GET /health 200", "POST /e/{} 500"]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0\n", b'1970-01-01T00:00:01Z {"path": "/x", "status": 200}\n']
)
def test_log_of_another_format_has_no_answers(tmp_path: Path, content: bytes) -> None:
    assert results.answers(tmp_path / "missing") == []
    (tmp_path / "log").write_bytes(content)
    assert results.answers(tmp_path / "log") == []
