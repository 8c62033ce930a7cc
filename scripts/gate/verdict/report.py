"""The verdict for a reader: on the terminal, as summary.md, and on the page of a GitHub job.

Any value may be text from elsewhere: `terminal` escapes its whole lines, in Markdown each value is a code span.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gate import workspace
from gate.settings import load_committed
from gate.text import code, error_command, plain, without_secrets
from gate.verdict import explain, gantt
from gate.verdict.model import Run, Verdict

UNFOLDED = 5  # failing tests that summary.md shows without a click
MESSAGE = 400  # characters of a message that are shown


def terminal(verdict: Verdict) -> str:
    """Return the verdict as text: what was tested, why it failed, and in the last line the verdict itself."""
    candidate = verdict.candidate
    lines = ["", f"candidate   {candidate.reference}", f"            {candidate.image_id} ({candidate.platform})"]
    lines += [f"packages    {packages}"] if (packages := explain.packages(candidate)) else []
    for run in verdict.runs:
        lines += ["", f"aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s{_compared(run)}"]
        lines += [f"  differs: {line}" for line in explain.contract(run)]
        lines += [f"  {line}" for line in _whose(verdict, run)]
        for cause in explain.causes(run):
            lines += [f"  {len(cause.tests)} {cause.attribution}: {cause.title[:MESSAGE]}"]
            lines += [f"      {message[:MESSAGE]}" for message in cause.messages[:3]]
            lines += [f"      {test.id}" for test in cause.tests]
            lines += [f"      log: {log}" for log in cause.tests[0].logs]
        for file in dict.fromkeys(test.file for test in run.tests):
            outcomes = Counter("flaky" if test.flaky else test.outcome for test in run.tests if test.file == file)
            lines += [f"  {file}: {', '.join(f'{number} {name}' for name, number in sorted(outcomes.items()))}"]
        lines += [f"  {word}: {text}" for word, text in _remarks(run)]
    lines += ["", *(f"  - {reason}" for reason in verdict.reasons)] if verdict.reasons else []
    lines += ["", f"repeat the first failing test: {again}"] if (again := repeat(verdict)) else []
    return "\n".join(plain(" ".join(line.splitlines())) for line in [*lines, "", summary_line(verdict)])


def summary_line(verdict: Verdict) -> str:
    """Return the last line: green or red, with the counts of each ref."""
    parts = []
    for run in verdict.runs:
        counts = ", ".join(f"{number} {name}" for name, number in run.count().items() if number)
        whose = f" ({attributions})" if (attributions := run.attributions()) else ""
        parts.append(f"{run.ref}: {counts or 'no test'}{whose}")
    return f"{'green' if verdict.green else 'red'}: {'; '.join(parts)}"


def repeat(verdict: Verdict) -> str:
    """Return the command that runs the first failing test alone, with the same candidate; "" if none failed.

    A test that fails with the published image too comes last.
    """
    failed = [(run.ref, test) for run in verdict.runs for test in run.failed]
    if not failed:
        return ""
    ref, test = min(failed, key=lambda each: each[1].attribution == "pre-existing")
    folder = os.path.relpath(workspace.ROOT, os.environ.get("CALLER_PWD") or workspace.ROOT)
    # Without its parameters, which is with all of them, where one would not survive make and the settings.
    exact = re.fullmatch(r"[\w./:\[\]@,=+-]+", test.id, re.ASCII) and ".." not in re.split("[/:]", test.id)
    source = verdict.gate.samcli_source
    settings = {
        "EMULATOR_IMAGE": verdict.candidate.image_id,
        **({"SAMCLI_SOURCE": source} if source != load_committed().samcli_source else {}),
        "SAMCLI_REFS": ref,
        **({"SAMCLI_COMPARED_REFS": ""} if verdict.gate.compared_refs else {}),
        "SAMCLI_TESTS": test.id if exact else test.id.partition("[")[0],
        "COMPAT_MIN_PASSED": "1",
    }
    make = ["make", *(["-C", folder] if folder != os.curdir else []), "compat"]
    return shlex.join(make + [f"{name}={value}" for name, value in settings.items()])


def markdown(verdict: Verdict) -> str:
    """Return what a reviewer needs on one screen: the verdict, what differs, the failing tests by cause."""
    candidate = verdict.candidate
    lines = [f"## {'🟢' if verdict.green else '🔴'} sam-cli compat: {code(summary_line(verdict))}", ""]
    for run in verdict.runs:
        lines += [f"- {code(line)}" for line in (*explain.contract(run), *_whose(verdict, run))]
    lines += ["", *(f"- {code(reason)}" for reason in verdict.reasons), ""]
    failures = [line for run in verdict.runs for line in _failures(run)]
    many = sum(len(run.failed) for run in verdict.runs) > UNFOLDED
    lines += _folded("failing tests by cause", failures) if many else failures
    lines += [
        "",
        "| aws-sam-cli | passed | failed | regressions | pre-existing | skipped | seconds |",
        "|---|---|---|---|---|---|---|",
        *map(_row, verdict.runs),
        "",
        f"Candidate {code(candidate.reference)} ({code(candidate.platform)}) {code(candidate.image_id)}, "
        f"version {code(candidate.version or 'unknown')}, revision {code(candidate.revision or 'unknown')}",
    ]
    lines += [f"with {code(packages)}"] if (packages := explain.packages(candidate)) else []
    lines += ["", f"Repeat the first failing test: {code(again)}"] if (again := repeat(verdict)) else []
    lines += _folded("remarks", [f"- {word}: {code(text)}" for run in verdict.runs for word, text in _remarks(run)])
    return "\n".join([*lines, "", *gantt.markdown(verdict.runs), ""])


def save(verdict: Verdict) -> None:
    """Write summary.md; in a GitHub job also its page, and an error line for each difference or cause."""
    text = markdown(verdict)
    workspace.write(workspace.results(verdict.candidate.platform) / workspace.SUMMARY, text)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(page).open("a", encoding="utf-8") as summary:
                summary.write(text)
        except OSError as error:  # for the reader only: it must not cost the verdict
            print(plain(f"warning: {page} cannot be written: {error.strerror}"), flush=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for run in verdict.runs:
            causes = [] if run.differences else [cause.title[:MESSAGE] for cause in explain.causes(run)]
            for line in (*explain.contract(run), *causes):
                print(error_command(f"sam-cli compat {run.ref}", line), flush=True)


def _whose(verdict: Verdict, run: Run) -> Iterator[str]:
    """Yield whose fault it is, and what it was compared with."""
    if run.failed and run.baseline:
        yield f"{run.attributions()}: {explain.REGRESSION}"
        base, listed = run.baseline, explain.packages(run.baseline)
        about = f"version {base.version or 'unknown'}{f', {listed}' if listed else ''}"
        yield f"compared with {base.reference} ({base.image_id}), {about}"
        if moved := explain.moved_packages(verdict.candidate, base):
            yield f"a dependency of the image differs from the published one: {moved}"
    if run.unattributed:
        yield f"not every failure could be compared: {without_secrets(run.unattributed)}"


def _failures(run: Run) -> Iterator[str]:
    for cause in explain.causes(run):
        yield f"- **{len(cause.tests)} {cause.attribution}**: {code(cause.title[:MESSAGE])}"
        yield from (f"  - {code(message[:MESSAGE])}" for message in cause.messages[:3])
        yield from (f"  - {code(test.id)}" for test in cause.tests)
        yield f"  - logs: {', '.join(map(code, cause.tests[0].logs))}"


def _folded(title: str, lines: list[str]) -> list[str]:
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"] if lines else []


def _row(run: Run) -> str:
    count, by = run.count(), Counter(test.attribution for test in run.failed)
    name = code(f"{run.version} ({run.ref}, {run.commit[:12]}){_compared(run)}").replace("|", "¦")  # else a cell's end
    numbers = (count["passed"], count["failed"], by["regression"], by["pre-existing"], count["skipped"])
    return f"| {' | '.join([name, *map(str, numbers), f'{run.seconds:.0f}'])} |"


def _compared(run: Run) -> str:
    return "; red only for a regression or an unknown failure" if run.compared else ""


def _remarks(run: Run) -> Iterator[tuple[str, str]]:
    if not run.uses_image:
        yield "does not use the image", f"aws-sam-cli {run.version} brings an emulator of its own"
    for test in run.tests:
        if test.flaky:
            yield "flaky", f"{test.id} passed on a retry only"
        if test.outcome == "skipped":
            yield "skipped", f"{test.id}: {test.message}"
    for file in run.uncovered:
        yield "not in SAMCLI_TESTS", file
    for image, number in run.containers().items():
        yield "containers started", f"{number} from {image}"
