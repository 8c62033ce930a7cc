"""What a shard leaves: the plugin's records of its tests, and what its emulators answered."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.model import TestResult

MESSAGE = 400  # characters of a failure's message that are kept
Record = dict[str, Any]
# Common Log Format (fact 22). A client in the emulator (urllib3) logs alike, after a URL.
ANSWERED = re.compile(
    r'(?<!\S)(?P<client>https?://\S+ )?"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" '
    r"(?P<status>[0-9]{3}) (-|[0-9]+)(?!\S)"
)
# In a path: UUIDs, a number, an ARN or ids joined by an escaped slash, a token.
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ID = re.compile(rf"{UUID}|[0-9]+|.*%(2F|3A).*|(?=\S*[0-9])[\w=.%~-]{{24,}}", re.IGNORECASE)


def records(path: Path) -> list[Record]:
    """Return what the plugin wrote; a last line that was cut off is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def unfinished(found: Sequence[Record]) -> list[str]:
    ended = {record.get("finished") for record in found}
    return [each["started"] for each in found if "started" in each and each["started"] not in ended]


def tests(found: Sequence[Record], shard: str) -> dict[str, TestResult]:
    """Return the result of each test that finished or failed, by id."""
    results: dict[str, TestResult] = {}
    for record in found:
        if test_id := record.get("started"):
            new = TestResult(test_id, "skipped", shard, record["at"], record["at"])
            new.message = "pytest did not call it"
            results.setdefault(test_id, new)  # it may begin again (pytest-rerunfailures)
        elif "outcome" in record:
            _add(results[record["test"]], record)
    for test_id in unfinished(found):
        if results[test_id].outcome != "failed":
            del results[test_id]
    return results


def _add(result: TestResult, report: Record) -> None:
    # Of set-up, call, subtests and tear-down a failed one counts (fact 7), and only a call passes.
    outcome, called = report["outcome"], report["when"] == "call"
    if called:
        result.ended = report["at"]  # after that its class's tear-down removes what it worked on
    if result.outcome == "failed" or (outcome == "skipped" and result.outcome == "passed"):
        return
    if outcome != "passed" or called:
        result.outcome = outcome if outcome in ("passed", "skipped") else "failed"
        result.message = " ".join(report["message"].split())[:MESSAGE]


def answers(log: Path) -> list[tuple[float, str]]:
    """Return the requests in a container's log: time by the engine's clock, METHOD ROUTE STATUS."""
    found = []
    text = log.read_text(errors="replace") if log.exists() else ""
    for line in text.splitlines():
        stamp, _, printed = line.partition(" ")
        match = ANSWERED.search(printed)
        if match and not match["client"]:
            at = datetime.fromisoformat(stamp).timestamp()
            found.append((at, f"{match['method']} {route(match['path'])} {match['status']}"))
    return found


def route(path: str) -> str:
    parts = path.partition("?")[0].split("/")
    return "/".join("{}" if ID.fullmatch(part) else part for part in parts)
