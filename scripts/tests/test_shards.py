"""How the suite is split: at first by file, then by what an idle slot takes over."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.cli import GateError
from gate.settings import load_committed
from gate.suite import machine, one_shard, process, shards
from gate.suite.one_shard import Part
from gate.suite.progress import Progress
from gate.suite.shards import Scheduler

SETTINGS = load_committed()
LONG = [f"tests/test_long.py::TestX::test_{number}" for number in range(12)]
SHORT = [f"tests/test_short.py::TestX::test_{number}" for number in range(4)]
Shard = Callable[[Part, Callable[[Part, dict[str, Any]], None]], dict[str, Any]]


class Suite:
    """What shards share, without an engine."""

    hurry = True

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
    suite.hurry = False
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


def test_extra_slots_run_the_baseline_where_the_candidate_has_all_its_own(
    suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a shard of the candidate is the first that waits."""
    baseline: Any = Suite("baseline")
    together: set[str] = set()
    running: list[str] = []

    def shard(part: Part, _note: object) -> dict[str, Any]:
        running.append(part.suite.kind)
        time.sleep(0.3)
        together.add(" ".join(sorted(running)))
        running.remove(part.suite.kind)
        return {}

    scheduler = Scheduler(1, 2)
    scheduler.add(suite, ["tests/test_1.py", "tests/test_2.py"])
    scheduler.add(baseline, ["tests/test_3.py"])
    run(monkeypatch, scheduler, suite, shard)
    assert "baseline candidate" in together
    assert "candidate candidate" not in together


@pytest.mark.parametrize(
    ("asked", "reported", "wrong"),
    [
        (["a.py::test_1", "a.py::test_2"], ["a.py::test_1"], "a.py::test_2"),
        (["a.py"], [], "a.py"),
        (["a.py::T", "a.py::test_1"], ["a.py::T::t", "a.py::test_1[x]"], ""),
    ],
)
def test_shard_that_ends_well_without_a_test_it_was_given_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[str], reported: list[str], wrong: str
) -> None:
    """As when a configuration drops tests without saying so: they were handed over, and nothing else would run them."""
    xml = tmp_path / "it.xml"
    cases = "".join(
        f'<testcase classname="c" name="{name}"><properties><property name="nodeid" value="{name}"/>'
        f'<property name="called" value="yes"/></properties></testcase>'
        for name in reported
    )
    suite = SimpleNamespace(
        stop=threading.Event(), run=SimpleNamespace(problems=[], shards=[]), log=lambda kind, shard: tmp_path / "log"
    )

    def pytest_run(part: Part, on_record: object) -> process.Ending:
        xml.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
        return process.Ending(0, [{"collected": reported}])

    monkeypatch.setattr(Part, "xml", property(lambda part: xml))
    monkeypatch.setattr(one_shard, "_run_pytest", pytest_run)
    part = Part(suite, "a-1", "tests/test_a.py", asked)  # type: ignore[arg-type]
    results = one_shard.run_shard(part, lambda part, record: None)
    assert sorted(results) == sorted(reported)
    log = one_shard.log_shown(part)
    assert suite.run.problems == ([f"shard a-1 did not collect {wrong}; see {log}"] if wrong else [])


def test_what_had_failed_before_pytest_was_ended_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test that hangs: pytest-timeout ends the process, and no JUnit file is written."""
    suite = SimpleNamespace(
        stop=threading.Event(), run=SimpleNamespace(problems=[], shards=[]), log=lambda kind, shard: tmp_path / "log"
    )
    ids = ["a.py::test_1", "a.py::test_2", "a.py::test_3"]
    ended = {"seconds": 1.0, "began": 1.0, "ended": 2.0}
    records: list[dict[str, Any]] = [{"collected": ids}]
    for test_id, outcome in zip(ids[:2], ("passed", "failed"), strict=True):
        records += [{"started": test_id}, {"finished": test_id, "outcome": outcome, **ended}]
    records.append({"started": ids[2]})
    monkeypatch.setattr(Part, "xml", property(lambda part: tmp_path / "it.xml"))
    monkeypatch.setattr(one_shard, "_run_pytest", lambda part, on_record: process.Ending(1, records))
    part = Part(suite, "a-1", "tests/test_a.py", ids)  # type: ignore[arg-type]
    results = one_shard.run_shard(part, lambda part, record: None)
    assert {test_id: (result.outcome, result.shard) for test_id, result in results.items()} == {
        ids[1]: ("failed", "a-1")
    }
    how = "ended with pytest's exit code 1: tests failed, it was in a.py::test_3 and left no JUnit file"
    assert suite.run.problems == [f"shard a-1 {how}; see {one_shard.log_shown(part)}"]


def test_request_that_a_shard_did_not_answer_is_not_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suite = SimpleNamespace(
        stop=threading.Event(), run=SimpleNamespace(problems=[], shards=[]), log=lambda kind, shard: tmp_path / "log"
    )
    monkeypatch.setattr(Part, "xml", property(lambda part: tmp_path / "it.xml"))
    part = Part(suite, "a-1", "tests/test_a.py")  # type: ignore[arg-type]

    def asked(part: Part, on_record: object) -> process.Ending:
        part.request.write_text("a.py::test_2")
        return process.Ending(0)

    monkeypatch.setattr(one_shard, "_run_pytest", asked)
    one_shard.run_shard(part, lambda part, record: None)
    assert not part.request.exists()


def test_comparison_waits_until_each_shard_has_reported_its_tests(suite: Any) -> None:
    """Until then a few failures may be most of the tests."""
    with Scheduler(1, 1) as scheduler:
        scheduler.add(suite, ["tests/test_1.py"])
        assert not scheduler.all_collected(suite)
        part = scheduler.running[Future()] = scheduler.waiting.pop()
        assert not scheduler.all_collected(suite)
        part.note({"collected": ["tests/test_1.py::t"]})
        assert scheduler.all_collected(suite)


def test_machine_whose_memory_is_not_known_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS has no /proc/meminfo."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert machine.slots(machine.jobs(SETTINGS)) == 3 * (os.cpu_count() or 1)


def test_names_are_safe_for_files_and_containers() -> None:
    name = shards._stem("tests/test_ä b$(x)_" + "y" * 300 + ".py")
    assert name.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert len(name) < 50


def test_jobs_are_twice_the_cores_unless_set() -> None:
    settings = load_committed()
    assert machine.jobs(settings) == 2 * (os.cpu_count() or 1)
    assert machine.jobs(dataclasses.replace(settings, compat_jobs=3)) == 3


@pytest.mark.parametrize(("jobs", "gigabytes", "slots"), [(4, 100, 6), (4, 6.5, 5), (4, 1, 4), (1, 100, 1)])
def test_comparison_gets_slots_of_its_own_where_there_is_memory(
    monkeypatch: pytest.MonkeyPatch, jobs: int, gigabytes: float, slots: int
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: gigabytes * 1e9)
    assert machine.slots(jobs) == slots
