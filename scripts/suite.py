"""The suite: shards of aws-sam-cli's tests, one pytest process each, and what their results say."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import junit
import process
from command import GateError, room
from config import ROOT, Config
from samcli import Checkout
from verdict import Case

COLLECTING = 300  # seconds; measured 5 on the real suite


@dataclass(frozen=True)
class Shard:
    """The tests that one pytest process runs, by id."""

    name: str
    test_ids: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """What all shards of a run share.

    `tag` is that of the image on trial, `engine` the variables that lead to the engine, `run` this run's part of
    container names, `findings` the folder for junit/ and logs/, `label` what files there are called after, `home` a
    folder for the shards' empty HOMEs. `tell` is given what a shard reports as it happens; once `stop` is set all end.
    """

    config: Config
    checkout: Checkout
    tag: str
    engine: Mapping[str, str]
    run: str
    findings: Path
    label: str
    home: Path
    tell: Callable[[Shard, dict[str, Any]], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def log(self, kind: str, shard: str) -> Path:
        """Return the file for what a shard's tests (`suite`) or its emulators (`emulator`) print."""
        return self.findings / "logs" / f"{kind}-{self.label}-{shard}.log"


@dataclass
class Outcome:
    """What became of a shard: its tests, and in `problems`, in words, why it does not count if it does not."""

    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(suite: Suite, worktree: Path, files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the ids of the tests in `files`, and what went wrong, in words."""
    shard = Shard("collect", tuple(files))
    pytest = _pytest(suite, shard.name, worktree, (*shard.test_ids, "--collect-only", "--quiet"))
    code = _run(suite, shard, pytest, time.monotonic() + COLLECTING)
    test_ids = [test_id for record in process.records(pytest.report) for test_id in record.get("collected", [])]
    return test_ids, [] if code in (0, 5) else [
        f"collecting the tests failed, {_ending(code)}; see {pytest.log.relative_to(ROOT)}"
    ]


def run_all(suite: Suite, shards: list[Shard], jobs: int, check: Callable[[], None]) -> Iterator[Outcome]:
    """Run the shards, `jobs` at once, each in a worktree that no other uses meanwhile; yield their outcomes.

    `check` is called meanwhile; when it raises, all shards are ended.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    git = threading.Lock()

    def one(shard: Shard) -> Outcome:
        slot = slots.get()
        try:
            with git:
                if suite.stop.is_set():
                    return Outcome()
                worktree = suite.checkout.worktree(slot)
            return run(suite, shard, worktree)
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [pool.submit(one, shard) for shard in shards]
            while not all(future.done() for future in futures):
                check()
                for future in futures:
                    if future.done():
                        future.result()  # an error of the gate ends all shards now
                time.sleep(0.2)
            for future in futures:
                yield future.result()
        finally:
            suite.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def run(suite: Suite, shard: Shard, worktree: Path) -> Outcome:
    """Run a shard's tests in its worktree and return what became of them.

    pytest-rerunfailures retries a failing test at once, in the same process. It does not see failed subtests: those
    tests are retried in a process of their own. Raises GateError if the gate itself cannot go on.
    """
    deadline = time.monotonic() + suite.config.compat_timeout
    reruns = suite.config.compat_reruns
    found: dict[str, Case] = {}
    problems: list[str] = []
    test_ids = shard.test_ids
    for attempt in range(1 + reruns):
        name = f"{shard.name}-retry{attempt}" if attempt else shard.name
        xml = suite.findings / "junit" / f"{suite.label}-{name}.xml"
        xml.unlink(missing_ok=True)
        pytest = _pytest(
            suite, name, worktree, (*test_ids, f"--junitxml={xml}", f"--reruns={0 if attempt else reruns}", "-rfE")
        )
        code = _run(suite, shard, pytest, deadline)
        told = list(process.records(pytest.report))
        results, wrong = junit.read(xml, test_ids)
        retried = {record["rerun"] for record in told if "rerun" in record}
        failing = [test_id for test_id, result in results.items() if result.outcome == "failed"]
        for test_id, result in results.items():
            logs = [str(log.relative_to(ROOT)) for log in (pytest.log, suite.log("emulator", name)) if log.exists()]
            found[test_id] = _case(test_id, result, logs, retried=attempt > 0 or test_id in retried)
        if code is None:
            problems.append(f"did not end within COMPAT_TIMEOUT={suite.config.compat_timeout} s, it was {_where(told)}")
        elif code != 0 and not (code == 1 and failing):
            problems += [" and ".join([_ending(code), *wrong[:1]])]
        else:
            problems += wrong
        test_ids = tuple(test_id for test_id in failing if test_id not in retried)
        if problems and room():
            raise GateError(f"shard {shard.name} {problems[0]}")
        if problems or not test_ids:
            break
    return Outcome(
        list(found.values()),
        [f"shard {shard.name} {problem}; see {pytest.log.relative_to(ROOT)}" for problem in problems],
    )


def _case(test_id: str, result: junit.Result, logs: list[str], *, retried: bool) -> Case:
    file, _, name = test_id.partition("::")
    if retried and result.outcome == "skipped":  # a failure is not undone by not looking again
        return Case(file, name, "failed", result.seconds, False, f"failed, then skipped: {result.message}", logs)
    flaky = retried and result.outcome == "passed"
    return Case(file, name, result.outcome, result.seconds, flaky, result.message, logs)


def _pytest(suite: Suite, name: str, worktree: Path, arguments: tuple[str, ...]) -> process.Pytest:
    """Return the process of a shard, or of its retry: a name of its own keeps it off the other's container."""
    report, log = suite.findings / "junit" / f"{suite.label}-{name}.jsonl", suite.log("suite", name)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    home, mark = suite.home / name, f"{suite.run}-{name}"
    return process.Pytest(suite.checkout.python, arguments, worktree, home, mark, suite.tag, report, log)


def _run(suite: Suite, shard: Shard, pytest: process.Pytest, deadline: float) -> int | None:
    return process.run(
        pytest, suite.engine, deadline=deadline, stop=suite.stop, tell=lambda record: suite.tell(shard, record)
    )


def _where(told: list[dict[str, Any]]) -> str:
    started = [record["started"] for record in told if "started" in record]
    return f"in {started[-1]}" if started else "before its first test"


def _ending(code: int | None) -> str:
    if code is None:
        return f"did not end within {COLLECTING} s"
    meaning = {1: ": tests failed", 2: ": interrupted", 3: ": internal error", 4: ": usage error", 5: ": no test"}
    return f"ended by signal {-code}" if code < 0 else f"ended with pytest's exit code {code}{meaning.get(code, '')}"
