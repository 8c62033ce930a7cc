"""The shards of a run: each file begins as one; an idle slot takes tests over from the one with the most work left."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gate.containers import event_monitor
from gate.suite.one_shard import Part, Results, Suite, run_shard
from gate.suite.process import Record

# Seconds until the first test of a shard runs, measured on the real suite with four shards on two cores: pytest starts,
# and its class runs `sam build`, which copies 265 MB. A shard with less than WORTH times as much left keeps its tests.
SET_UP, WORTH = 12.0, 3
STAY = 2  # tests that a shard keeps: the one that runs and the next one


class Scheduler(contextlib.AbstractContextManager["Scheduler"]):
    """Runs shards, each in a slot whose worktree no other uses meanwhile. At its end it stops those that still run.

    `jobs` shards of the candidate run at once. Those of the baseline run in any slot, also in more than `jobs`: a test
    that fails spends most of its time waiting.
    """

    def __init__(self, jobs: int, slots: int) -> None:
        self.jobs, self.free, self.pool = jobs, list(range(slots)), ThreadPoolExecutor(slots)
        self.stop = threading.Event()
        self.waiting: list[Part] = []
        self.running: dict[Future[Results], Part] = {}

    def __exit__(self, *_raised: object) -> None:
        """Stop the shards that still run, and wait until they have ended."""
        self.stop.set()
        self.pool.shutdown(cancel_futures=True)

    def add(self, suite: Suite, tests: Sequence[str], prefix: str = "") -> None:
        """Queue the tests: a shard for each file, or without `hurry` one for all."""
        known = {(part.suite, part.file): part for part in self.waiting}
        for test in dict.fromkeys(tests):
            file = test.partition("::")[0] if suite.hurry else "all"
            if (suite, file) not in known:
                known[suite, file] = Part(suite, suite.unused(prefix + _stem(file)), file)
                self.waiting.append(known[suite, file])
            known[suite, file].tests.append(test)

    def run(self, suite: Suite) -> Iterator[list[tuple[Part, Future[Results]]]]:
        """Yield the shards, of any suite, that have ended since the last time, until none of this one is left.

        Raises GateError when the suite can no longer be watched.
        """
        while any(part.suite is suite for part in [*self.waiting, *self.running.values()]):
            event_monitor.check(suite.watch)
            self._fill()
            ended = [(self.running.pop(future), future) for future in list(self.running) if future.done()]
            self.free += [part.slot for part, _ in ended]
            yield ended
            time.sleep(0.1)

    def all_collected(self, suite: Suite) -> bool:
        """Return whether each shard of a suite has reported its tests."""
        waiting = any(part.suite is suite for part in list(self.waiting))
        return not waiting and all(part.since for part in self.running.values() if part.suite is suite)

    def _fill(self) -> None:
        """Give the free slots work, the candidate's first, since what fails there has yet to be compared.

        A slot starts a shard that waits. If there is none, it takes tests over; it is kept free for their shard.
        """
        for _ in range(len(self.free) - sum(part.asked for part in self.running.values())):
            busy = sum(1 + part.asked for part in self.running.values() if part.suite.kind == "candidate")
            if busy < self.jobs and (self._start("candidate") or self._take_over("candidate")):
                continue
            if not self._start("baseline"):
                self._take_over("baseline")

    def _start(self, kind: str) -> bool:
        """Start the first shard of a kind that waits; return False if there is none."""
        part = next((part for part in list(self.waiting) if part.suite.kind == kind), None)
        if part:
            self.waiting.remove(part)
            part.slot = self.free.pop()
            self.running[self.pool.submit(run_shard, part, self._note)] = part
        return bool(part)

    def _take_over(self, kind: str) -> bool:
        """Ask the shard with the most work left for its last tests, so many that both end at about the same time.

        Returns False if no shard has enough left.
        """
        donors = [part for part in self.running.values() if part.suite.kind == kind and not part.asked]
        donor = max(donors, key=Part.seconds_left, default=None)
        if not donor:
            return False
        left, seconds = donor.left, donor.seconds_left()
        if len(left) <= STAY or seconds < WORTH * SET_UP:
            return False
        number = max(1, int((seconds - SET_UP) / 2 / donor.seconds_per_test()))
        donor.asked = True
        donor.request.write_text(left[max(STAY, len(left) - number)], encoding="utf-8", errors="replace")
        return True

    def _note(self, part: Part, record: Record) -> None:
        """Note what a shard reports, print its progress, and queue what it hands over."""
        part.note(record)
        if given := record.get("handed_over"):
            name = part.suite.unused(part.name.rpartition("-")[0])
            self.waiting.insert(0, Part(part.suite, name, part.file, given))
        seconds = [each.seconds_left() for each in list(self.running.values())]  # a copy: other threads change it
        part.suite.progress.show(record, max([*seconds, sum(seconds) / self.jobs], default=0.0))


def _stem(file: str) -> str:
    """Return what a file's shards are called, safe for names of files and containers."""
    stem = file.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
    return re.sub(r"[^A-Za-z0-9]+", "-", stem)[:40]
