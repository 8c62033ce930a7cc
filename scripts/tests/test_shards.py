"""How the suite is split."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from gate import workspace
from gate.settings import load_committed
from gate.suite import shards
from gate.verdict.model import Run, TestResult

LONG = [f"tests/test_long.py::TestX::test_{number}" for number in range(12)]
SHORT = [f"tests/test_short.py::TestX::test_{number}" for number in range(4)]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of durations, not there yet."""
    monkeypatch.setattr(workspace, "DURATIONS", tmp_path / "durations.json")
    return tmp_path / "durations.json"


@pytest.mark.parametrize("jobs", [1, 2, 4, 8, 64])
@pytest.mark.parametrize("durations", [{}, {LONG[0]: 500.0}, dict.fromkeys(LONG + SHORT, 0.0)], ids=str)
def test_every_test_is_in_exactly_one_shard_of_its_file(kept: Path, jobs: int, durations: dict[str, float]) -> None:
    kept.write_text(json.dumps(durations))
    parts = shards.split([*LONG, *SHORT, LONG[3]], jobs)
    assert sorted(test_id for part in parts for test_id in part.test_ids) == sorted([*LONG, *SHORT])
    assert all(len({test_id.partition("::")[0] for test_id in part.test_ids}) == 1 for part in parts)
    assert len({part.name for part in parts}) == len(parts)
    assert [part.seconds for part in parts] == sorted((part.seconds for part in parts), reverse=True)


def test_a_long_file_is_split_and_a_short_one_is_not() -> None:
    assert [len(part.test_ids) for part in shards.split([*LONG, *SHORT], 4)] == [4, 4, 4, 4]


def test_known_durations_decide_the_split(kept: Path) -> None:
    kept.write_text(json.dumps(dict.fromkeys(LONG, 5.0) | dict.fromkeys(SHORT, 60.0)))
    parts = shards.split([*LONG, *SHORT], 4)
    assert [len(part.test_ids) for part in parts if part.name.startswith("short")] == [1, 1, 1, 1]
    assert [len(part.test_ids) for part in parts if part.name.startswith("long")] == [6, 6]


def test_one_job_splits_nothing() -> None:
    assert len(shards.split([*LONG, *SHORT], 1)) == 2


def test_no_test_is_no_shard() -> None:
    assert shards.split([], 4) == []


def test_names_are_safe_for_files_and_containers() -> None:
    (part,) = shards.split(["tests/test_ä b$(x)_" + "y" * 300 + ".py::T::t[\x1b]"], 4)
    assert part.name.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert len(part.name) < 50


def test_jobs_are_twice_the_cores_unless_set() -> None:
    settings = load_committed()
    assert shards.jobs(settings) == 2 * (os.cpu_count() or 1)
    assert shards.jobs(dataclasses.replace(settings, compat_jobs=3)) == 3


def test_expected_wall_time() -> None:
    parts = [shards.Part(str(seconds), ("x",), seconds) for seconds in (30.0, 20.0, 10.0)]
    assert shards.wall(parts, 2) == 30.0
    assert shards.wall(parts, 1) == 60.0


def test_durations_of_what_passed_are_kept() -> None:
    assert shards.durations() == {}
    tests = [TestResult("a.py::test_1", "passed", 3.0), TestResult("a.py::test_2", "failed", 9.0)]
    shards.keep_durations([Run("develop", "c", "1", tests=tests)])
    shards.keep_durations([Run("develop", "c", "1", tests=[TestResult("a.py::test_3", "passed", 4.0)])])
    assert shards.durations() == {"a.py::test_1": 3.0, "a.py::test_3": 4.0}


@pytest.mark.parametrize(
    "text", ["", "[1]", "5", '{"a": NaN}', '{"a": "nan"}', '{"a": null}', '{"a": [1]}', f'{{"a": {"9" * 400}}}', "{"]
)
def test_damaged_durations_are_made_again(kept: Path, text: str) -> None:
    kept.write_text(text)
    assert shards.durations() == {}
    assert len(shards.split(LONG, 4)) > 1
    shards.keep_durations([Run("develop", "c", "1", tests=[TestResult("a.py::test_1", "passed", 3.0)])])
    assert shards.durations() == {"a.py::test_1": 3.0}


@pytest.mark.parametrize(("took", "means"), [("-5", 0.0), ("1e999", 3600.0), ("1e5", 3600.0)])
def test_a_duration_that_cannot_be_is_bounded(kept: Path, took: str, means: float) -> None:
    kept.write_text(f'{{"a": {took}}}')
    assert shards.durations() == {"a": means}
