"""How the suite is cut into shards, so that neither the longest one nor needless set-ups decide the wall time."""

import heapq
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import state
from command import GateError
from config import Config
from suite import Shard
from verdict import Run

# Measured on the real suite, two cores: a shard pays for pytest's start and its class's `sam build`, and a test of
# unknown duration takes about as long.
SET_UP = 20.0
UNKNOWN = 15.0
DURATIONS = state.CACHE / "durations.json"


def jobs(config: Config) -> int:
    """Return how many shards run at once: COMPAT_JOBS, or twice the cores, since a test waits half of its time."""
    return config.compat_jobs or 2 * (os.cpu_count() or 1)


def cut(test_ids: Sequence[str], jobs: int, durations: Mapping[str, float]) -> list[Shard]:
    """Return shards for `jobs` at once, the longest first, each within one file since a class's set-up is per shard.

    `durations` are seconds of earlier runs by test id, as far as known. The file with the longest shard is cut into
    one more, again and again; the fewest cuts count that are within a tenth of the shortest wall time.
    """
    files: dict[str, list[str]] = {}
    for test_id in dict.fromkeys(test_ids):
        files.setdefault(test_id.partition("::")[0], []).append(test_id)
    seconds = {test_id: durations.get(test_id, UNKNOWN) for ids in files.values() for test_id in ids}
    parts = dict.fromkeys(files, 1)
    best: list[list[str]] = []
    shortest = math.inf
    while files:
        pieces = [piece for file, ids in files.items() for piece in _split(ids, seconds, parts[file])]
        pieces.sort(key=lambda piece: -_wall([piece], seconds, 1))
        if (wall := _wall(pieces, seconds, jobs)) < 0.9 * shortest:
            best, shortest = pieces, wall
        longest = pieces[0][0].partition("::")[0]
        if parts[longest] == len(files[longest]):
            break
        parts[longest] += 1
    return [Shard(f"{_stem(piece[0])}-{number}", tuple(piece)) for number, piece in enumerate(best, 1)]


def _wall(pieces: list[list[str]], seconds: Mapping[str, float], jobs: int) -> float:
    """Return the wall seconds of pieces that are started in this order, `jobs` at once."""
    ends = [0.0] * jobs
    for piece in pieces:
        heapq.heapreplace(ends, ends[0] + SET_UP + sum(seconds[test_id] for test_id in piece))
    return max(ends)


def _split(test_ids: list[str], seconds: Mapping[str, float], parts: int) -> list[list[str]]:
    """Cut a list into at most `parts` runs of about equal seconds, order kept."""
    whole, at, pieces = sum(seconds[test_id] for test_id in test_ids) or 1.0, 0.0, dict[int, list[str]]()
    for test_id in test_ids:
        middle = at + seconds[test_id] / 2
        pieces.setdefault(min(int(middle / whole * parts), parts - 1), []).append(test_id)
        at += seconds[test_id]
    return list(pieces.values())


def _stem(test_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(test_id.partition("::")[0]).stem.removeprefix("test_"))


def known() -> dict[str, float]:
    """Return the durations that earlier runs left, none if there was none."""
    try:
        return {str(test_id): float(took) for test_id, took in state.read_json(DURATIONS, remedy="").items()}
    except (GateError, AttributeError, TypeError, ValueError):
        return {}


def learn(runs: Sequence[Run]) -> None:
    """Keep the durations of the tests that passed for the next run's cut."""
    passed = {
        f"{case.file}::{case.name}": case.seconds for run in runs for case in run.tests if case.outcome == "passed"
    }
    state.write_json(DURATIONS, known() | passed)
