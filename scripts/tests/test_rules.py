"""What green means, and what verdict.json holds."""

import json
from pathlib import Path

import pytest

from gate import model, rules, workspace
from gate.cli import GateError
from gate.images import Image
from gate.model import Difference, Run, ShardResult, TestResult, Verdict

CANDIDATE = Image("sha256:good", "sha256:config", "repo/emulator:pr-1", "linux/amd64", "1.2.1")
A, B = "tests/test_a.py", "tests/test_b.py"
REQUIRED = {
    "samcli_source": "https://example.com/sam.git",
    "samcli_refs": ["develop"],
    "samcli_compared_refs": ["v1.0.0"],
    "samcli_tests": [A, B],
    "compat_min_passed": 3,
    "compat_reruns": 1,
    "compat_baseline": "latest",
}


def result(file: str, name: str, outcome: str = "passed", attribution: str = "") -> TestResult:
    """Return a test of a file, run in the shard that is called like the file."""
    found = TestResult(f"{file}::{name}", outcome, shard=Path(file).stem, began=1.0, ended=2.0)
    found.attribution = attribution
    return found


def good(ref: str = "develop") -> Run:
    run = Run(ref, "c" * 40, "1.164.0", [ref], compared=ref != "develop")
    run.tests = [result(file, name) for file in (A, B) for name in ("test_1", "test_2")]
    for name in ("test_a", "test_b"):
        run.shards.append(ShardResult(name, 1.0, [], {"sha256:good": 2}, answered=True))
    return run


def reasons(run: Run) -> list[str]:
    """Return the reasons when the run of the other ref is good, without the ref."""
    other = good("develop" if run.ref == "v1.0.0" else "v1.0.0")
    found = rules.reasons_against(REQUIRED, CANDIDATE, [run, other])
    return [reason.removeprefix(f"{run.ref}: ") for reason in found]


def test_green() -> None:
    assert reasons(good()) == []


def test_rule_1_problem_of_a_shard() -> None:
    for run in (good("develop"), good("v1.0.0")):
        run.problems = ["shard a-1 ended with pytest's exit code 3"]
        assert reasons(run) == run.problems


def test_rule_2_failed_test() -> None:
    run = good()
    for whose in ("regression", "pre-existing"):
        run.tests.append(result(A, f"test_{whose}", "failed", whose))
    assert reasons(run) == ["2 of 6 tests failed: 1 pre-existing, 1 regression"]


def test_rule_2_entry_without_a_pass() -> None:
    run = good()
    run.tests[2:] = [result(A, "test_3"), result(B, "test_1", "skipped")]
    assert reasons(run) == [f"{B}: no test passed (1 skipped)"]
    del run.tests[-1]
    assert reasons(run) == [f"{B}: no test passed (no result)"]


def test_rule_2_entry_is_a_file_a_class_or_a_test() -> None:
    for entry in ("a.py", "a.py::T", "a.py::T::test_p", "a.py::T::test_p[1]"):
        assert rules.covers(entry, "a.py::T::test_p[1]"), entry
    for entry in ("a.py::T::test_", "a", "a.py::U"):
        assert not rules.covers(entry, "a.py::T::test_p[1]"), entry


def test_rule_3_too_few_passes() -> None:
    run = good()
    del run.tests[1]
    run.tests[1:] = [run.tests[1], result(A, "test_3", "skipped"), result("test_a.py", "test_x")]
    assert reasons(run) == ["Only 2 tests passed; COMPAT_MIN_PASSED requires 3"]


def test_rule_4_candidate_was_started_for_each_file_with_a_pass() -> None:
    run = good()
    run.shards[1].containers = {}
    reason = f"{B}: its tests passed, but no container of the candidate was started"
    assert reasons(run) == [reason]
    del run.shards[1]
    assert reasons(run) == [reason]


def test_rule_4_candidate_answered_and_another_shard_of_the_file_may_need_none() -> None:
    run = good()
    run.tests[3].shard = "test_b-2"
    run.shards.append(ShardResult("test_b-2"))
    assert reasons(run) == []
    run.shards[1].answered = False
    reason = "every container of the candidate ended before it answered a request"
    assert reasons(run) == [f"{B}: {reason}"]


def test_rule_4_another_image_of_the_repository() -> None:
    run = good()
    run.unexpected = ["x from repo/emulator:latest (sha256:bad)"]
    assert reasons(run) == [f"another image of repo/emulator ran: {run.unexpected[0]}"]


def test_ref_that_was_not_tested() -> None:
    found = rules.reasons_against(REQUIRED, CANDIDATE, [good("develop")])
    assert found == ["aws-sam-cli v1.0.0 was not tested"]


def test_of_a_compared_ref_what_got_worse_no_evidence_and_no_pass_are_red() -> None:
    run = good("v1.0.0")
    whose = ("pre-existing", "regression", "unknown", "")
    run.tests[1:] = [result(B, f"test_{each}", "failed", each) for each in whose]
    assert reasons(run) == ["1 of 5 tests failed: regression", "2 of 5 tests failed: unknown"]
    for test in run.failed:
        test.attribution = "pre-existing"
    assert reasons(run) == []

    run.shards = []
    assert len(reasons(run)) == 1, "no evidence"
    del run.tests[0]
    assert reasons(run) == ["no test passed (4 failed)"]


def test_commit_that_both_lists_name_must_pass() -> None:
    """Also where a verdict says that it was only compared: publishing may ask for more."""
    run = good("v1.0.0")
    run.requested_as = ["develop", "v1.0.0"]
    run.tests.append(result(A, "test_3", "failed", "pre-existing"))
    found = rules.reasons_against(REQUIRED, CANDIDATE, [run])
    assert found == ["v1.0.0: 1 of 5 tests failed: 1 pre-existing"]


@pytest.mark.parametrize(
    ("name", "had"),
    [
        ("samcli_source", "https://example.com/fork.git"),
        ("samcli_refs", ["mine"]),
        ("samcli_compared_refs", []),
        ("samcli_tests", [f"{A}::test_1", B]),
        ("compat_min_passed", 2),
        ("compat_reruns", 2),
        ("compat_baseline", "mine"),
    ],
)
def test_run_that_required_less_is_found_out(name: str, had: object) -> None:
    (found,) = rules.missing_requirements(REQUIRED | {name: had}, REQUIRED)
    assert found.startswith(f"{name.upper()} was ")


def test_run_that_required_more_is_good_enough() -> None:
    more = REQUIRED | {"samcli_refs": ["develop", "v1.0.0"], "samcli_compared_refs": []}
    more |= {"compat_min_passed": 4, "compat_reruns": 0, "samcli_tests": [A, B, "c.py"]}
    assert rules.missing_requirements(more, REQUIRED) == []


def test_verdict_is_saved_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    run, path = good(), tmp_path / "linux-amd64/verdict.json"
    run.tests.append(result(A, "é", "failed", "regression"))
    run.differences, run.baseline = [Difference("GET /{}", [404], [200], ["é"])], CANDIDATE
    Verdict(REQUIRED, CANDIDATE, [run], ["no"]).save()
    saved = path.read_text()
    assert model.load("linux/amd64").runs == [run]
    for other in ({"schema": 2}, {"gate": "0.1.0"}):
        path.write_text(json.dumps(json.loads(saved) | other))
        with pytest.raises(GateError, match=r": run `make compat` again$"):
            model.load("linux/amd64")
