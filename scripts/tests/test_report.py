"""What a reader gets: printed, in summary.md and on the page of a GitHub job."""

import shlex
from pathlib import Path

import pytest

from gate import report, workspace
from gate.images import Image
from gate.model import Difference, Run, ShardResult, TestResult, Verdict

AMD = "linux/amd64"
CANDIDATE = Image("sha256:good", "", "repo/it:pr-1", AMD, "1.2.1", "abc", {"sdk": "3.0.0"})
PUBLISHED = Image("sha256:old", "", "repo/it:pr-old", AMD, "1.2.0", "", {"sdk": "1.7.0"})
SETTINGS = {"samcli_source": "https://example.com/sam.git", "samcli_refs": ["develop"]}


def result(name: str, outcome: str, message: str = "", attribution: str = "") -> TestResult:
    found = TestResult(f"tests/test_a.py::T::{name}", outcome, shard="a-1", began=1.0, ended=2.0)
    found.message, found.attribution = message, attribution
    return found


def run(*failures: str) -> Run:
    """Return a run with two passed tests and one failure of each attribution."""
    found = Run("develop", "c" * 40, "1.164.0", ["develop"], compared=False)
    found.tests = [result(f"test_good{number}", "passed") for number in range(2)]
    for number, whose in enumerate(failures):
        found.tests.append(result(f"test_bad{number}", "failed", f"{number} != 7", whose))
    found.shards = [ShardResult("a-1", 1.0, ["logs/suite-a-1.log"], {"sha256:good": 2}, True)]
    return found


def verdict(*runs: Run) -> Verdict:
    reasons = ["develop: it failed" for each in runs if each.failed]
    return Verdict(SETTINGS, CANDIDATE, list(runs), reasons)


def printed(found: Verdict, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    (folder / "linux-amd64").mkdir()
    report.show(found)
    return capsys.readouterr().out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def test_one_text_is_printed_saved_and_added_to_the_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    text = printed(verdict(run(), run()), folder, capsys).lstrip("\n")
    saved = (folder / "linux-amd64/summary.md").read_text()
    assert (saved.lstrip("\n"), page.read_text()) == (text, f"before\n{saved}")
    assert text.splitlines()[-1] == "green: develop: 2 passed; develop: 2 passed"
    assert "version 1.2.1, revision abc, durable packages: sdk 3.0.0" in text
    assert "Repeat" not in text


def test_red_says_what_differs_and_whose_fault_it_is_before_the_tests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run("regression", "regression")
    found.baseline = PUBLISHED
    found.differences = [Difference("GET /e/{}", [404, 500], [], ["t0", "t1"])]
    lines = printed(verdict(found), folder, capsys).strip().splitlines()
    assert lines[0] == "- GET /e/{}: candidate 404 or 500, published image not requested (2 tests)"
    assert lines[1].startswith("- 2 regressions (")
    first = next(report.lines(verdict(found, found)))
    assert first.startswith("- develop: GET /e/{}: candidate 404")
    assert "| tests/test_a.py | 2 | 2 | 0 |" in lines
    at = lines.index("- 2 failed: `0 != 7`")
    assert lines[at + 1] == "  - regression: `tests/test_a.py::T::test_bad0`"
    assert lines[at + 3] == "  - logs: logs/suite-a-1.log"
    assert any(line.startswith("- published: `repo/it:pr-old` sha256:old") for line in lines)
    assert "- `develop: it failed`" in lines
    assert lines[-1] == "red: develop: 2 failed (2 regressions), 2 passed"


def test_what_is_not_a_pass_or_not_compared_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run("unknown")
    found.not_compared, found.notes = "no baseline: `x`\nwas not pulled", ["the clock moved"]
    found.tests[0].flaky = True
    found.tests.append(result("test_skip", "skipped", "not today"))
    text = printed(verdict(found), folder, capsys)
    for line in (
        "- failures that could not be compared: `no baseline: 'x' was not pulled`",
        "- flaky: `tests/test_a.py::T::test_good0` passed on a retry only",
        "- skipped: `tests/test_a.py::T::test_skip`: `not today`",
        "- the clock moved",
    ):
        assert f"\n{line}\n" in text
    assert text.endswith("\nred: develop: 1 failed (1 unknown), 2 passed, 1 skipped, 1 flaky\n")


def test_first_regression_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    found = run("pre-existing", "regression")
    found.failed[1].id = "tests/test_a.py::T::test_p[a/b::c-1]"
    command = shlex.split(report.repeat(verdict(found)))
    assert command[:3] + command[4:5] == ["make", "-C", str(workspace.ROOT), "compat"]
    assert dict(setting.split("=", 1) for setting in command[3:4] + command[5:]) == {
        "EMULATOR_IMAGE": "sha256:good",
        "SAMCLI_SOURCE": "https://example.com/sam.git",
        "SAMCLI_REFS": "develop",
        "SAMCLI_COMPARED_REFS": "",
        "SAMCLI_TESTS": "tests/test_a.py::T::test_p[a/b::c-1]",
        "COMPAT_MIN_PASSED": "1",
    }
    found.failed[1].id = "tests/test_a.py::T::test_p[a b]"
    assert "SAMCLI_TESTS=tests/test_a.py::T::test_p " in report.repeat(verdict(found))
    monkeypatch.setenv("CI", "true")  # a reader of a job's page has neither folder nor image
    assert report.repeat(verdict(found)).startswith("make compat SAMCLI_REFS=develop ")
