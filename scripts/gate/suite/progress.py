"""Progress: a line for each test that has finished, with the time so far and an estimate of the rest."""

import threading
import time
from typing import Any

from gate.text import plain


class Progress:
    """Prints the finished tests of a run's shards. `expected` is the wall seconds that all of them should take."""

    def __init__(self, label: str, total: int, expected: float) -> None:
        self.label, self.total, self.expected = label, total, expected
        self.finished, self.began = 0, time.monotonic()
        self.lock = threading.Lock()

    def show(self, record: dict[str, Any]) -> None:
        """Print a line if the record is that of a finished test."""
        if "finished" not in record:
            return
        with self.lock:
            self.finished += 1
            seconds = time.monotonic() - self.began
            left = max(self.expected - seconds, 0.0) if self.finished < self.total else 0.0
            rest = f", about {left:.0f} s left" if left >= 1 else ""
            test, took = record["finished"].partition("::")[2], record["ended"] - record["began"]
            at = f"{self.label} [{self.finished}/{self.total}] {seconds:.0f} s{rest}"
            print(plain(f"{at}: {test} {record['outcome']} {took:.1f} s"), flush=True)
