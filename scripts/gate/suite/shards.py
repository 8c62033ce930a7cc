"""How the suite is split into shards, so that neither the longest nor needless set-ups decide the wall time."""

import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gate import workspace
from gate.cli import GateError
from gate.settings import Settings
from gate.suite import selection
from gate.verdict.model import Run

# Seconds, measured on the real suite with four shards on two cores. A shard pays for pytest's start and its class's
# `sam build`, which copies 265 MB: more shards cost more than they save. A test of unknown duration takes about as long
# as others of its file.
SET_UP = 16.0
UNKNOWN = 8.0
OF_FILE = {"test_invoke_durable": 13.0, "test_start_lambda_durable": 5.5, "test_callback": 14.0}


@dataclass(frozen=True)
class Part:
    """The tests that one pytest process runs, by id, and the seconds that they are expected to take."""

    name: str
    test_ids: tuple[str, ...]
    seconds: float


def jobs(settings: Settings) -> int:
    """Return how many shards run at once: COMPAT_JOBS, or twice the cores, since a test waits half of its time, and no
    more than there is memory for."""
    by_memory = int(selection.memory_available() // selection.MEMORY_PER_JOB) or 1
    return settings.compat_jobs or min(2 * (os.cpu_count() or 1), by_memory)


def split(test_ids: Sequence[str], jobs: int) -> list[Part]:
    """Return shards for `jobs` at once, the longest first, each within one file since a class's set-up is per shard.

    The file with the longest shard is split once more, again and again; the fewest splits count that are within a
    tenth of the shortest wall time.
    """
    known = durations()
    files: dict[str, list[str]] = {}
    for test_id in dict.fromkeys(test_ids):
        files.setdefault(test_id.partition("::")[0], []).append(test_id)
    numbers = dict.fromkeys(files, 1)
    best: list[Part] = []
    while files:
        parts = [part for file, ids in files.items() for part in _split_file(ids, known, numbers[file])]
        parts.sort(key=lambda part: -part.seconds)
        if not best or wall(parts, jobs) < 0.9 * wall(best, jobs):
            best = parts
        longest = parts[0].test_ids[0].partition("::")[0]
        if numbers[longest] == len(files[longest]):
            break
        numbers[longest] += 1
    return [Part(f"{part.name}-{number}", part.test_ids, part.seconds) for number, part in enumerate(best, 1)]


def wall(parts: Sequence[Part], jobs: int) -> float:
    """Return the expected wall seconds of shards that start in this order, `jobs` at once."""
    ends = [0.0] * jobs
    for part in parts:
        heapq.heapreplace(ends, ends[0] + part.seconds)
    return max(ends)


def _split_file(test_ids: list[str], known: Mapping[str, float], number: int) -> list[Part]:
    """Split a file's tests into at most `number` shards of about equal seconds, in order."""
    known = {
        each: known.get(each, OF_FILE.get(Path(test_ids[0].partition("::")[0]).stem, UNKNOWN)) for each in test_ids
    }
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(test_ids[0].partition("::")[0]).stem.removeprefix("test_"))[:40]
    whole, at, parts = sum(known.values()), 0.0, dict[int, list[str]]()
    for test_id in test_ids:
        seconds = known[test_id]
        parts.setdefault(min(int((at + seconds / 2) / (whole or 1.0) * number), number - 1), []).append(test_id)
        at += seconds
    return [Part(stem, tuple(ids), SET_UP + sum(known[each] for each in ids)) for ids in parts.values()]


def durations() -> dict[str, float]:
    """Return the seconds of tests in earlier runs by test id; nothing if there was none or the file is damaged."""
    try:
        found = workspace.read_json(workspace.DURATIONS, remedy="")
        return {test_id: min(max(took + 0.0, 0.0), 3600.0) for test_id, took in found.items()}
    except (GateError, AttributeError, TypeError, OverflowError):
        return {}


def keep_durations(runs: Sequence[Run]) -> None:
    """Keep the seconds of the tests that passed, for the next run's split."""
    passed = {test.id: test.seconds for run in runs for test in run.tests if test.outcome == "passed"}
    workspace.write_json(workspace.DURATIONS, durations() | passed)
