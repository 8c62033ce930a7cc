from pathlib import Path

import pytest

import junit

IDS = ["tests/test_a.py::TestX::test_one", "tests/test_a.py::TestX::test_two[a::b/c.py]"]
ONE = '<testcase classname="tests.test_a.TestX" name="test_one" time="1.5"'
TWO = '<testcase classname="tests.test_a.TestX" name="test_two[a::b/c.py]" time="2"/>'


def read(tmp_path: Path, *cases: str) -> tuple[dict[str, junit.Result], list[str]]:
    xml = tmp_path / "x.xml"
    xml.write_text(f'<testsuites><testsuite tests="220">{"".join(cases)}</testsuite></testsuites>')
    return junit.read(xml, IDS)


def outcomes(results: dict[str, junit.Result]) -> list[str]:
    return [results[test_id].outcome for test_id in IDS if test_id in results]


def test_passed(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, f"{ONE}/>", TWO)
    assert (outcomes(results), wrong) == (["passed", "passed"], [])
    assert results[IDS[0]].seconds == 1.5


@pytest.mark.parametrize("tag", ["failure", "error"])
def test_failed(tmp_path: Path, tag: str) -> None:
    results, wrong = read(tmp_path, f'{ONE}><{tag} message="no&#10;  route">long</{tag}></testcase>', TWO)
    assert (outcomes(results), wrong) == (["failed", "passed"], [])
    assert results[IDS[0]].message == "no route"


@pytest.mark.parametrize("first", [True, False], ids=["failed first", "passed first"])
def test_both_passed_and_failed_is_failed(tmp_path: Path, first: bool) -> None:
    entries = [f'{ONE}><failure message="subtest 3"/></testcase>', f"{ONE}/>"]
    results, wrong = read(tmp_path, *(entries if first else reversed(entries)), TWO)
    assert (outcomes(results), wrong) == (["failed", "passed"], [])
    assert results[IDS[0]].message == "subtest 3"


def test_entries_of_subtests_are_one_test(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, f"{ONE}/>", f"{ONE}/>", f"{ONE}/>", TWO)
    assert (len(results), wrong) == (2, [])


@pytest.mark.parametrize("kind", ["pytest.skip", "pytest.xfail"])
def test_skipped_is_not_passed(tmp_path: Path, kind: str) -> None:
    results, wrong = read(tmp_path, f'{ONE}><skipped type="{kind}" message="not today"/></testcase>', TWO)
    assert (outcomes(results), wrong) == (["skipped", "passed"], [])
    assert results[IDS[0]].message == "not today"


def test_a_test_without_result_is_wrong(tmp_path: Path) -> None:
    results, wrong = read(tmp_path, TWO)
    assert outcomes(results) == ["passed"]
    assert wrong == [f"left 1 of its 2 tests without a result, first {IDS[0]}"]


def test_failure_outside_the_tests_is_wrong(tmp_path: Path) -> None:
    outside = '<testcase classname="" name="tests.conftest"><error message="collection failure"/></testcase>'
    _, wrong = read(tmp_path, f"{ONE}/>", TWO, outside)
    assert len(wrong) == 1
    assert "outside the tests it was given" in wrong[0]


def test_missing_file(tmp_path: Path) -> None:
    assert junit.read(tmp_path / "none.xml", IDS) == ({}, ["left no JUnit file"])


@pytest.mark.parametrize("content", ["", f"<testsuites><testsuite>{ONE}/>"], ids=["empty", "cut off"])
def test_truncated_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.xml").write_text(content)
    results, wrong = junit.read(tmp_path / "x.xml", IDS)
    assert results == {}
    assert "cut off or damaged" in wrong[0]


def test_addresses_are_pytests_own(pytester: pytest.Pytester) -> None:
    """Not by a copy of pytest's rule, but by what pytest writes."""
    pytester.mkpydir("pkg")
    (pytester.path / "pkg/test_it.py").write_text(
        "import pytest, unittest\n"
        "@pytest.mark.parametrize('p', ['a.py::b', '[x]', 'ä/', ''])\n"
        "def test_p(p): pass\n"
        "class TestC:\n"
        "    class TestD:\n"
        "        def test_d(self): pass\n"
        "class TestU(unittest.TestCase):\n"
        "    def test_u(self):\n"
        "        with self.subTest(n=1): self.fail('in a subtest')\n"
    )
    collected = pytester.runpytest_subprocess("--collect-only", "-q", "pkg").outlines
    test_ids = [line for line in collected if "::" in line]
    assert len(test_ids) == 6
    pytester.runpytest_subprocess("--junitxml=x.xml", *test_ids)
    results, wrong = junit.read(pytester.path / "x.xml", test_ids)
    assert wrong == []
    assert [results[test_id].outcome for test_id in test_ids] == ["passed"] * 5 + ["failed"]
