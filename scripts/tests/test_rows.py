"""A plan's rows: their verdicts are joined into the one that a single run would have left."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from gate import rows, settings, workspace
from gate.model import Requirements, Run, Verdict
from gate.programs import GateError
from gate.rows import Row

from .support.gate import Gate
from .support.git import commit_all, git
from .support.runs import result_of, run_of, shard_of
from .support.verdict import AMD64, ARM64, candidate_for, work_in

TIMES = ("seconds", "began", "ended")


# --- by hand


def row_of(name: str, commit: str, words: str, *, compared: bool) -> Row:
    """Return a row of the plan with the candidate."""
    ref = f"{name}@{commit}"
    return Row(
        platform="linux-amd64",
        name=name,
        image="candidate",
        sdk="released",
        refs="" if compared else ref,
        compared_refs=ref if compared else "",
        requested_as=words,
    )


ROWS = [
    row_of("develop", "d" * 40, "develop", compared=False),
    row_of("v1.164.0", "a" * 40, "latest latest:2", compared=False),
    row_of("v1.163.0", "b" * 40, "latest:2", compared=True),
]


@pytest.fixture
def wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> settings.Settings:
    """The settings of a release, in a clone of the test."""
    shutil.copy(workspace.ROOT / ".env.example", tmp_path)
    work_in(monkeypatch, tmp_path)
    return replace(
        settings.load_committed(),
        samcli_refs=["develop", "latest"],
        samcli_compared_refs=["latest:2"],
    )


def good_run(row: Row, wanted: settings.Settings) -> Run:
    """Return a run of a row's aws-sam-cli in which 50 tests passed."""
    tests = [
        result_of(f"{file}::test_{number}")
        for file in wanted.samcli_tests
        for number in range(10)
    ]
    shards = [shard_of(image_id=candidate_for(AMD64).image_id)]
    run = run_of(
        tests,
        shards,
        ref=row.name,
        only_regressions_count=bool(row.compared_refs),
    )
    run.commit = row.commit
    return run


def verdict_of(
    runs: list[Run], refs: list[str], compared: list[str]
) -> Verdict:
    """Return a green verdict of some runs."""
    required = replace(
        Requirements.of(settings.load_committed()),
        samcli_refs=refs,
        samcli_compared_refs=compared,
    )
    candidate = candidate_for(AMD64)
    return Verdict(required, candidate, runs, candidate.image_id)


def leave(
    row: Row,
    wanted: settings.Settings,
    change: Callable[[Verdict], object] = lambda verdict: None,
) -> None:
    """Write the verdict of a row as its job leaves it, green or changed."""
    run = good_run(row, wanted)
    run.requested_as = [row.refs or row.compared_refs]
    refs = row.refs.split()
    verdict = verdict_of([run], refs, row.compared_refs.split())
    change(verdict)
    verdict.save()
    folder = f"rows/compat-{row.platform}-{row.name}/{row.platform}"
    target = workspace.COMPAT / folder
    target.mkdir(parents=True, exist_ok=True)
    saved = workspace.results_folder(AMD64) / workspace.VERDICT
    saved.rename(target / workspace.VERDICT)


def leave_all(
    wanted: settings.Settings,
    change: Callable[[Verdict], object] = lambda verdict: None,
) -> None:
    """Write every row's verdict, the last one changed."""
    for row in ROWS[:-1]:
        leave(row, wanted)
    leave(ROWS[-1], wanted, change)


def test_joined_rows_are_the_verdict_of_one_run(
    wanted: settings.Settings,
) -> None:
    leave_all(wanted)
    runs = [good_run(row, wanted) for row in ROWS]
    for run, row in zip(runs, ROWS, strict=True):
        run.requested_as = row.requested_as.split()
    assert rows.join(ROWS, wanted) == verdict_of(
        runs, ["develop", "latest"], ["latest:2"]
    )


def test_the_joined_verdict_is_saved_for_its_attestation(
    wanted: settings.Settings,
) -> None:
    leave_all(wanted)
    joined = rows.join(ROWS, wanted)
    saved = workspace.results_folder(AMD64) / workspace.VERDICT
    assert json.loads(saved.read_text())["green"]
    assert joined.green


def test_a_row_without_a_verdict_is_a_reason_by_its_name(
    wanted: settings.Settings,
) -> None:
    for row in ROWS[1:]:
        leave(row, wanted)
    reasons = rows.join(ROWS, wanted).reasons
    assert reasons[0].startswith("develop: no verdict: ")
    assert reasons[1:] == ["aws-sam-cli develop was not tested"]


def another_commit(verdict: Verdict) -> None:
    verdict.runs[0].commit = "e" * 40


def another_candidate(verdict: Verdict) -> None:
    verdict.candidate = replace(verdict.candidate, config_digest="sha256:other")


def another_image(verdict: Verdict) -> None:
    verdict.candidate = replace(verdict.candidate, image_id="sha256:other")


def weaker_settings(verdict: Verdict) -> None:
    verdict.requirements = replace(verdict.requirements, compat_reruns=5)


def moved_tag(verdict: Verdict) -> None:
    verdict.image_id_at_end = "sha256:other"


def red(verdict: Verdict) -> None:
    verdict.reasons = ["v1.163.0: a reason that only its job knew"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_commit, f"v1.163.0: it tested {'e' * 40}, not {'b' * 40} of"),
        (another_candidate, "v1.163.0: it tested another candidate (sha256:o"),
        (another_image, "v1.163.0: it tested another candidate (sha256:a"),
        (weaker_settings, "v1.163.0: it ran with another COMPAT_RERUNS than"),
        (moved_tag, "v1.163.0: the candidate's tag was moved"),
        (red, "v1.163.0: a reason that only its job knew"),
    ],
)
def test_a_row_that_does_not_belong_to_the_others_is_a_reason_by_its_name(
    wanted: settings.Settings,
    change: Callable[[Verdict], object],
    reason: str,
) -> None:
    leave_all(wanted, change)
    (found,) = rows.join(ROWS, wanted).reasons
    assert found.startswith(reason)


