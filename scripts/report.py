"""The verdict for a reader."""

import threading
from typing import Any

from suite import Shard
from verdict import Run, Verdict


def terminal(verdict: Verdict) -> str:
    """Return the verdict as text: what was tested, what failed and why, and the verdict itself in the last line."""
    candidate = verdict.candidate
    packages = ", ".join(f"{name} {version}" for name, version in candidate.packages.items())
    lines = ["", f"candidate   {candidate.reference}", f"            {candidate.image_id} ({candidate.platform})"]
    lines += [f"packages    {packages}"] if packages else []
    for run in verdict.runs:
        lines += ["", *_run(run)]
    lines += ["", *(f"  - {reason}" for reason in verdict.reasons)] if verdict.reasons else []
    return "\n".join([*lines, "", summary_line(verdict)])


def _run(run: Run) -> list[str]:
    lines = [f"aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s"]
    for file in dict.fromkeys(test.file for test in run.tests):
        tests = [test for test in run.tests if test.file == file]
        counts = Run(run.ref, run.commit, run.version, tests=tests).count()
        told = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        lines.append(f"  {file}: {told}")
    for test in run.tests:
        if test.outcome == "failed":
            lines += [f"  failed    {test.file}::{test.name}", f"            {test.message}", f"            {test.log}"]
    lines += [f"  flaky     {test.file}::{test.name}" for test in run.tests if test.flaky]
    lines += [f"  skipped   {t.file}::{t.name}: {t.message}" for t in run.tests if t.outcome == "skipped"]
    lines += [f"  not in SAMCLI_TESTS: {file}" for file in run.uncovered]
    lines += [f"  containers started: {number} from {image}" for image, number in run.containers.items()]
    return lines


def summary_line(verdict: Verdict) -> str:
    """Return the last line: green or red, with the counts of each ref."""
    parts = []
    for run in verdict.runs:
        counts = ", ".join(f"{number} {name}" for name, number in run.count().items() if number)
        parts.append(f"{run.ref}: {counts or 'no test'}")
    return f"{'green' if verdict.green else 'red'}: {'; '.join(parts)}"


class Progress:
    """Tells each finished test as it happens: shard, test, outcome, seconds, n of m; `total` is m."""

    def __init__(self, ref: str = "") -> None:
        self.ref, self.total = ref, 0
        self.finished: set[str] = set()
        self.lock = threading.Lock()

    def tell(self, shard: Shard, record: dict[str, Any]) -> None:
        """Print a line if the record is that of a finished test."""
        if test_id := record.get("finished"):
            with self.lock:
                self.finished.add(test_id)
                name = f"{shard.name}: {test_id.partition('::')[2]}"
                of = f"{self.ref}[{len(self.finished)}/{self.total}]"
                print(f"{of} {name} {record['outcome']} {record['seconds']:.1f} s", flush=True)
