"""One pytest process: start it, read its plugin's reports as they come, end it."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gate.containers import cleanup
from gate.programs import process_group

Record = dict[str, Any]
OnRecord = Callable[[Record], None]
LISTS = ("collected", "deselected", "handed_over")
TIMES = ("seconds", "began", "ended")
FINISHED = {"finished", "outcome", *TIMES}  # what a finished test's record has at least
EXITS = {1: "tests failed", 2: "interrupted", 3: "internal error", 4: "usage error", 5: "no test was collected"}


@dataclass
class Ending:
    """How it ended. `code` is the exit code (negative: the signal that ended it), None if the gate ended it."""

    code: int | None = None
    records: list[Record] = field(default_factory=list)

    def values(self, name: str) -> list[Any]:
        """Return the values that the plugin reported under a name, in order."""
        return [record[name] for record in self.records if name in record]

    def ids(self, name: str) -> list[str]:
        """Return the test ids that the plugin reported in lists under a name, one of LISTS."""
        return [test_id for listed in self.values(name) for test_id in listed]

    @property
    def unfinished(self) -> list[str]:
        """The tests that began and did not finish."""
        return [test for test in self.values("started") if test not in self.values("finished")]

    def __str__(self) -> str:
        """Say how it ended, as a phrase about the shard."""
        where = f", it was in {self.unfinished[-1]}" if self.unfinished else ""
        if self.code is None:
            return f"did not end in time{where}"
        if self.code < 0:
            return f"ended by signal {-self.code}{where}"
        meaning = f": {EXITS[self.code]}" if self.code in EXITS else ""
        return f"ended with pytest's exit code {self.code}{meaning}{where}"


def run(
    command: Sequence[str], environ: Mapping[str, str], log: Path, over: Callable[[], bool], on_record: OnRecord
) -> Ending:
    """Run pytest in the worktree of its environment (`environment.of_shard`) to its end, or until `over` says so.

    `log` gets what it prints, `on_record` what the plugin reports, as it happens. Whatever happens, none of its
    processes is left.
    """
    worktree, report = Path(environ["SAM_COMPAT_WORKTREE"]), Path(environ["SAM_COMPAT_REPORT"])
    for folder in (log.parent, report.parent, Path(environ["HOME"]), Path(environ["TMPDIR"])):
        folder.mkdir(parents=True, exist_ok=True)
    report.write_text("", encoding="utf-8")
    failure = f"pytest cannot be started in {worktree}"
    ending = Ending()
    try:
        with (
            log.open("ab") as printed,
            report.open("rb") as reported,
            process_group(command, failure=failure, log=printed, cwd=worktree, env=environ) as pytest,
        ):
            while True:
                ending.code = pytest.poll()
                for record in _new_records(reported):
                    ending.records.append(record)
                    on_record(record)
                if ending.code is not None or over():
                    return ending
                time.sleep(0.1)
    finally:
        cleanup.kill(environ[cleanup.MARK])


def _new_records(report: BinaryIO) -> Iterator[Record]:
    """Yield what the plugin has reported since the last time; a line that is not whole yet comes next time."""
    begin = report.tell()
    while (line := report.readline()).endswith(b"\n"):
        yield _record(line)
        begin = report.tell()
    report.seek(begin)


def _record(line: bytes) -> Record:
    """Return a line as a record, {} if it is not one: a test may write there, and the JUnit file decides."""
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or ("finished" in record and not record.keys() >= FINISHED):
            return {}
    except (ValueError, RecursionError):
        return {}
    for name, value in record.items():
        if name in TIMES:
            valid = isinstance(value, float) and math.isfinite(value)
        elif name in LISTS:
            valid = isinstance(value, list) and all(isinstance(each, str) for each in value)
        else:
            valid = isinstance(value, str)
        if not valid:
            return {}
    return record
