"""What a shard's JUnit file says of its tests."""

from pathlib import Path

import pytest

from gate.suite import junit
from gate.verdict.model import TestResult

IDS = ["tests/test_a.py::TestX::test_one", "tests/test_a.py::TestX::test_two[a::b/c.py]"]


def case(number: int, inside: str = "", properties: str = "nodeid called") -> str:
    """Return an entry of one of IDS as pytest writes it, with the properties that the plugin adds."""
    values = {"nodeid": IDS[number], "called": "yes"}
    listed = "".join(f'<property name="{name}" value="{values[name]}"/>' for name in properties.split())
    name = IDS[number].partition("::TestX::")[2]
    return (
        f'<testcase classname="tests.test_a.TestX" name="{name}"><properties>{listed}</properties>{inside}</testcase>'
    )


ONE, TWO = case(0), case(1)
FAILURE = '<failure message="subtest 3">long</failure>'


def read(tmp_path: Path, *cases: str) -> tuple[dict[str, TestResult], list[str]]:
    xml = tmp_path / "x.xml"
    xml.write_text(f'<testsuites><testsuite tests="220">{"".join(cases)}</testsuite></testsuites>')
    return junit.read(xml, IDS)


def outcomes(results: dict[str, TestResult]) -> list[str]:
    return [results[test_id].outcome for test_id in IDS if test_id in results]


def test_passed(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, ONE, TWO)
    assert (outcomes(results), wrong) == (["passed", "passed"], [])


@pytest.mark.parametrize("tag", ["failure", "error"])
def test_failed(tmp_path: Path, tag: str) -> None:
    results, wrong = read(tmp_path, case(0, f'<{tag} message="no route">long</{tag}>'), TWO)
    assert (outcomes(results), wrong) == (["failed", "passed"], [])
    assert results[IDS[0]].message == "no route"


@pytest.mark.parametrize("properties", ["", "nodeid called"], ids=["first entry bare", "both entries"])
@pytest.mark.parametrize("failed_first", [True, False])
def test_both_passed_and_failed_is_failed(tmp_path: Path, failed_first: bool, properties: str) -> None:
    """As after a failed subtest, or a failed teardown."""
    entries = [case(0, FAILURE, properties), ONE]
    results, wrong = read(tmp_path, *(entries if failed_first else reversed(entries)), TWO)
    assert (outcomes(results), wrong) == (["failed", "passed"], [])
    assert results[IDS[0]].message == "subtest 3"


def test_entries_of_subtests_are_one_test(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, ONE, case(0, properties=""), case(0, properties=""), TWO)
    assert (outcomes(results), wrong) == (["passed", "passed"], [])


@pytest.mark.parametrize("kind", ["pytest.skip", "pytest.xfail"])
def test_skipped_is_not_passed(tmp_path: Path, kind: str) -> None:
    results, wrong = read(tmp_path, case(0, f'<skipped type="{kind}" message="not today"/>'), TWO)
    assert (outcomes(results), wrong) == (["skipped", "passed"], [])
    assert results[IDS[0]].message == "not today"


def test_a_pass_needs_the_call_phase(tmp_path: Path) -> None:
    results, _ = read(tmp_path, case(0, properties="nodeid"), TWO)
    assert outcomes(results) == ["skipped", "passed"]
    assert results[IDS[0]].message == "pytest did not call it"


def test_a_test_without_a_result_is_wrong(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, TWO)
    assert outcomes(results) == ["passed"]
    assert wrong == [f"left 1 of its 2 tests without a result, first {IDS[0]}"]


def test_a_failure_outside_the_tests_is_wrong(tmp_path: Path) -> None:
    outside = '<testcase classname="" name="tests.conftest"><error message="collection failure"/></testcase>'
    _, wrong = read(tmp_path, ONE, TWO, outside)
    assert wrong == ["reports a failure outside the tests it was given: .tests.conftest: collection failure"]


def test_a_missing_file(tmp_path: Path) -> None:
    assert junit.read(tmp_path / "none.xml", IDS) == ({}, ["left no JUnit file"])


@pytest.mark.parametrize(
    "content",
    [b"", b"<testsuites><testsuite>" + ONE.encode(), b"\xff\0", b'<?xml version="1.0" encoding="x-none"?><a/>'],
    ids=["empty", "cut off", "binary", "unknown encoding"],
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.xml").write_bytes(content)
    results, (wrong,) = junit.read(tmp_path / "x.xml", IDS)
    assert results == {}
    assert "cut off or damaged" in wrong
