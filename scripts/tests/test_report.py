"""What a reader gets: on the terminal, in summary.md, on the page of a GitHub job."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gate import workspace
from gate.containers.images import Image
from gate.settings import load, load_committed
from gate.verdict import report
from gate.verdict.model import Difference, Requirements, Run, Shard, TestResult, Verdict

CANDIDATE = Image("sha256:good", "sha256:good", "repo/emulator:pr-1", "linux/amd64", "1.2.1", "abc", {"sdk": "3.0.0"})
PUBLISHED = Image("sha256:old", "sha256:old", "repo/emulator:pr-old", "linux/amd64", "1.2.0", packages={"sdk": "1.7.0"})
GATE = Requirements("https://example.com/sam.git", ("develop",), (), ("tests/test_a.py",), 1, 1)
EVIL = "x`|\n::error::injected\n##[error]y\x1b[2J<b>\u202e"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No GitHub job, and a folder for what is found."""
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "CALLER_PWD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def results(failed: int) -> list[TestResult]:
    found = [TestResult(f"tests/test_a.py::T::test_good{number}", "passed", shard="a-1") for number in range(2)]
    found += [
        TestResult(
            f"tests/test_a.py::T::test_bad{number}", "failed", shard="a-1",
            message="1 != 0", logs=["logs/suite-a-1.log"], attribution="regression",
        )
        for number in range(failed)
    ]  # fmt: skip
    return found


def run(failed: int = 0, **values: object) -> Run:
    shards = [Shard("a-1", 1.0, {"sha256:good": 2}, 2)]
    return Run("develop", "c" * 40, "1.164.0", ["develop"], tests=results(failed), shards=shards, **values)  # type: ignore[arg-type]


def verdict(
    *runs: Run, reasons: tuple[str, ...] = (), candidate: Image = CANDIDATE, gate: Requirements = GATE
) -> Verdict:
    return Verdict(gate, candidate, list(runs), list(reasons))


def red(failed: int) -> Verdict:
    ids = [f"tests/test_a.py::T::test_bad{number}" for number in range(failed)]
    difference = Difference("GET", "/e/{}", [404], [200], ids, "/e/1%2F2")
    found = run(failed, baseline=PUBLISHED, differences=[difference], errors={"ValueError: no (a.py:1)": 3})
    return verdict(found, reasons=(f"develop: {failed} of {failed + 2} tests failed: {failed} regressions",))


def test_green_in_the_last_line() -> None:
    text = report.terminal(verdict(run(), run()))
    assert text.splitlines()[-1] == "green: develop: 2 passed; develop: 2 passed"
    assert "candidate   repo/emulator:pr-1" in text
    assert "packages    sdk 3.0.0" in text
    assert "repeat" not in text


def test_red_says_what_differs_and_whose_fault_it_is_before_the_tests() -> None:
    for text in (report.terminal(red(2)), report.markdown(red(2))):
        order = [
            "GET /e/{}: 404 with the candidate, 200 with the published image (2 tests, such as /e/1%2F2)",
            "the emulator logged 3 times: ValueError: no (a.py:1)",
            "2 regressions: a regression passes with the published image",
            "compared with repo/emulator:pr-old (sha256:old), version 1.2.0, sdk 1.7.0",
            "a dependency of the image differs from the published one: sdk 3.0.0, published 1.7.0",
            "1 != 0",
            "tests/test_a.py::T::test_bad0",
            "tests/test_a.py::T::test_bad1",
            "logs/suite-a-1.log",
        ]
        places = [text.index(line) for line in order]
        assert places == sorted(places)
        assert text.count("404 with the candidate, 200 with the published image (2 tests") == 1
    assert report.terminal(red(2)).splitlines()[-1] == "red: develop: 2 passed, 2 failed (2 regressions)"


