"""How the suite is split: at first by file, then by what an idle slot takes over."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.cli import GateError
from gate.settings import load_committed
from gate.suite import selection, shards
from gate.suite.one_shard import Part
from gate.suite.progress import Progress
from gate.suite.shards import Scheduler

LONG = [f"tests/test_long.py::TestX::test_{number}" for number in range(12)]
SHORT = [f"tests/test_short.py::TestX::test_{number}" for number in range(4)]
Shard = Callable[[Part, Callable[[Part, dict[str, Any]], None]], dict[str, Any]]


class Suite:
    """What shards share, without an engine."""

    in_one_process = False

    def __init__(self, kind: str = "candidate") -> None:
        self.kind, self.watch, self.progress = kind, SimpleNamespace(broken=""), Progress("develop")
        self.numbers = iter(range(1, 99))

    def unused(self, stem: str) -> str:
        return f"{stem}-{next(self.numbers)}"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The candidate's suite; JUnit files are in a temporary folder."""
    monkeypatch.setattr(Part, "xml", property(lambda part: tmp_path / f"{part.name}.xml"))
    return Suite()


def run(monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler, suite: Any, shard: Shard) -> list[Part]:
    """Run what waits, each shard by the function given, and return the shards in the order of their ends."""
    monkeypatch.setattr(shards, "run_shard", shard)
    with scheduler:
        return [part for ended in scheduler.run(suite) for part, future in ended if future.result() == {}]


def started(scheduler: Scheduler) -> list[tuple[str, list[str]]]:
    return [(part.file, part.tests) for part in scheduler.waiting]


def test_each_file_begins_as_one_shard_with_each_of_its_tests_once(suite: Any) -> None:
    with Scheduler(4, 4) as scheduler:
        scheduler.add(suite, [*LONG, *SHORT, LONG[3], "tests/test_whole.py"])
        assert started(scheduler) == [
            ("tests/test_long.py", LONG),
            ("tests/test_short.py", SHORT),
            ("tests/test_whole.py", ["tests/test_whole.py"]),
        ]
        assert len({part.name for part in scheduler.waiting}) == 3


def test_tests_that_come_later_join_the_shard_of_their_file_that_still_waits(suite: Any) -> None:
    with Scheduler(4, 4) as scheduler:
        scheduler.add(suite, LONG[:2])
        scheduler.add(suite, LONG[2:4])
        assert started(scheduler) == [("tests/test_long.py", LONG[:4])]


def test_one_process_runs_all_files(suite: Any) -> None:
    suite.in_one_process = True
    with Scheduler(1, 1) as scheduler:
        scheduler.add(suite, [*LONG, *SHORT])
        assert started(scheduler) == [("all", [*LONG, *SHORT])]


def plugin(part: Part, note: Callable[[Part, dict[str, Any]], None]) -> dict[str, Any]:
    """Do what the plugin in a shard's pytest does, with tests of a tenth of a second that report to take ten."""
    left = list(part.tests)
    note(part, {"collected": list(left)})
    while left:
        time.sleep(0.1)
        if part.request.exists() and part.request.read_text():
            kept = max(2, left.index(part.request.read_text()))
            part.request.unlink()
            note(part, {"handed_over": left[kept:]})
            del left[kept:]
        note(part, {"finished": left[0], "outcome": "passed", "seconds": 10.0, "began": 0.0, "ended": 10.0})
        del left[0]
    return {}


def test_idle_slot_takes_over_about_half_of_what_is_left_and_every_test_runs_once(
    suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(suite.progress, "show", lambda record, left: ran.extend(record.get("finished", "").split()))
    scheduler = Scheduler(2, 2)
    scheduler.add(suite, LONG)
    parts = run(monkeypatch, scheduler, suite, plugin)
    assert sorted(ran) == sorted(LONG)
    assert len(parts) == 2
    assert 3 <= len(min((part.tests for part in parts), key=len)) <= 6
    assert {part.name.rpartition("-")[0] for part in parts} == {"long"}


def test_one_slot_takes_over_nothing(suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(1, 1)
    scheduler.add(suite, LONG)
    assert len(run(monkeypatch, scheduler, suite, plugin)) == 1


def test_little_is_left_where_it_is(suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of its own costs a set-up."""
    scheduler = Scheduler(2, 2)
    scheduler.add(suite, SHORT[:3])
    assert len(run(monkeypatch, scheduler, suite, plugin)) == 1


def test_candidate_never_runs_in_more_than_its_jobs_and_goes_first(suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline: Any = Suite("baseline")
    running: list[str] = []
    most: dict[str, int] = {}

    def shard(part: Part, _note: object) -> dict[str, Any]:
        running.append(part.suite.kind)
        most[part.suite.kind] = max(most.get(part.suite.kind, 0), running.count(part.suite.kind))
        time.sleep(0.3)
        running.remove(part.suite.kind)
        return {}

    scheduler = Scheduler(2, 3)
    for of in (suite, baseline):
        scheduler.add(of, [f"tests/test_{number}.py" for number in range(4)])
    parts = run(monkeypatch, scheduler, suite, shard)
    assert most["candidate"] == 2
    assert [part.suite.kind for part in parts[:4]].count("candidate") >= 2


def test_shard_that_has_not_begun_when_the_run_ends_does_not_begin(suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout of aws-sam-cli takes seconds, and there may be one for each slot."""
    begun: list[str] = []
    waits = threading.Event()

    def shard(part: Part, _note: object) -> dict[str, Any]:
        begun.append(part.name)
        suite.watch.broken = "it was closed"
        waits.wait(0.5)
        return {}

    scheduler = Scheduler(1, 1)
    scheduler.add(suite, [f"tests/test_{number}.py" for number in range(4)])
    with pytest.raises(GateError, match=r"Lost the Docker event stream \(it was closed\)"):
        run(monkeypatch, scheduler, suite, shard)
    assert begun == ["0-1"]


def test_names_are_safe_for_files_and_containers() -> None:
    name = shards._stem("tests/test_ä b$(x)_" + "y" * 300 + ".py")
    assert name.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert len(name) < 50


def test_jobs_are_twice_the_cores_unless_set() -> None:
    settings = load_committed()
    assert shards.jobs(settings) == 2 * (os.cpu_count() or 1)
    assert shards.jobs(dataclasses.replace(settings, compat_jobs=3)) == 3


@pytest.mark.parametrize(("jobs", "gigabytes", "slots"), [(4, 100, 6), (4, 6.5, 5), (4, 1, 4), (1, 100, 1)])
def test_comparison_gets_slots_of_its_own_where_there_is_memory(
    monkeypatch: pytest.MonkeyPatch, jobs: int, gigabytes: float, slots: int
) -> None:
    monkeypatch.setattr(selection, "memory_available", lambda: gigabytes * 1e9)
    assert shards.slots(jobs) == slots
