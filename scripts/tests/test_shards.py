from pathlib import Path

import pytest

import shards
from verdict import Case, Run

LONG = [f"tests/test_long.py::TestX::test_{number}" for number in range(12)]
SHORT = [f"tests/test_short.py::TestX::test_{number}" for number in range(4)]


@pytest.mark.parametrize("jobs", [1, 2, 4, 8, 100])
@pytest.mark.parametrize("durations", [{}, {LONG[0]: 500.0}, dict.fromkeys(LONG + SHORT, 0.0)], ids=str)
def test_every_test_is_in_exactly_one_shard_of_its_file(jobs: int, durations: dict[str, float]) -> None:
    cut = shards.cut([*LONG, *SHORT], jobs, durations)
    assert sorted(test_id for shard in cut for test_id in shard.test_ids) == sorted([*LONG, *SHORT])
    assert all(len({test_id.partition("::")[0] for test_id in shard.test_ids}) == 1 for shard in cut)
    assert len({shard.name for shard in cut}) == len(cut)


def test_a_long_file_is_cut_and_a_short_one_is_not() -> None:
    cut = shards.cut([*LONG, *SHORT], 4, {})
    assert [shard.name for shard in cut] == ["long-1", "long-2", "long-3", "short-4"]
    assert [len(shard.test_ids) for shard in cut] == [4, 4, 4, 4]


def test_known_durations_guide_the_cut() -> None:
    durations = dict.fromkeys(LONG, 5.0) | dict.fromkeys(SHORT, 60.0)
    cut = shards.cut([*LONG, *SHORT], 4, durations)
    assert [(shard.name, len(shard.test_ids)) for shard in cut] == [
        ("short-1", 2),
        ("short-2", 2),
        ("long-3", 12),
    ]


def test_one_job_cuts_nothing() -> None:
    assert len(shards.cut([*LONG, *SHORT], 1, {})) == 2


def test_no_test() -> None:
    assert shards.cut([], 4, {}) == []


def test_durations_are_kept_of_what_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "DURATIONS", tmp_path / "durations.json")
    assert shards.known() == {}
    cases = [Case("a.py", "test_1", "passed", 3.0), Case("a.py", "test_2", "failed", 9.0)]
    shards.learn([Run("develop", "c", "1", tests=cases)])
    shards.learn([Run("develop", "c", "1", tests=[Case("a.py", "test_3", "passed", 4.0)])])
    assert shards.known() == {"a.py::test_1": 3.0, "a.py::test_3": 4.0}
    (tmp_path / "durations.json").write_text("[1]")
    assert shards.known() == {}
