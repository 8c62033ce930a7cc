"""What has changed since the last green run on this machine: a hint of what broke this one."""

from dataclasses import replace
from pathlib import Path

import pytest

from gate import report, workspace
from gate.model import Requirements, Verdict
from gate.settings import load_committed

from .support.runs import CANDIDATE, run_of

REQUIRED = Requirements.of(load_committed())


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that nothing has run in."""
    monkeypatch.setattr(workspace, "CACHE", tmp_path)


def notes(
    *,
    green: bool = True,
    ref: str = "develop",
    platform: str = "linux/amd64",
    commit: str = "c" * 40,
    boto3: str = "1.42.0",
    sdk: str = "3.0.0",
) -> list[str]:
    """Note the changes of a run with these versions; return its notes."""
    run = run_of([], [], ref=ref)
    run.commit = commit
    run.versions = {"boto3": boto3}
    candidate = replace(CANDIDATE, platform=platform, packages={"sdk": sdk})
    verdict = Verdict(REQUIRED, candidate, [run], candidate.image_id)
    verdict.reasons = [] if green else ["it is red"]
    report.note_changes(verdict)
    report.keep_if_green(verdict)
    return run.notes


def since(*changes: str) -> list[str]:
    return [f"since the last green run here: {', '.join(changes)}"]


def test_what_changed_since_a_green_run_is_noted() -> None:
    notes()
    changed = notes(green=False, commit="d" * 40, boto3="1.43.0", sdk="3.1.0")
    assert changed == since(
        f"aws-sam-cli {'c' * 12} -> {'d' * 12}",
        "boto3 1.42.0 -> 1.43.0",
        "image's sdk 3.0.0 -> 3.1.0",
    )


def test_nothing_is_noted_where_nothing_changed() -> None:
    notes()
    assert notes(green=False) == []


def test_nothing_is_noted_without_an_earlier_green_run() -> None:
    notes(green=False)
    assert notes(boto3="1.43.0") == []


def test_a_green_run_is_compared_with_the_one_before_it() -> None:
    notes()
    assert notes(boto3="1.43.0") == since("boto3 1.42.0 -> 1.43.0")
    assert notes(boto3="1.44.0") == since("boto3 1.43.0 -> 1.44.0")


def test_a_red_run_does_not_take_the_place_of_the_green_one() -> None:
    notes()
    for _ in range(2):
        noted = notes(green=False, boto3="1.43.0")
        assert noted == since("boto3 1.42.0 -> 1.43.0")


@pytest.mark.parametrize(
    "other",
    [{"ref": "v1.160.0"}, {"platform": "linux/arm64"}],
    ids=["another ref", "another platform"],
)
def test_only_runs_of_one_aws_sam_cli_and_platform_are_compared(
    other: dict[str, str],
) -> None:
    notes()
    assert notes(green=False, boto3="1.43.0", **other) == []
