"""What a reader gets: printed, in summary.md and on the page of a GitHub job."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gate import report, workspace
from gate.model import (
    Attribution,
    Difference,
    Image,
    Outcome,
    Requirements,
    Run,
    TestResult,
    Verdict,
)
from gate.settings import load_committed

from .support.runs import result_of, run_of, shard_of

AMD64 = "linux/amd64"
CANDIDATE = Image(
    "sha256:good", "", "repo/it:pr-1", AMD64, "1.2.1", "abc", {"sdk": "3.0.0"}
)
PUBLISHED = Image(
    "sha256:old", "", "repo/it:pr-old", AMD64, "1.2.0", "", {"sdk": "1.7.0"}
)
REQUIRED = replace(
    Requirements.of(load_committed()),
    samcli_source="https://example.com/sam.git",
)


def result(name: str, outcome: Outcome, message: str = "") -> TestResult:
    return result_of(f"tests/test_a.py::T::{name}", outcome, message=message)


def run_with(*attributions: Attribution) -> Run:
    """Return a run with two passed tests and one failure of each attribution."""
    tests = [result("test_good0", "passed"), result("test_good1", "passed")]
    attribution_by_id = {}
    for number, attribution in enumerate(attributions):
        test = result(f"test_bad{number}", "failed", f"{number} != 7")
        tests.append(test)
        attribution_by_id[test.id] = attribution
    shards = [shard_of(logs=["logs/suite-a-1.log"])]
    return run_of(tests, shards, attributions=attribution_by_id)


def verdict_of(*runs: Run) -> Verdict:
    reasons = ["develop: it failed" for run in runs if run.failed]
    return Verdict(REQUIRED, CANDIDATE, list(runs), CANDIDATE.image_id, reasons)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the results, outside of a GitHub job."""
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "linux-amd64").mkdir()
    return tmp_path


def printed(verdict: Verdict, capsys: pytest.CaptureFixture[str]) -> str:
    report.show(verdict)
    return capsys.readouterr().out


