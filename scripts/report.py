"""The verdict for a reader: on the terminal, as summary.md, and on the page of a GitHub job."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import state
from suite import Shard
from verdict import Case, Run, Verdict


class Progress:
    """Tells each finished test as it happens: label, n of m, shard, test, outcome, seconds; `total` is m."""

    def __init__(self, label: str) -> None:
        self.label, self.total = label, 0
        self.finished: set[str] = set()
        self.lock = threading.Lock()

    def tell(self, shard: Shard, record: dict[str, Any]) -> None:
        """Print a line if the record is that of a finished test."""
        if test_id := record.get("finished"):
            with self.lock:
                self.finished.add(test_id)
                of = f"{self.label} [{len(self.finished)}/{self.total}] {shard.name}"
                print(f"{of}: {test_id.partition('::')[2]} {record['outcome']} {record['seconds']:.1f} s", flush=True)


def terminal(verdict: Verdict) -> str:
    """Return the verdict as text: what was tested, what failed and why, and the verdict itself in the last line."""
    candidate = verdict.candidate
    lines = ["", f"candidate   {candidate.reference}", f"            {candidate.image_id} ({candidate.platform})"]
    lines += [f"packages    {packages}"] if (packages := _packages(verdict)) else []
    for run in verdict.runs:
        lines += ["", f"aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s"]
        lines += [f"  {file}: {told}" for file, told in _by_file(run)]
        for case in _failed(run):
            lines += [f"  {case.attribution or 'failed'}: {case.file}::{case.name}", f"      {case.message}"]
            lines += [f"      {log}" for log in case.logs]
        lines += [f"  {word}: {text}" for word, text in _remarks(run)]
    lines += ["", *(f"  - {reason}" for reason in verdict.reasons)] if verdict.reasons else []
    return "\n".join([*lines, "", summary_line(verdict)])


def summary_line(verdict: Verdict) -> str:
    """Return the last line: green or red, with the counts of each ref."""
    parts = []
    for run in verdict.runs:
        counts = ", ".join(f"{number} {name}" for name, number in run.count().items() if number)
        parts.append(f"{run.ref}: {counts or 'no test'}{f' ({whose})' if (whose := run.blame()) else ''}")
    return f"{'green' if verdict.green else 'red'}: {'; '.join(parts)}"


def markdown(verdict: Verdict) -> str:
    """Return what a reviewer needs in one screen."""
    candidate = verdict.candidate
    lines = [f"## {'🟢' if verdict.green else '🔴'} sam-cli compat: {summary_line(verdict)}", ""]
    lines += [f"- {reason}" for reason in verdict.reasons] + [""]
    lines += [f"Candidate `{candidate.reference}` ({candidate.platform})  ", f"`{candidate.image_id}`  "]
    lines += [f"version {candidate.version or 'unknown'}, revision {candidate.revision or 'unknown'}  "]
    lines += [f"with {packages}"] if (packages := _packages(verdict)) else []
    for run in verdict.runs:
        lines += ["", f"### aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s", ""]
        lines += ["| file | tests |", "|---|---|", *(f"| {file} | {told} |" for file, told in _by_file(run)), ""]
        for case in _failed(run):
            lines += [f"- **{case.attribution or 'failed'}** `{case.file}::{case.name}`  "]
            lines += [f"  `{case.message.replace('`', chr(39))}`  ", f"  {', '.join(case.logs)}"]
        lines += [f"- {word}: {text}" for word, text in _remarks(run)]
    return "\n".join([*lines, ""])


def save(verdict: Verdict) -> None:
    """Write summary.md; in a GitHub job also its page, and an error line for each regression."""
    text = markdown(verdict)
    state.write(state.folder(verdict.candidate.platform) / "summary.md", text)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page).open("a", encoding="utf-8") as summary:
            summary.write(text)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for run in verdict.runs:
            for case in _failed(run):
                if case.attribution == "regression":
                    print(f"::error title=sam-cli regression::{_escaped(f'{case.name}: {case.message}')}", flush=True)


def _escaped(text: str) -> str:
    """Return a text as the data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _packages(verdict: Verdict) -> str:
    return ", ".join(f"{name} {version}" for name, version in verdict.candidate.packages.items())


def _failed(run: Run) -> list[Case]:
    return [case for case in run.tests if case.outcome == "failed"]


def _by_file(run: Run) -> Iterator[tuple[str, str]]:
    for file in dict.fromkeys(case.file for case in run.tests):
        outcomes = Counter("flaky" if case.flaky else case.outcome for case in run.tests if case.file == file)
        yield file, ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))


def _remarks(run: Run) -> Iterator[tuple[str, str]]:
    for case in run.tests:
        if case.flaky:
            yield "flaky", f"{case.file}::{case.name} passed on a retry only"
        if case.outcome == "skipped":
            yield "skipped", f"{case.file}::{case.name}: {case.message}"
    for file in run.uncovered:
        yield "not in SAMCLI_TESTS", file
    for image, number in run.containers.items():
        yield "containers started", f"{number} from {image}"
    if run.unattributed:
        yield "unknown because of", run.unattributed
