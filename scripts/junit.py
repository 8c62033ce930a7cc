"""What a pytest process says of its tests in its JUnit file."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WORST_LAST = ("passed", "skipped", "failed")


@dataclass(frozen=True)
class Result:
    """One test: `outcome` is passed, skipped or failed; `seconds` it took; `message` is why, in one line."""

    outcome: str
    seconds: float
    message: str


def address(test_id: str) -> tuple[str, str]:
    """Return the classname and name under which pytest's JUnit file has a test id (pytest's `mangle_test_address`)."""
    path, bracket, parameters = test_id.partition("[")
    first, *names = path.split("::")
    module = re.sub(r"\.py$", "", first).replace("/", ".")
    *classes, name = names or [""]
    return ".".join([module, *classes]), f"{name}{bracket}{parameters}"


def read(path: Path, test_ids: Iterable[str]) -> tuple[dict[str, Result], list[str]]:
    """Return the result of each test id, and what is wrong with the file, in words.

    A test can have several entries, one for each failed subtest and one for a failed teardown: it has failed if any
    of them has. The header's counts are not used, they include subtests. Wrong are a missing or truncated file, a
    test id without a result, and a failure that belongs to none of the test ids.
    """
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
    except FileNotFoundError:
        return {}, ["left no JUnit file"]
    except ElementTree.ParseError as error:
        return {}, [f"left a JUnit file that is cut off or damaged ({error})"]
    by_address = {address(test_id): test_id for test_id in test_ids}
    results: dict[str, Result] = {}
    wrong = []
    for case in cases:
        at, result = (case.get("classname", ""), case.get("name", "")), _result(case)
        if test_id := by_address.get(at):
            results[test_id] = _worse(results.get(test_id), result)
        elif result.outcome == "failed":
            wrong.append(f"reports a failure outside the tests it was given: {'.'.join(at)}: {result.message}")
    missing = [test_id for test_id in by_address.values() if test_id not in results]
    if missing:
        wrong.append(f"left {len(missing)} of its {len(by_address)} tests without a result, first {missing[0]}")
    return results, wrong


def _result(case: ElementTree.Element) -> Result:
    outcome, message = "passed", ""
    for child in case:
        if child.tag in ("failure", "error"):
            outcome, message = "failed", child.get("message", "")
        elif child.tag == "skipped" and outcome == "passed":
            outcome, message = "skipped", child.get("message", "")
    return Result(outcome, float(case.get("time") or 0), " ".join(message.split())[:300])


def _worse(one: Result | None, other: Result) -> Result:
    if one is None:
        return other
    worse = max(one, other, key=lambda result: WORST_LAST.index(result.outcome))
    return Result(worse.outcome, max(one.seconds, other.seconds), worse.message)