def test_skips_flaky_tests_and_files_left_out_are_named() -> None:
    found = run(uncovered=["tests/integration/x/test_durable_new.py"])
    found.tests[0].flaky = True
    found.tests.append(TestResult("tests/test_a.py::T::test_skip", "skipped", message="not today"))
    for text in (report.terminal(verdict(found)), report.markdown(verdict(found))):
        assert "tests/test_a.py::T::test_good0 passed on a retry only" in text
        assert "tests/test_a.py::T::test_skip: not today" in text
        assert "tests/integration/x/test_durable_new.py" in text
        assert "2 passed, 1 skipped, 1 flaky" in text
    assert "  tests/test_a.py: 1 flaky, 1 passed, 1 skipped" in report.terminal(verdict(found)).splitlines()


def test_a_compared_ref_that_does_not_use_the_image_is_named() -> None:
    old = Run("v1.150.0", "d" * 40, "1.150.0", ["v1.150.0"], compared=True, uses_image=False)
    for text in (report.terminal(verdict(run(), old)), report.markdown(verdict(run(), old))):
        assert "aws-sam-cli 1.150.0 brings an emulator of its own" in text
        assert "green: develop: 2 passed; v1.150.0: no test" in text
        assert "; red only for a regression or an unknown failure" in text


def test_what_could_not_be_compared_is_said_without_secrets() -> None:
    text = report.terminal(verdict(run(1, unattributed="no baseline: https://me:secret@host/x"), reasons=("no",)))
    assert "not every failure could be compared: no baseline: https://host/x" in text


@pytest.mark.parametrize(("failed", "folded"), [(0, False), (5, False), (6, True)])
def test_more_than_five_failures_are_folded_away(failed: int, folded: bool) -> None:
    text = report.markdown(red(failed))
    assert ("<summary>failing tests by cause</summary>" in text) == folded
    assert text.count("<details>") == text.count("</details>")


def test_of_a_cause_three_messages_are_shown_and_none_is_endless() -> None:
    found = red(5)
    for number, test in enumerate(found.runs[0].failed):
        test.message = f"message {number} " + "x" * 5000
    for text in (report.terminal(found), report.markdown(found)):
        assert len(re.findall("message [0-9] x", text)) == 3
        assert max(map(len, text.splitlines())) < 600


def evil() -> Verdict:
    """Return a verdict in which everything that another wrote is hostile."""
    candidate = Image("sha256:1", "sha256:1", EVIL, EVIL, EVIL, EVIL, {EVIL: EVIL})
    skipped = TestResult(f"tests/{EVIL}.py::{EVIL}", "skipped", message=EVIL)
    failed = TestResult(f"{EVIL}::{EVIL}", "failed", message=EVIL, logs=[EVIL], attribution="regression")
    flaky = TestResult(EVIL, "passed", flaky=True)
    found = Run(
        EVIL, EVIL, EVIL, [EVIL], True, False,
        tests=[skipped, failed, flaky], shards=[Shard(EVIL, 1.0, {EVIL: 1})], uncovered=[EVIL], unattributed=EVIL,
        baseline=Image(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, {EVIL: "0"}),
        differences=[Difference(EVIL, EVIL, [404], [200], [EVIL], EVIL)], errors={EVIL: 1},
    )  # fmt: skip
    return verdict(found, reasons=(EVIL,), candidate=candidate)


def obeyed(line: str) -> bool:
    """Return whether the log of a CI job or a terminal does something else than print a line."""
    controls = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", line)
    return line.lstrip().startswith("::") or "##[" in line or controls is not None


def test_nothing_that_others_wrote_is_obeyed_by_a_terminal() -> None:
    text = report.terminal(evil())
    assert [line for line in text.split("\n") if obeyed(line)] == []
    assert text.count("injected") > 20