def test_a_regression_of_a_row_is_judged_again(
    wanted: settings.Settings,
) -> None:
    def regress(verdict: Verdict) -> None:
        test = verdict.runs[0].tests[0]
        test.outcome = "failed"
        verdict.runs[0].comparison.attributions[test.id] = "regression"
        # Its job said so too.
        verdict.reasons = [said]

    said = "v1.163.0: 1 of 50 tests failed: regression"
    leave_all(wanted, regress)
    assert rows.join(ROWS, wanted).reasons == [said]


def test_a_row_of_another_gate_is_no_verdict(
    wanted: settings.Settings,
) -> None:
    leave_all(wanted)
    (path,) = workspace.COMPAT.glob("rows/*v1.163.0/*/verdict.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gate": "0.1"}))
    (reason,) = [
        reason
        for reason in rows.join(ROWS, wanted).reasons
        if "no verdict" in reason
    ]
    assert reason.startswith("v1.163.0: no verdict: ")
    assert "is of gate 0.1" in reason


def test_rows_without_any_verdict_are_an_error(
    wanted: settings.Settings,
) -> None:
    with pytest.raises(
        GateError, match=r"^develop: no verdict: .*verdict\.json"
    ):
        rows.join(ROWS, wanted)


def test_the_only_row_may_be_unpacked_without_a_folder_of_its_name(
    wanted: settings.Settings,
) -> None:
    """As actions/download-artifact may do."""
    leave(ROWS[0], wanted)
    folder = workspace.COMPAT / "rows"
    of_row = folder / "compat-linux-amd64-develop"
    (of_row / "linux-amd64").rename(folder / "linux-amd64")
    of_row.rmdir()
    develop = replace(wanted, samcli_refs=["develop"], samcli_compared_refs=[])
    assert rows.join(ROWS[:1], develop).reasons == []


# --- a platform's verdict


def test_in_a_workflow_it_is_the_join_of_the_platforms_rows(
    wanted: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(ROWS[0], platform="linux-arm64")
    plan = [asdict(row) for row in (other, *ROWS)]
    monkeypatch.setenv("PLAN", json.dumps(plan))
    leave_all(wanted)
    joined = rows.load_verdict(AMD64, wanted)
    assert (joined.reasons, len(joined.runs)) == ([], 3)


def test_a_platform_without_a_row_is_an_error(
    wanted: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [asdict(row) for row in ROWS]
    monkeypatch.setenv("PLAN", json.dumps(plan))
    leave_all(wanted)
    with pytest.raises(GateError, match=r"^the plan has no row for it$"):
        rows.load_verdict(ARM64, wanted)


@pytest.mark.parametrize("plan", [None, ""])
def test_without_a_plan_it_is_that_of_this_clones_run(
    wanted: settings.Settings, monkeypatch: pytest.MonkeyPatch, plan: str | None
) -> None:
    """An output of a workflow that was not set is empty."""
    if plan is not None:
        monkeypatch.setenv("PLAN", plan)
    verdict = verdict_of([good_run(ROWS[0], wanted)], ["develop"], [])
    verdict.save()
    assert rows.load_verdict(AMD64, wanted) == verdict


# --- with a small emulator and a small consumer


@pytest.fixture
def two_versions(consumer: Path, tmp_path: Path) -> Path:
    """A consumer with a release and a later commit."""
    folder = tmp_path / "consumer"
    shutil.copytree(consumer, folder)
    git("tag", "v1.0.0", cwd=folder)
    commit_all(folder, "a later one")
    return folder


def without_times(value: Any) -> Any:
    """Return a value of JSON without what differs between two equal runs."""
    if isinstance(value, list):
        return [without_times(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_times(each)
        for name, each in value.items()
        if name not in TIMES
    }


@pytest.mark.engine
def test_two_jobs_leave_what_one_run_of_both_refs_leaves(
    gate: Gate,
    two_versions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refs = {"SAMCLI_REFS": "develop", "SAMCLI_COMPARED_REFS": "latest latest:2"}
    both = Gate(
        gate.root,
        gate.settings | refs | {"SAMCLI_SOURCE": str(two_versions)},
    )
    output = tmp_path / "output"
    planned = both.script("plan.py", GITHUB_OUTPUT=str(output), CI="")
    assert planned.returncode == 0, planned.stdout
    outputs = dict(
        line.split("=", 1) for line in output.read_text().splitlines()
    )
    first, second = (
        Row(**row)
        for row in json.loads(outputs["rows"])
        if row["platform"] == json.loads(outputs["images"])[0]["platform"]
    )
    single = both.judged("tests/test_steps.py").verdict
    results = both.results_folder
    for row in (first, second):
        both.judged(
            "tests/test_steps.py",
            SAMCLI_REFS=row.refs,
            SAMCLI_COMPARED_REFS=row.compared_refs,
        )
        folder = tmp_path / f"rows/compat-{results.name}-{row.name}"
        shutil.copytree(results, folder / results.name)
    shutil.copytree(tmp_path / "rows", both.root / ".compat/rows")
    work_in(monkeypatch, both.root)
    for name, value in both.settings.items():
        monkeypatch.setenv(name, value)
    joined = rows.join(
        [replace(row, platform=results.name) for row in (first, second)],
        settings.load(),
    )
    shutil.rmtree(both.root / ".compat/rows")
    found = json.loads(json.dumps(asdict(joined)))
    expected = {name: single[name] for name in found}
    assert without_times(found) == without_times(expected)
