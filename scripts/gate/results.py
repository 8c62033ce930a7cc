"""What a shard leaves: the plugin's records of its tests, and what its emulators answered."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.model import TestResult
from gate.programs import one_line

# Characters of a failure's message that are kept.
MAX_MESSAGE_LENGTH = 400
Record = dict[str, Any]
# Common Log Format (FACTS.md#common-log-format). The emulator's own HTTP client, urllib3, logs the
# same form with a URL in front: that is what it asked, not what it answered.
ANSWERED = re.compile(
    r'(?<!\S)(?P<client>https?://\S+ )?"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" '
    r"(?P<status>[0-9]{3}) (-|[0-9]+)(?!\S)"
)
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# A UUID, a number, an ARN or ids joined by an escaped slash, a token.
ID_IN_PATH = re.compile(
    rf"{UUID}|[0-9]+|.*%(2F|3A).*|(?=\S*[0-9])[\w=.%~-]{{24,}}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """One request that an emulator answered: when, by the engine's clock, and with what status."""

    at: float
    route: str
    status: int


def records(path: Path) -> list[Record]:
    """Return what the plugin wrote; a last line that was cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        # It has not begun, or its folder was removed meanwhile.
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def versions(records: Sequence[Record]) -> dict[str, str]:
    """Return the versions of aws-sam-cli's own dependencies, and of the functions' packages."""
    found: dict[str, str] = {}
    for record in records:
        found |= record.get("versions", {})
    for name, (version, _) in functions_packages(records).items():
        found[f"functions' {name}"] = version
    return found


def functions_packages(records: Sequence[Record]) -> dict[str, tuple[str, str]]:
    """Return version and hash of RECORD of the durable packages in the functions, by name."""
    found: dict[str, tuple[str, str]] = {}
    for record in records:
        found |= record.get("functions_packages", {})
    return found


def unfinished(records: Sequence[Record]) -> list[str]:
    """Return the ids of the tests that pytest began and did not end."""
    ended = {record["finished"] for record in records if "finished" in record}
    began = [record["started"] for record in records if "started" in record]
    return [test_id for test_id in began if test_id not in ended]


def tests(records: Sequence[Record], shard: str) -> dict[str, TestResult]:
    """Return the result of each test that finished or failed, by id.

    A test has a report for set-up, call, each subtest and tear-down. One failed report fails it;
    only a passed call passes it (FACTS.md#subtests).
    """
    by_id: dict[str, TestResult] = {}
    for record in records:
        if test_id := record.get("started"):
            new = TestResult(
                test_id, "skipped", shard, record["at"], record["at"]
            )
            new.message = "pytest did not call it"
            # It may begin again, by pytest-rerunfailures.
            by_id.setdefault(test_id, new)
        elif "outcome" in record:
            _add_report(by_id[record["test"]], record)
    for test_id in unfinished(records):
        if by_id[test_id].outcome != "failed":
            del by_id[test_id]
    return by_id


def _add_report(result: TestResult, report: Record) -> None:
    called = report["when"] == "call"
    if called:
        # Later its class's tear-down removes what it worked on, which fails other requests.
        result.ended = report["at"]
    outcome = report["outcome"]
    # Each other one, such as that of a retry of aws-sam-cli's own ("rerun"), is a failure.
    has_failed = outcome not in ("passed", "skipped")
    has_passed = outcome == "passed" and called
    was_skipped = outcome == "skipped" and result.outcome != "passed"
    if result.outcome == "failed" or not (
        has_failed or has_passed or was_skipped
    ):
        return
    result.outcome = "failed" if has_failed else outcome
    result.message = one_line(report["message"])[:MAX_MESSAGE_LENGTH]


def answers(log: Path) -> list[Answer]:
    """Return the requests in a container's log, whose lines begin with the engine's time."""
    if not log.exists():
        return []
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        stamp, _, printed = line.partition(" ")
        match = ANSWERED.search(printed)
        if match and not match["client"]:
            at = datetime.fromisoformat(stamp).timestamp()
            route = f"{match['method']} {route_of(match['path'])}"
            found.append(Answer(at, route, int(match["status"])))
    return found


def route_of(path: str) -> str:
    """Return a path with {} for each id, and without its query: equal for all executions."""
    parts = path.partition("?")[0].split("/")
    return "/".join(
        "{}" if ID_IN_PATH.fullmatch(part) else part for part in parts
    )