def test_one_text_is_printed_saved_and_added_to_the_page(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = folder / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    text = printed(verdict_of(run_with()), capsys).lstrip("\n")
    saved = (folder / "linux-amd64/summary.md").read_text()
    assert saved.lstrip("\n") == text
    assert page.read_text() == f"before\n{saved}"


def test_a_page_that_cannot_be_written_does_not_hide_the_verdict(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = f"{folder}/of-another-container/page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", page)
    text = printed(verdict_of(run_with()), capsys)
    *_, last, fault = text.splitlines()
    assert last.startswith("green: ")
    assert fault.startswith("not on the job's page: ")
    assert page in fault


@pytest.mark.usefixtures("folder")
def test_green_ends_with_the_counts_of_each_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(verdict_of(run_with(), run_with()), capsys)
    assert (
        text.splitlines()[-1] == "green: develop: 2 passed; develop: 2 passed"
    )


@pytest.mark.usefixtures("folder")
def test_red_without_a_failure_ends_with_the_first_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict = verdict_of(run_with())
    verdict.reasons = ["develop: another image can have answered", "and more"]
    lines = printed(verdict, capsys).splitlines()
    assert lines[-1] == f"red: develop: 2 passed; {verdict.reasons[0]}"
    heading = lines.index("Why it is red:")
    assert lines[heading + 2 : heading + 4] == [
        f"- `{reason}`" for reason in verdict.reasons
    ]


@pytest.mark.usefixtures("folder")
def test_red_says_what_differs_and_whose_fault_it_is_before_the_tests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_with("regression", "regression")
    run.comparison.published = PUBLISHED
    run.comparison.differences = [
        Difference("GET /e/{}", [404, 500], [], ["t0", "t1"])
    ]
    lines = printed(verdict_of(run), capsys).strip().splitlines()
    assert (
        lines[0]
        == "- GET /e/{}: candidate 404 or 500, published image not requested (2 tests)"
    )
    assert lines[1].startswith("- 2 regressions (")
    assert "| tests/test_a.py | 2 | 2 | 0 |" in lines
    first_failure = lines.index("- 2 failed: `0 != 7`")
    assert (
        lines[first_failure + 1]
        == "  - regression: `tests/test_a.py::T::test_bad0`"
    )
    assert lines[first_failure + 3] == "  - logs: logs/suite-a-1.log"
    assert any(
        line.startswith("- published: `repo/it:pr-old` sha256:old")
        for line in lines
    )
    assert "- `develop: it failed`" in lines
    assert lines[-1] == "red: develop: 2 failed (2 regressions), 2 passed"


def test_of_several_runs_each_line_names_its_ref() -> None:
    run = run_with("regression")
    run.comparison.differences = [Difference("GET /e/{}", [404], [200], ["t0"])]
    first = next(report.lines(verdict_of(run, run)))
    assert first.startswith("- develop: GET /e/{}: candidate 404")


@pytest.mark.usefixtures("folder")
def test_what_is_not_a_pass_or_was_not_compared_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_with("unknown")
    run.comparison.error = "no baseline: `x`\nwas not pulled"
    run.notes = ["the clock moved"]
    run.tests[0].flaky = True
    run.tests.append(result("test_skip", "skipped", "not today"))
    text = printed(verdict_of(run), capsys)
    named = [
        "- failures that could not be compared: `no baseline: 'x' was not pulled`",
        "- flaky: `tests/test_a.py::T::test_good0` passed on a retry only",
        "- skipped: `tests/test_a.py::T::test_skip`: `not today`",
        "- `the clock moved`",
    ]
    assert [line for line in named if line not in text.splitlines()] == []
    assert text.endswith(
        "\nred: develop: 1 failed (1 unknown), 2 passed, 1 skipped, 1 flaky\n"
    )


def test_a_message_that_no_encoding_has_is_shown_as_far_as_it_can_be(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a file's name that is not UTF-8."""
    run = run_with("unknown")
    run.failed[0].message = "no file \udcff here"
    # As each script does.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    assert "no file ? here" in printed(verdict_of(run), capsys)
    (summary,) = folder.rglob("summary.md")
    assert "no file ? here" in summary.read_text()


def test_what_is_set_aside_is_named_with_its_day_and_counted_by_itself() -> (
    None
):
    run = run_with()
    known = [
        result("test_known", "failed"),
        result("test_mended", "passed"),
        result("test_gone", "skipped"),
    ]
    run.tests += known[:2]
    run.set_aside = {test.id: "2026-03-01" for test in known}
    verdict = verdict_of(run)
    lines = list(report.lines(verdict))
    until = "- set aside until 2026-03-01: `tests/test_a.py::T::"
    assert [line for line in lines if line.startswith(until)] == [
        f"{until}test_known`: failed",
        f"{until}test_mended`: passed",
        f"{until}test_gone`: not run",
    ]
    assert "| tests/test_a.py | 2 | 0 | 0 |" in lines
    assert not any("test_known" in line for line in lines if until not in line)
    last = report.summary_line(verdict)
    assert last == "green: develop: 2 passed, 2 set aside"


def test_versions_are_those_of_each_run_and_of_both_images() -> None:
    runs = [run_with(), run_with("regression")]
    runs[0].versions = {"boto3": "1.42.0", "engine": "28.5.1"}
    runs[1].ref = "v1.160.0"
    runs[1].versions = {"boto3": "1.40.0"}
    runs[1].comparison.published = PUBLISHED
    lines = list(report.lines(verdict_of(*runs)))
    assert "- versions with develop: `boto3 1.42.0, engine 28.5.1`" in lines
    assert "- versions with v1.160.0: `boto3 1.40.0`" in lines
    (candidate,) = [line for line in lines if line.startswith("- candidate: ")]
    (published,) = [line for line in lines if line.startswith("- published: ")]
    says = "version 1.2.1, revision abc, durable packages: `sdk 3.0.0`"
    assert says in candidate
    says = "version 1.2.0, revision unknown, durable packages: `sdk 1.7.0`"
    assert published.endswith(says)


@pytest.mark.parametrize(
    ("compat_sdk", "versions", "shown"),
    [
        ("released", {"functions' sdk": "3.0.0"}, "`3.0.0` from the index"),
        ("source", {"functions' sdk": "3.1.0"}, "`3.1.0` of this commit"),
        ("released", {"boto3": "1.42.0"}, "`unknown` from the index"),
    ],
    ids=["released", "of this commit", "not seen"],
)
def test_the_candidates_line_says_which_sdk_the_functions_had(
    compat_sdk: str, versions: dict[str, str], shown: str
) -> None:
    run = run_with()
    run.versions = versions
    verdict = verdict_of(run, run)
    verdict.requirements = replace(REQUIRED, compat_sdk=compat_sdk)
    (candidate,) = [
        line
        for line in report.lines(verdict)
        if line.startswith("- candidate: ")
    ]
    assert candidate.endswith(f", SDK in the functions: {shown}")


def test_text_from_elsewhere_is_code_of_one_line() -> None:
    """A container may be named by anybody, and a test's message is the emulator's answer."""
    evil = "x`<b>\n## green: 40 passed\n`"
    shown = "`x'<b> ## green: 40 passed '`"
    run = run_with("regression")
    run.notes = [evil]
    run.comparison.error = evil
    run.versions = {"boto3": evil}
    run.tests[2].message = evil
    verdict = verdict_of(run)
    verdict.reasons = [evil]
    verdict.candidate = replace(CANDIDATE, packages={"sdk": evil})
    lines = list(report.lines(verdict))
    assert [line for line in lines if "\n" in line] == []
    assert f"- failures that could not be compared: {shown}" in lines
    assert f"- 1 failed: {shown}" in lines
    # The note, and the reason.
    assert lines.count(f"- {shown}") == 2
    assert f"- versions with develop: `boto3 {shown[1:]}" in lines
    assert any(f"durable packages: `sdk {shown[1:]}" in line for line in lines)


# --- what GitHub shows on the pull request's page


@pytest.mark.usefixtures("folder")
def test_on_github_a_red_run_shows_three_errors_the_candidates_own_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run = run_with("pre-existing", "unknown", "regression")
    run.tests[3].message = "100%\n::error::x"
    run.comparison.differences = [Difference("GET /e/{}", [404], [200], ["t0"])]
    errors = [
        line
        for line in printed(verdict_of(run), capsys).splitlines()
        if line.startswith("::")
    ]
    title = "::error title=sam-cli compat::develop: "
    test = "tests/test_a.py::T::test_bad"
    assert errors == [
        f"{title}GET /e/{{}}: candidate 404, published image 200",
        f"{title}unknown: {test}1: 100%25 ::error::x",
        f"{title}regression: {test}2: 2 != 7",
    ]


@pytest.mark.usefixtures("folder")
def test_on_github_a_red_run_without_a_failure_shows_its_reasons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    verdict = verdict_of(run_with())
    verdict.reasons = ["the tag was moved"]
    error = "::error title=sam-cli compat::the tag was moved\n"
    assert printed(verdict, capsys).endswith(error)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("on_github", "red"), [("", True), ("true", False)], ids=["local", "green"]
)
def test_no_error_is_shown_elsewhere_or_for_a_green_run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_github: str,
    red: bool,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", on_github)
    verdict = verdict_of(run_with("pre-existing"))
    verdict.reasons = ["it is red"] if red else []
    assert "::error" not in printed(verdict, capsys)


# --- the commands that repeat what failed


def repeated(verdict: Verdict) -> list[list[str]]:
    """Return the words of each command of the report."""
    indented = [
        line for line in report.lines(verdict) if line.startswith("    make ")
    ]
    return [shlex.split(line) for line in indented]


@pytest.mark.parametrize(
    ("test", "repeated_test"),
    [("test_p[a/b::c-1]", "test_p[a/b::c-1]"), ("test_p[a b]", "test_p")],
    ids=["an id", "an id with a space: the whole test"],
)
def test_the_first_regression_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, test: str, repeated_test: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    run = run_with("pre-existing", "regression")
    run.failed[1].id = f"tests/test_a.py::T::{test}"
    make, in_folder, root, *words = repeated(verdict_of(run))[0]
    assert (make, in_folder, root) == ("make", "-C", str(workspace.ROOT))
    words.remove("compat")
    assert dict(word.split("=", 1) for word in words) == {
        "EMULATOR_IMAGE": "sha256:good",
        "SAMCLI_SOURCE": "https://example.com/sam.git",
        "SAMCLI_REFS": f"develop@{run.commit}",
        "SAMCLI_COMPARED_REFS": "",
        "SAMCLI_TESTS": f"tests/test_a.py::T::{repeated_test}",
        "COMPAT_MIN_PASSED": "1",
    }


def test_all_that_failed_can_be_repeated_for_each_aws_sam_cli() -> None:
    runs = [
        run_with("pre-existing", "regression", "regression"),
        run_with("unknown", "pre-existing"),
        run_with("pre-existing"),
    ]
    runs[0].failed[1].id = "tests/test_a.py::T::test_p[a b]"
    runs[0].failed[2].id = "tests/test_a.py::T::test_p[c d]"
    for run, ref in zip(runs, ("develop", "v1.2.0", "v1.1.0"), strict=True):
        run.ref = ref
    test = "tests/test_a.py::T::test_"
    of_commands = [
        dict(word.split("=", 1) for word in command if "=" in word)
        for command in repeated(verdict_of(*runs))
    ]
    # Cases whose ids have a space are repeated together, once.
    assert [
        (command["SAMCLI_REFS"].partition("@")[0], command["SAMCLI_TESTS"])
        for command in of_commands
    ] == [
        ("develop", f"{test}p"),
        ("develop", f"{test}bad0 {test}p"),
        ("v1.2.0", f"{test}bad0 {test}bad1"),
    ]


def test_where_one_test_failed_there_is_one_command() -> None:
    lines = list(report.lines(verdict_of(run_with("pre-existing"))))
    headings = [line for line in lines if line.startswith("Repeat ")]
    assert headings == ["Repeat the first failing test:"]


def test_a_green_run_has_no_command() -> None:
    lines = report.lines(verdict_of(run_with()))
    assert [line for line in lines if "Repeat" in line or "make" in line] == []


def test_a_run_with_the_sdk_of_its_commit_is_repeated_with_it() -> None:
    verdict = verdict_of(run_with("regression"))
    assert "COMPAT_SDK" not in str(repeated(verdict))
    verdict.requirements = replace(REQUIRED, compat_sdk="source")
    assert "COMPAT_SDK=source" in repeated(verdict)[0]


@pytest.mark.parametrize("ci", ["", "true"], ids=["here", "on a job's page"])
def test_a_run_of_the_published_image_is_repeated_with_it(
    monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    """By its name: an image by id would have to hold the SDK of the commit."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("EMULATOR_IMAGE", "published")
    (command,) = repeated(verdict_of(run_with("regression")))
    assert "EMULATOR_IMAGE=published" in command


def test_a_reader_of_a_jobs_page_repeats_it_with_an_image_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    (command,) = repeated(verdict_of(run_with("regression")))
    assert command[:2] == ["make", "compat"]
    assert not [word for word in command if word.startswith("EMULATOR_IMAGE=")]
