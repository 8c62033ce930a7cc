"""A single test's log and its emulator's, merged in order of time."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gate.text import plain
from gate.verdict.model import Run

# Options that let pytest log as it happens, with stamps like the engine's. TZ is set to UTC for them.
LIVE = ["-o", "log_cli=true", "-o", "log_cli_level=INFO", "-o", "log_cli_date_format=%Y-%m-%dT%H:%M:%S"]
LIVE += ["-o", "log_cli_format=%(asctime)s.%(msecs)03dZ %(name)s %(message)s"]
STAMP = re.compile(r"(?P<stamp>[0-9-]{10}T[0-9:]{8}\.[0-9]+)Z (?P<text>.*\S)\s*")
OWN_STAMP = re.compile(r"^[0-9-]{10} [0-9:]{8},[0-9]+ - ")  # the emulator's own, after the engine's
WIDTH = 200  # characters of a line: an emulator prints whole histories


def of_single_test(runs: list[Run]) -> list[str]:
    """Return the merged lines if one test alone was run, else nothing: a whole suite's would be thousands."""
    tests = [test for run in runs for test in run.tests]
    if len(tests) != 1:
        return []
    here = Path(os.environ.get("CALLER_PWD") or os.curdir)
    return merged([here / log for log in tests[0].logs])


def merged(logs: list[Path]) -> list[str]:
    """Return the stamped lines of some logs in order of time, each with its time of day and the kind of its log."""
    found = sorted(line for log in logs for line in _stamped(log))
    return [f"{stamp[11:23]} {kind:8} | {plain(text)[:WIDTH]}" for stamp, kind, text in found]


def _stamped(log: Path) -> Iterator[tuple[str, str, str]]:
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := STAMP.fullmatch(line):
                yield match["stamp"], log.name.partition("-")[0], OWN_STAMP.sub("", match["text"])
