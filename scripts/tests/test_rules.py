"""What green means, and what verdict.json holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from gate import model, rules, workspace
from gate.model import (
    Attribution,
    Difference,
    Outcome,
    Requirements,
    Run,
    ShardResult,
    TestResult,
    Verdict,
)
from gate.programs import GateError
from gate.settings import load_committed

from .support.runs import CANDIDATE, result_of, run_of, shard_of

A = "tests/test_a.py"
B = "tests/test_b.py"
REQUIRED = Requirements(
    samcli_source="https://example.com/sam.git",
    samcli_refs=["develop"],
    samcli_compared_refs=["v1.0.0"],
    samcli_tests=[A, B],
    samcli_known_failures=[f"{A}::test_old@2026-03-01"],
    compat_sdk="released",
    compat_min_passed=3,
    compat_reruns=1,
    compat_baseline="latest",
)


def result(file: str, name: str, outcome: Outcome = "passed") -> TestResult:
    """Return a test of a file, run in the shard that is called like the file."""
    return result_of(f"{file}::{name}", outcome, shard=Path(file).stem)


def good(ref: str = "develop") -> Run:
    """Return a run that no rule speaks against; v1.0.0 is only compared."""
    tests = [
        result(file, name) for file in (A, B) for name in ("test_1", "test_2")
    ]
    shards = [shard_of("test_a"), shard_of("test_b")]
    only_regressions_count = ref != "develop"
    return run_of(
        tests, shards, ref=ref, only_regressions_count=only_regressions_count
    )


def fail(run: Run, *attributions: Attribution | None) -> None:
    """Add a failed test for each attribution to a run."""
    for attribution in attributions:
        test = result(B, f"test_bad{len(run.tests)}", "failed")
        run.tests.append(test)
        if attribution:
            run.comparison.attributions[test.id] = attribution


def verdict_of(*runs: Run) -> Verdict:
    """Return a verdict whose candidate has its tag at the end."""
    return Verdict(REQUIRED, CANDIDATE, list(runs), CANDIDATE.image_id)


def reasons(run: Run, **required: Any) -> list[str]:
    """Return the reasons when the run of the other ref is good, without the ref."""
    other = good("develop" if run.ref == "v1.0.0" else "v1.0.0")
    against = rules.reasons_against(
        replace(REQUIRED, **required), verdict_of(run, other)
    )
    return [reason.removeprefix(f"{run.ref}: ") for reason in against]


def test_a_run_that_meets_every_rule_is_green() -> None:
    assert reasons(good()) == []


@pytest.mark.parametrize("ref", ["develop", "v1.0.0"])
def test_rule_1_a_problem_of_a_shard_is_red(ref: str) -> None:
    run = good(ref)
    run.problems = ["shard a-1 ended with pytest's exit code 3"]
    assert reasons(run) == run.problems


def test_rule_2_a_failed_test_is_red_whosever_fault_it_is() -> None:
    run = good()
    fail(run, "regression", "pre-existing")
    assert reasons(run) == ["2 of 6 tests failed: 1 pre-existing, 1 regression"]


@pytest.mark.parametrize(
    ("tests_of_b", "shown"),
    [([], "no result"), ([result(B, "test_1", "skipped")], "1 skipped")],
    ids=["no test", "skips only"],
)
def test_rule_2_an_entry_without_a_pass_is_red(
    tests_of_b: list[TestResult], shown: str
) -> None:
    run = good()
    run.tests[2:] = [result(A, "test_3"), *tests_of_b]
    assert reasons(run) == [f"{B}: no test passed ({shown})"]


@pytest.mark.parametrize(
    "entry", ["a.py", "a.py::T", "a.py::T::test_p", "a.py::T::test_p[1]"]
)
def test_rule_2_an_entry_is_a_file_a_class_or_a_test(entry: str) -> None:
    assert rules.covers(entry, "a.py::T::test_p[1]")


@pytest.mark.parametrize("entry", ["a.py::T::test_", "a", "a.py::U"])
def test_rule_2_an_entry_is_not_the_beginning_of_a_name(entry: str) -> None:
    assert not rules.covers(entry, "a.py::T::test_p[1]")


def test_rule_3_skips_and_tests_of_no_entry_are_not_counted_as_passes() -> None:
    run = good()
    skipped = result(A, "test_3", "skipped")
    of_no_entry = result("test_a.py", "test_x")
    run.tests = [result(A, "test_1"), result(B, "test_1"), skipped, of_no_entry]
    assert reasons(run) == ["only 2 tests passed; COMPAT_MIN_PASSED requires 3"]


def test_rule_3_no_pass_is_red_whatever_the_settings_say() -> None:
    run = good()
    run.tests = [result(A, "test_1", "skipped")]
    against = reasons(run, compat_min_passed=0)
    assert against[-1] == "only 0 tests passed; COMPAT_MIN_PASSED requires 1"
    assert reasons(good(), compat_min_passed=0) == []


@pytest.mark.parametrize("containers", [{}, {"sha256:other": 1}])
def test_rule_4_a_file_that_passed_without_the_candidate_is_red(
    containers: dict[str, int],
) -> None:
    run = good()
    run.shards[1].containers = containers
    reason = (
        f"{B}: its tests passed, but no container of the candidate was started"
    )
    assert reasons(run) == [reason]
    del run.shards[1]
    assert reasons(run) == [reason]


@pytest.mark.parametrize(
    "second",
    [
        shard_of("test_b-2", image_id="", answered=False),
        shard_of("test_b-2", answered=False),
    ],
    ids=["needs no emulator", "its emulator crashed"],
)
def test_rule_4_one_shard_of_a_file_with_an_answer_is_enough(
    second: ShardResult,
) -> None:
    run = good()
    run.tests[3].shard = second.name
    run.shards.append(second)
    assert reasons(run) == []


def test_rule_4_a_file_whose_emulators_never_answered_is_red() -> None:
    run = good()
    run.shards[1].answered = False
    reason = (
        "every container of the candidate ended before it answered a request"
    )
    assert reasons(run) == [f"{B}: {reason}"]


@pytest.mark.parametrize("ref", ["develop", "v1.0.0"])
def test_rule_4_another_image_that_can_have_answered_is_red(ref: str) -> None:
    run = good(ref)
    run.unexpected = ["x from repo/emulator:latest (sha256:bad)"]
    assert reasons(run) == [
        f"another image can have answered: {run.unexpected[0]}"
    ]


def test_rule_5_a_tag_that_names_another_image_at_the_end_is_red() -> None:
    verdict = verdict_of(good(), good("v1.0.0"))
    verdict.image_id_at_end = "sha256:bad"
    (reason,) = rules.reasons_against(REQUIRED, verdict)
    assert reason.startswith(
        "repo/emulator:pr-1 was moved from sha256:good to sha256:bad: "
    )


def test_a_ref_that_was_not_tested_is_red() -> None:
    against = rules.reasons_against(REQUIRED, verdict_of(good("develop")))
    assert against == ["aws-sam-cli v1.0.0 was not tested"]


def test_of_a_compared_ref_regressions_and_unknown_failures_are_red() -> None:
    run = good("v1.0.0")
    del run.tests[1:]
    fail(run, "pre-existing", "regression", "unknown", None)
    assert reasons(run) == [
        "1 of 5 tests failed: regression",
        "2 of 5 tests failed: unknown",
    ]


def test_of_a_compared_ref_pre_existing_failures_are_green() -> None:
    run = good("v1.0.0")
    del run.tests[1:]
    fail(run, "pre-existing")
    assert reasons(run) == []


def test_of_a_compared_ref_a_run_without_evidence_is_red() -> None:
    run = good("v1.0.0")
    del run.tests[1:]
    fail(run, "pre-existing")
    run.shards = []
    reason = "its tests passed, but no container of the candidate was started"
    assert reasons(run) == [f"{A}: {reason}"]


def test_of_a_compared_ref_a_run_without_a_pass_is_red() -> None:
    run = good("v1.0.0")
    run.tests.clear()
    fail(run, "pre-existing")
    assert reasons(run) == ["no test passed (1 failed)"]


def test_a_commit_that_both_lists_name_must_pass() -> None:
    """Also where a verdict says that it was only compared: publishing may ask for more."""
    run = good("v1.0.0")
    run.requested_as = ["develop", "v1.0.0"]
    fail(run, "pre-existing")
    against = rules.reasons_against(REQUIRED, verdict_of(run))
    assert against == ["v1.0.0: 1 of 5 tests failed: 1 pre-existing"]


# --- SAMCLI_KNOWN_FAILURES


class LateInTheDay(datetime):
    """The clock at 23:30 of 2026-03-01 by UTC, where the local time is the next day's."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        east = timezone(timedelta(hours=14))
        now = cls(2026, 3, 1, 23, 30, tzinfo=UTC)
        return now.astimezone(tz or east)