def test_nothing_that_others_wrote_is_rendered_by_markdown(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = report.markdown(evil())
    assert text.count("injected") > 20
    for line in text.split("\n"):
        outside = re.sub("`[^`]*`", "", line)
        assert not obeyed(line)
        assert "injected" not in outside, line
        assert "`" not in outside.replace("```", ""), line
    (row,) = (line for line in text.split("\n") if line.startswith("| `"))
    assert row.count("|") == 8


def test_nothing_that_others_wrote_is_a_workflow_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    report.save(evil())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(r"::error title=sam-cli compat [^:,]*::[^\x1b]*", line), line
        assert "##[" not in line


def test_summary_and_page_are_the_same_and_each_difference_is_an_error_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "page.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    report.save(red(6))
    assert (here / "page.md").read_text() == (here / "linux-amd64/summary.md").read_text() == report.markdown(red(6))
    assert capsys.readouterr().out.splitlines() == [
        "::error title=sam-cli compat develop::GET /e/{}: 404 with the candidate, 200 with the published image "
        "(6 tests, such as /e/1%252F2)",
        "::error title=sam-cli compat develop::the emulator logged 3 times: ValueError: no (a.py:1)",
    ]


def test_an_error_line_for_each_cause_where_no_answer_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    report.save(verdict(run(3), reasons=("no",)))
    assert capsys.readouterr().out == "::error title=sam-cli compat develop::1 != 0\n"


@pytest.mark.parametrize("page", ["", "missing/page.md"], ids=["a folder", "in no folder"])
def test_a_page_that_cannot_be_written_costs_no_verdict(
    here: Path, page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / page))
    report.save(verdict(run()))
    assert re.fullmatch(f"warning: {re.escape(str(here / page))} cannot be written: .+\n", capsys.readouterr().out)
    assert (here / "linux-amd64/summary.md").exists()


def test_the_test_to_repeat_is_not_one_that_fails_with_the_published_image_too() -> None:
    found = run(2)
    found.failed[0].attribution = "pre-existing"
    assert "::test_bad1 " in report.repeat(verdict(found, reasons=("no",)))


def test_repeating_reads_aws_sam_cli_from_where_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdict(run(1), reasons=("no",))
    assert "SAMCLI_SOURCE=https://example.com/sam.git" in shlex.split(report.repeat(found))
    committed = dataclasses.replace(GATE, samcli_source=load_committed().samcli_source)
    assert "SAMCLI_SOURCE" not in report.repeat(dataclasses.replace(found, gate=committed))


@pytest.mark.parametrize(
    ("test_id", "repeated"),
    [
        ("tests/test_a.py::T::test_x", "tests/test_a.py::T::test_x"),
        ("tests/test_a.py::T::test_x[a/b::c-1]", "tests/test_a.py::T::test_x[a/b::c-1]"),
        ("tests/test_a.py::T::test_x[a b]", "tests/test_a.py::T::test_x"),
        ("tests/test_a.py::T::test_x[$HOME]", "tests/test_a.py::T::test_x"),
        ("tests/test_a.py::T::test_x[a/../b]", "tests/test_a.py::T::test_x"),
        ("tests/test_a.py::T::test_x[é]", "tests/test_a.py::T::test_x"),
    ],
)
def test_the_first_failing_test_can_be_repeated(test_id: str, repeated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run()
    found.tests.append(TestResult(test_id, "failed"))
    monkeypatch.setenv("CALLER_PWD", str(workspace.ROOT.parent))
    gate = Requirements(GATE.samcli_source, GATE.refs, ("v1.0.0",), GATE.tests, 1, 1)
    command = shlex.split(report.repeat(verdict(found, reasons=("no",), gate=gate)))
    assert command[:4] == ["make", "-C", workspace.ROOT.name, "compat"]
    printing = 'all:\n\t@echo "$$SAMCLI_TESTS" "$$SAMCLI_COMPARED_REFS" "$$EMULATOR_IMAGE"\n'
    done = subprocess.run(
        ["make", "--no-print-directory", "-f-", *command[4:]], input=printing, capture_output=True, text=True
    )
    assert done.stdout == f"{repeated}  sha256:good\n"
    environ = dict(word.split("=", 1) for word in command[4:])
    assert load(environ | {"EMULATOR_IMAGE": ""}).samcli_tests == (repeated,)
