"""Progress: a line for each test that has finished, with the time so far and an estimate of the rest."""

import threading
import time
from typing import Any

from gate.text import plain


def many(failed: int, tests: int) -> bool:
    """Return whether so many tests failed that none is retried: more than a quarter, and more than one."""
    return failed > max(1, tests / 4)


class Progress:
    """Counts and prints the tests of a suite that have finished, among those that its shards have collected so far."""

    def __init__(self, label: str) -> None:
        self.label, self.began, self.lock = label, time.monotonic(), threading.Lock()
        self.collected: set[str] = set()
        self.failed: list[str] = []
        self.finished = 0

    def show(self, record: dict[str, Any], left: float) -> None:
        """Print a line if the record is that of a finished test; about `left` seconds remain."""
        with self.lock:
            self.collected.update(record.get("collected", ()))
            if "finished" not in record:
                return
            self.finished += 1
            self.failed += [record["finished"]] if record["outcome"] == "failed" else []
            rest = f", about {left:.0f} s left" if left >= 1 else ""
            test, took = record["finished"].partition("::")[2], record["ended"] - record["began"]
            at = f"{self.label} [{self.finished}/{len(self.collected)}] {time.monotonic() - self.began:.0f} s{rest}"
            print(plain(f"{at}: {test} {record['outcome']} {took:.1f} s"), flush=True)
