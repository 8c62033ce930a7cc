"""The shards of a run: each file begins as one, and an idle slot takes tests over from the one with most left."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gate.cli import GateError
from gate.containers.event_monitor import LOST
from gate.settings import Settings
from gate.suite import scratch, selection
from gate.suite.one_shard import Part, Results, Suite, run_shard
from gate.suite.process import Record

# Seconds that a shard costs, measured on the real suite with four at once on two cores: pytest's start and its class's
# `sam build`, which copies 265 MB. Tests are taken over where three times as much is left.
SET_UP = 12.0


class Scheduler(contextlib.AbstractContextManager["Scheduler"]):
    """Runs shards, each in a slot whose worktree no other uses meanwhile. Its end stops them.

    `jobs` shards of the candidate run at once. Those of the baseline run in any slot: tests that fail mostly wait.
    """

    def __init__(self, jobs: int, slots: int) -> None:
        self.jobs, self.slots, self.pool = jobs, list(range(slots)), ThreadPoolExecutor(slots)
        self.stop = threading.Event()
        self.waiting: list[Part] = []
        self.running: dict[Future[Results], Part] = {}

    def __exit__(self, *_raised: object) -> None:
        """Stop the shards that still run, and wait until they have ended."""
        self.stop.set()
        self.pool.shutdown(cancel_futures=True)

    def add(self, suite: Suite, tests: Sequence[str], prefix: str = "") -> None:
        """Queue the tests: a shard for each file, or one for all where the suite runs in one process."""
        known = {(part.suite, part.file): part for part in self.waiting}
        for test in dict.fromkeys(tests):
            file = "all" if suite.in_one_process else test.partition("::")[0]
            if (suite, file) not in known:
                known[suite, file] = Part(suite, suite.unused(prefix + _stem(file)), file)
                self.waiting.append(known[suite, file])
            known[suite, file].tests.append(test)

    def run(self, suite: Suite) -> Iterator[list[tuple[Part, Future[Results]]]]:
        """Yield the shards, of any suite, that have ended since the last time, until none of this one is left.

        Raises GateError when the suite can no longer be watched.
        """
        while any(part.suite is suite for part in [*self.waiting, *self.running.values()]):
            if suite.watch.broken:
                raise GateError(f"{LOST} ({suite.watch.broken}): restart the engine and run again")
            self._fill()
            ended = [(self.running.pop(future), future) for future in list(self.running) if future.done()]
            self.slots += [part.slot for part, _ in ended]
            yield ended
            time.sleep(0.1)

    def _fill(self) -> None:
        """Give the idle slots work: the candidate's tests first, since what fails there has yet to be compared."""
        asked = [part for part in self.running.values() if part.asked]
        for _ in range(len(self.slots) - len(asked)):
            own = sum(part.suite.kind == "candidate" for part in [*self.running.values(), *asked])
            first = self.waiting[0].suite.kind if self.waiting else ""
            if own < self.jobs and first != "candidate" and self._take_over("candidate"):
                asked = [part for part in self.running.values() if part.asked]
            elif first == "baseline" or (first == "candidate" and own < self.jobs):
                part = self.waiting.pop(0)
                part.slot = self.slots.pop()
                self.running[self.pool.submit(run_shard, part, self._note)] = part
            else:
                self._take_over("baseline")

    def _take_over(self, kind: str) -> bool:
        """Ask the shard with most left for so many of its last tests that both end at about the same time."""
        donors = [part for part in self.running.values() if part.suite.kind == kind and not part.asked]
        donor = max(donors, key=Part.seconds_left, default=None)
        if not donor or (seconds := donor.seconds_left()) < 3 * SET_UP or len(left := donor.left) < 3:
            return False
        number = max(1, int((seconds - SET_UP) / 2 / donor.seconds_per_test()))
        donor.request.write_text(left[max(2, len(left) - number)], encoding="utf-8", errors="replace")
        donor.asked = True
        return True

    def _note(self, part: Part, record: Record) -> None:
        """Note what a shard reports, print its progress, and queue what it hands over."""
        part.note(record)
        if given := record.get("handed_over"):
            name = part.suite.unused(part.name.rpartition("-")[0])
            self.waiting.insert(0, Part(part.suite, name, part.file, given))
        seconds = [each.seconds_left() for each in [*self.running.values()]]
        part.suite.progress.show(record, max([*seconds, sum(seconds) / self.jobs], default=0.0))


def jobs(settings: Settings) -> int:
    """Return how many shards run at once: COMPAT_JOBS, or twice the cores, since a test waits half of its time, and no
    more than there is memory for."""
    by_memory = int(selection.memory_available() // selection.MEMORY_PER_JOB) or 1
    return settings.compat_jobs or min(2 * (os.cpu_count() or 1), by_memory)


def slots(jobs: int) -> int:
    """Return how many run at once with the baseline's among them: half as many more, if there is memory for them."""
    by_memory = int(selection.memory_available() // (selection.MEMORY_PER_JOB + scratch.PER_JOB))
    return max(jobs, min(jobs + jobs // 2, by_memory))


def _stem(file: str) -> str:
    """Return what a file's shards are called, safe for names of files and containers."""
    stem = file.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
    return re.sub(r"[^A-Za-z0-9]+", "-", stem)[:40]
