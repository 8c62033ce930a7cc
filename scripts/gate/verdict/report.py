"""The verdict for a reader: on the terminal, as summary.md, and on the page of a GitHub job."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gate import workspace
from gate.cli import one_line, without_secrets
from gate.verdict import explain, gantt
from gate.verdict.model import Run, TestResult, Verdict

UNFOLDED = 5  # failing tests that summary.md shows without a click


def terminal(verdict: Verdict) -> str:
    """Return the verdict as text: what was tested, why it failed, and in the last line the verdict itself."""
    candidate = verdict.candidate
    lines = ["", f"candidate   {candidate.reference}", f"            {candidate.image_id} ({candidate.platform})"]
    lines += [f"packages    {packages}"] if (packages := explain.packages(candidate)) else []
    for run in verdict.runs:
        lines += ["", _heading(run)]
        lines += [f"  {line}" for line in _whose(verdict, run)]
        lines += [f"  differs: {line}" for line in explain.contract(run)]
        for cause in explain.causes(run):
            lines += [f"  {len(cause.tests)} {cause.attribution}: {cause.title}"]
            lines += [f"      {message[:400]}" for message in cause.messages[:3]]
            lines += [f"      {one_line(test.id)}" for test in cause.tests]
            lines += [f"      log: {log}" for log in cause.tests[0].logs]
        lines += [f"  {file}: {outcomes}" for file, outcomes in _by_file(run)]
        lines += [f"  {word}: {text}" for word, text in _remarks(run)]
    lines += ["", *(f"  - {one_line(reason)}" for reason in verdict.reasons)] if verdict.reasons else []
    lines += ["", f"repeat the first failing test: {again}"] if (again := repeat(verdict)) else []
    return "\n".join([*lines, "", summary_line(verdict)])


def summary_line(verdict: Verdict) -> str:
    """Return the last line: green or red, with the counts of each ref."""
    parts = []
    for run in verdict.runs:
        counts = ", ".join(f"{number} {name}" for name, number in run.count().items() if number)
        whose = f" ({attributions})" if (attributions := run.attributions()) else ""
        parts.append(f"{one_line(run.ref)}: {counts or 'no test'}{whose}")
    return f"{'green' if verdict.green else 'red'}: {'; '.join(parts)}"


def repeat(verdict: Verdict) -> str:
    """Return the command that runs the first failing test alone, with the same candidate; "" if none failed."""
    for run in verdict.runs:
        for test in run.failed:
            folder = os.path.relpath(workspace.ROOT, os.environ.get("CALLER_PWD") or workspace.ROOT)
            make = ["make", *(["-C", folder] if folder != os.curdir else []), "compat"]
            settings = {
                "EMULATOR_IMAGE": verdict.candidate.image_id,
                "SAMCLI_REFS": run.ref,
                "SAMCLI_TESTS": test.id,
                "COMPAT_MIN_PASSED": "1",
            }
            return shlex.join(make + [f"{name}={one_line(value)}" for name, value in settings.items()])
    return ""


def markdown(verdict: Verdict) -> str:
    """Return what a reviewer needs on one screen; text from elsewhere is in code spans, which render nothing."""
    candidate = verdict.candidate
    lines = [f"## {'🟢' if verdict.green else '🔴'} sam-cli compat: {_code(summary_line(verdict))}", ""]
    for run in verdict.runs:
        lines += [f"- {_code(line)}" for line in (*_whose(verdict, run), *explain.contract(run))]
    lines += ["", *(f"- {_code(reason)}" for reason in verdict.reasons), ""]
    failed = [test for run in verdict.runs for test in run.failed]
    shown = [line for run in verdict.runs for line in _failures(run)]
    lines += (
        ["<details><summary>failing tests by cause</summary>", "", *shown, "", "</details>"]
        if len(failed) > UNFOLDED
        else shown
    )
    lines += [
        "",
        "| aws-sam-cli | passed | failed | regressions | pre-existing | skipped | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(run) for run in verdict.runs]
    lines += ["", f"Candidate {_code(candidate.reference)} ({candidate.platform}) {_code(candidate.image_id)}, "]
    lines += [f"version {_code(candidate.version or 'unknown')}, revision {_code(candidate.revision or 'unknown')}"]
    lines += [f"with {_code(packages)}"] if (packages := explain.packages(candidate)) else []
    lines += ["", f"Repeat the first failing test: {_code(again)}"] if (again := repeat(verdict)) else []
    remarks = [f"- {word}: {_code(text)}" for run in verdict.runs for word, text in _remarks(run)]
    lines += ["", "<details><summary>remarks</summary>", "", *remarks, "", "</details>"] if remarks else []
    return "\n".join([*lines, "", *gantt.markdown(verdict.runs), ""])


def save(verdict: Verdict) -> None:
    """Write summary.md; in a GitHub job also its page, and an error line for each cause of regressions."""
    text = markdown(verdict)
    workspace.write(workspace.results(verdict.candidate.platform) / workspace.SUMMARY, text)
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(page).open("a", encoding="utf-8") as summary:
                summary.write(text)
        except OSError as error:  # for the reader only: it must not cost the verdict
            print(f"warning: {page} cannot be written: {error.strerror}", flush=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for run in verdict.runs:
            for line in [
                *explain.contract(run),
                *(cause.title for cause in explain.causes(run) if not run.differences),
            ]:
                print(f"::error title=sam-cli compat {_data(run.ref)}::{_data(line)}", flush=True)


def _whose(verdict: Verdict, run: Run) -> Iterator[str]:
    """Yield whose fault it is, and what it was compared with."""
    if run.failed and run.baseline:
        yield f"{run.attributions()}: {explain.REGRESSION}"
        base, listed = run.baseline, explain.packages(run.baseline)
        yield f"compared with {base.reference} ({base.image_id}), version {base.version or 'unknown'}, {listed}"
        if moved := explain.moved_packages(verdict.candidate, base):
            yield f"a dependency of the image differs from the published one: {moved}"
    if run.unattributed:
        yield f"not every failure could be compared: {one_line(without_secrets(run.unattributed))}"


def _failures(run: Run) -> Iterator[str]:
    for cause in explain.causes(run):
        yield f"- **{len(cause.tests)} {cause.attribution}**: {_code(cause.title[:400])}"
        yield from (f"  - {_code(message[:400])}" for message in cause.messages[:3])
        yield from (f"  - {_code(test.id)}" for test in cause.tests)
        yield f"  - logs: {', '.join(_code(log) for log in cause.tests[0].logs)}"


def _row(run: Run) -> str:
    count = run.count()
    by = Counter(test.attribution for test in run.failed)
    name = f"{_code(run.version)} ({_code(run.ref)}, {run.commit[:12]}){', compared' if run.compared else ''}"
    cells = [
        name,
        count["passed"],
        count["failed"],
        by["regression"],
        by["pre-existing"],
        count["skipped"],
        f"{run.seconds:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _heading(run: Run) -> str:
    compared = "; only a regression is red" if run.compared else ""
    return (
        f"aws-sam-cli {one_line(run.version)} ({one_line(run.ref)}, {run.commit[:12]}), {run.seconds:.0f} s{compared}"
    )


def _by_file(run: Run) -> Iterator[tuple[str, str]]:
    for file in dict.fromkeys(test.file for test in run.tests):
        outcomes = Counter("flaky" if test.flaky else test.outcome for test in run.tests if test.file == file)
        yield one_line(file), ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))


def _remarks(run: Run) -> Iterator[tuple[str, str]]:
    if not run.uses_image:
        yield "does not use the image", f"aws-sam-cli {one_line(run.version)} brings an emulator of its own"
    for test in run.tests:
        if test.flaky:
            yield "flaky", f"{_name(test)} passed on a retry only"
        if test.outcome == "skipped":
            yield "skipped", f"{_name(test)}: {one_line(test.message)}"
    for file in run.uncovered:
        yield "not in SAMCLI_TESTS", one_line(file)
    for image, number in run.containers().items():
        yield "containers started", f"{number} from {image}"


def _name(test: TestResult) -> str:
    return one_line(test.id)


def _code(text: str) -> str:
    """Return text as a Markdown code span of one line, also inside a table."""
    return f"`{one_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`" if text.strip() else ""


def _data(text: str) -> str:
    """Return text as the data of a GitHub workflow command."""
    return one_line(text).replace("%", "%25").replace("::", "%3A%3A")