@pytest.fixture
def late_in_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be 2026-03-01, by UTC only."""
    monkeypatch.setattr(rules, "datetime", LateInTheDay)


@pytest.mark.usefixtures("late_in_the_day")
@pytest.mark.parametrize("day", ["2026-03-01", "2026-03-02"])
@pytest.mark.parametrize("ref", ["develop", "v1.0.0"])
def test_a_known_failure_does_not_count_until_its_day_is_over(
    ref: str, day: str
) -> None:
    run = good(ref)
    fail(run, "regression")
    known = f"{run.tests[-1].id}@{day}"
    assert reasons(run, samcli_known_failures=[known]) == []


@pytest.mark.usefixtures("late_in_the_day")
@pytest.mark.parametrize(
    ("ref", "shown"), [("develop", "1 regression"), ("v1.0.0", "regression")]
)
def test_a_known_failure_is_red_after_its_day(ref: str, shown: str) -> None:
    run = good(ref)
    fail(run, "regression")
    known = f"{run.tests[-1].id}@2026-02-28"
    assert reasons(run, samcli_known_failures=[known]) == [
        f"1 of 5 tests failed: {shown}"
    ]


@pytest.mark.usefixtures("late_in_the_day")
def test_a_test_that_is_set_aside_is_no_pass_either() -> None:
    run = good()
    known = [f"{test.id}@2026-03-01" for test in run.tests[2:]]
    assert reasons(run, samcli_known_failures=known) == [
        "only 2 tests passed; COMPAT_MIN_PASSED requires 3"
    ]


@pytest.mark.usefixtures("late_in_the_day")
def test_all_tests_of_a_file_can_be_set_aside_and_not_all_but_the_skipped_ones() -> (
    None
):
    run = good()
    tests = [test for test in run.tests if test.file == B]
    known = [f"{test.id}@2026-03-01" for test in tests]
    for test in tests:
        test.outcome = "failed"
    least = {"compat_min_passed": 1}
    assert reasons(run, samcli_known_failures=known, **least) == []
    tests[0].outcome = "skipped"
    assert reasons(run, samcli_known_failures=known[1:], **least) == [
        f"{B}: no test passed (1 skipped)"
    ]


@pytest.mark.usefixtures("late_in_the_day")
def test_only_the_named_test_is_set_aside() -> None:
    run = good()
    fail(run, "regression", "regression")
    known = f"{run.tests[-1].id}@2026-03-01"
    assert reasons(run, samcli_known_failures=[known]) == [
        "1 of 5 tests failed: 1 regression"
    ]


# --- what a run required, beside what is required


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("samcli_source", "https://example.com/fork.git"),
        ("samcli_refs", ["mine"]),
        ("samcli_compared_refs", []),
        ("samcli_tests", [f"{A}::test_1", B]),
        (
            "samcli_known_failures",
            [*REQUIRED.samcli_known_failures, f"{A}::test_1@2099-01-01"],
        ),
        ("compat_sdk", "source"),
        ("compat_min_passed", 2),
        ("compat_reruns", 2),
        ("compat_baseline", "mine"),
    ],
)
def test_a_run_that_required_less_is_refused_by_the_settings_name(
    name: str, used: object
) -> None:
    of_run = replace(REQUIRED, **{name: used})  # type: ignore[arg-type]
    (reason,) = rules.missing_requirements(of_run, REQUIRED)
    assert reason.startswith(f"{name.upper()} was ")


@pytest.mark.parametrize(
    "used",
    [
        {"samcli_refs": ["develop", "v1.0.0"], "samcli_compared_refs": []},
        {"samcli_tests": [A, B, "c.py"]},
        {"samcli_known_failures": []},
        {"compat_min_passed": 4},
        {"compat_reruns": 0},
    ],
    ids=lambda used: next(iter(used)),
)
def test_a_run_that_required_more_is_good_enough(used: dict[str, Any]) -> None:
    of_run = replace(REQUIRED, **used)
    assert rules.missing_requirements(of_run, REQUIRED) == []


# --- verdict.json


@pytest.fixture
def verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """A red verdict that is saved below a folder of the test, with a value in each field."""
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    run = good()
    fail(run, "regression")
    run.tests[-1].message = "é"
    run.tests[0].answers = {"GET /{}": [404]}
    run.tests[0].flaky = True
    run.notes = ["the clock moved"]
    run.set_aside = {f"{A}::test_2": "2026-03-01"}
    run.versions = {"boto3": "1.2.3"}
    run.comparison.published = replace(CANDIDATE, image_id="sha256:old")
    run.comparison.differences = [Difference("GET /{}", [404], [200], ["é"])]
    run.comparison.error = "shard a-1 ended"
    verdict = verdict_of(run, good("v1.0.0"))
    verdict.reasons = ["no"]
    verdict.save()
    return verdict


def test_a_verdict_is_read_as_it_was_saved(verdict: Verdict) -> None:
    assert model.load("linux/amd64") == verdict


def test_other_programs_read_the_colour_and_the_counts(
    tmp_path: Path, verdict: Verdict
) -> None:
    saved = json.loads((tmp_path / "linux-amd64/verdict.json").read_text())
    assert saved["green"] is False
    assert saved["counts"]["develop"] == {
        "failed": 1,
        "passed": 3,
        "skipped": 0,
        "flaky": 1,
        "set aside": 1,
    }


def test_a_verdict_has_no_password_of_the_source() -> None:
    secret = replace(
        load_committed(), samcli_source="https://me:s3cret@example.com/sam.git"
    )
    assert (
        Requirements.of(secret).samcli_source == "https://example.com/sam.git"
    )


@pytest.mark.parametrize(
    "other", [{"schema": 3}, {"gate": "0.1.0"}], ids=["schema", "gate"]
)
def test_a_verdict_of_another_version_is_refused(
    tmp_path: Path, verdict: Verdict, other: dict[str, Any]
) -> None:
    path = tmp_path / "linux-amd64/verdict.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    with pytest.raises(GateError, match=r": run `make compat` there$"):
        model.load(verdict.candidate.platform)
