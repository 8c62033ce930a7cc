import dataclasses
import json
from pathlib import Path

import pytest

import config
import report
import state
import verdict
from candidate import Candidate
from verdict import Case, Run

CANDIDATE = Candidate("sha256:good", "repo/emulator:pr-1", "linux/amd64", "1.2.1", "abc", {}, {})
FILES = ("tests/test_a.py", "tests/test_b.py")
CONFIG = dataclasses.replace(
    config.load(environ={}), samcli_refs=("develop", "latest"), samcli_tests=FILES, compat_min_passed=3
)
GATE = verdict.required(CONFIG)


def good(ref: str) -> Run:
    tests = [Case(file, name, "passed", 1.0) for file in FILES for name in ("test_1", "test_2")]
    return Run(ref, "c" * 40, "1.164.0", 10.0, tests, {"sha256:good": 2})


def reasons(run: Run, image_id_at_end: str | None = "sha256:good") -> list[str]:
    """The reasons when `run` is that of the first ref and the second ref's is good."""
    return verdict.judge(GATE, CANDIDATE, [run, good("latest")], image_id_at_end).reasons


def test_green() -> None:
    judged = verdict.judge(GATE, CANDIDATE, [good("develop"), good("latest")], "sha256:good")
    assert judged.green
    assert report.terminal(judged).splitlines()[-1] == "green: develop: 4 passed; latest: 4 passed"


def test_skips_and_flaky_tests_are_counted_and_named() -> None:
    run = good("develop")
    run.tests += [
        Case(FILES[0], "test_3", "skipped", 0.0, message="not today"),
        Case(FILES[0], "test_4", "passed", 1, True),
    ]
    judged = verdict.judge(GATE, CANDIDATE, [run, good("latest")], "sha256:good")
    assert judged.green
    assert run.count() == {"passed": 5, "failed": 0, "skipped": 1, "flaky": 1}
    assert "test_3: not today" in report.terminal(judged)
    assert "flaky: tests/test_a.py::test_4 passed on a retry only" in report.terminal(judged)


def test_failed_test_is_red_whatever_pytest_exited_with() -> None:
    run = good("develop")
    run.tests.append(Case(FILES[0], "test_3", "failed", 1.0, message="assert 404 == 200"))
    assert reasons(run) == ["develop: 1 of 5 tests failed"]


def test_problem_of_a_shard_is_red() -> None:
    run = good("develop")
    run.problems.append("shard a-1: pytest ended by signal 9")
    assert reasons(run) == ["develop: shard a-1: pytest ended by signal 9"]


@pytest.mark.parametrize("outcome", ["skipped", None])
def test_file_without_a_passed_test_is_red(outcome: str | None) -> None:
    run = good("develop")
    run.tests = [Case(FILES[0], f"test_{number}", "passed", 1.0) for number in range(4)]
    if outcome:
        run.tests.append(Case(FILES[1], "test_1", outcome, 0.0))
    (reason,) = reasons(run)
    assert reason == f"develop: tests/test_b.py: no test of it passed ({'1 skipped' if outcome else 'no results'})"


def test_too_few_passes_are_red() -> None:
    run = good("develop")
    run.tests = [run.tests[0], run.tests[2]]
    assert reasons(run) == ["develop: 2 tests passed, COMPAT_MIN_PASSED=3 asks for more"]


def test_no_container_of_the_candidate_is_red() -> None:
    run = good("develop")
    run.containers = {}
    assert reasons(run) == [
        "develop: no emulator container was started from the candidate: the suite tested something else"
    ]


def test_container_of_another_image_is_red() -> None:
    run = good("develop")
    run.strangers = ["x from repo/emulator:latest (sha256:bad)"]
    assert reasons(run) == ["develop: another image of repo/emulator ran: x from repo/emulator:latest (sha256:bad)"]


@pytest.mark.parametrize("now", ["sha256:bad", None])
def test_moved_tag_is_red(now: str | None) -> None:
    (reason,) = reasons(good("develop"), now)
    assert reason.startswith(f"repo/emulator:pr-1 names {now or 'nothing'} by now")
    assert reason.endswith("give each an EMULATOR_TAG")


def test_ref_that_was_not_run_is_red() -> None:
    assert verdict.judge(GATE, CANDIDATE, [good("develop")], "sha256:good").reasons == ["latest: was not run"]


def test_every_reason_is_told() -> None:
    run = Run("develop", "c" * 40, "1", problems=["shard a-1: pytest ended with exit code 3"])
    assert len(reasons(run, None)) == 6


def test_verdict_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "COMPAT", tmp_path)
    judged = verdict.judge(GATE, CANDIDATE, [good("develop")], "sha256:good")
    judged.save()
    value = json.loads((tmp_path / "linux-amd64/verdict.json").read_text())
    assert (value["green"], value["reasons"]) == (False, ["latest: was not run"])
    assert value["candidate"]["image_id"] == "sha256:good"
    (run,) = value["runs"]
    assert (run["ref"], run["version"], run["passed"], run["failed"]) == ("develop", "1.164.0", 4, 0)
    assert (
        run["tests"][0].items()
        >= {"file": FILES[0], "name": "test_1", "outcome": "passed", "attribution": None}.items()
    )
    assert run["containers"] == {"sha256:good": 2}
    assert [path.name for path in (tmp_path / "linux-amd64").iterdir()] == ["verdict.json"]
