"""The results in a pytest process's JUnit file."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from gate.verdict.model import OUTCOMES, TestResult


def read(path: Path, test_ids: Sequence[str]) -> tuple[dict[str, TestResult], list[str]]:
    """Return the result of each test id, and what is wrong with the file, as phrases about the shard.

    A test can have several entries, one for each failed subtest and one for a failed teardown: it has failed if any
    of them has. The header's counts include subtests and are not used. The plugin puts the test's id and whether its
    call ran into the properties of one of the entries; without a call no test passes.
    """
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except FileNotFoundError:
        return {}, ["left no JUnit file"]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return {}, [f"left a JUnit file that is cut off or damaged ({error})"]
    ids: dict[tuple[str, str], str] = {}
    called: set[str] = set()
    for case in cases:
        properties = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
        if test_id := properties.get("nodeid"):
            ids[_address(case)] = test_id
            if "called" in properties:
                called.add(test_id)
    results: dict[str, TestResult] = {}
    wrong = []
    for case in cases:
        found = _result(ids.get(_address(case), ""), case)
        if found.id in test_ids:
            if found.outcome == "passed" and found.id not in called:
                found.outcome, found.message = "skipped", "pytest did not call it"
            results[found.id] = max(results.get(found.id, found), found, key=lambda each: OUTCOMES.index(each.outcome))
        elif found.outcome == "failed":
            name = ".".join(_address(case))
            wrong.append(f"reports a failure outside the tests it was given: {name}: {found.message}")
    missing = [test_id for test_id in test_ids if test_id not in results]
    if missing:
        wrong.append(f"left {len(missing)} of its {len(test_ids)} tests without a result, first {missing[0]}")
    return results, wrong


def _address(case: ElementTree.Element) -> tuple[str, str]:
    return case.get("classname", ""), case.get("name", "")


def _result(test_id: str, case: ElementTree.Element) -> TestResult:
    found = TestResult(test_id, "passed")
    for child in case:
        if child.tag in ("failure", "error"):
            found.outcome, found.message = "failed", child.get("message", "")
        elif child.tag == "skipped" and found.outcome == "passed":
            found.outcome, found.message = "skipped", child.get("message", "")
    return found
