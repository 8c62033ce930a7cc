"""The report: one Markdown text, printed, saved as summary.md and shown on the job's page."""

import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from gate import workspace
from gate.images import Image
from gate.model import Difference, Run, TestResult, Verdict

LEGEND = "regression: passes with the published image; pre-existing: fails there too"


def show(verdict: Verdict) -> None:
    text = "\n".join([*lines(verdict), "", summary_line(verdict), ""])
    summary = workspace.results(verdict.candidate.platform) / workspace.SUMMARY
    for path in (summary, os.environ.get("GITHUB_STEP_SUMMARY") or os.devnull):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    print(f"\n{text}", end="")


def lines(verdict: Verdict) -> Iterator[str]:
    for run in verdict.runs:  # whose fault it is comes first
        of = f"{run.ref}: " if len(verdict.runs) > 1 else ""
        yield from (f"- {of}{answers(each)} ({len(each.tests)} tests)" for each in run.differences)
        if run.baseline:
            yield f"- {of}{run.attributions()} ({LEGEND})"
        if run.not_compared:
            yield f"- {of}failures that could not be compared: {code(run.not_compared)}"
    for run in verdict.runs:
        yield from _run(run)
    yield from ("", f"- candidate: {_image(verdict.candidate)}")
    yield from (f"- published: {_image(run.baseline)}" for run in verdict.runs if run.baseline)
    yield from ("", *(f"- {code(reason)}" for reason in verdict.reasons))
    if any(run.failed for run in verdict.runs):
        yield from ("", "Repeat the first failing test:", "", f"    {repeat(verdict)}")


def summary_line(verdict: Verdict) -> str:
    parts = []
    for run in verdict.runs:
        counts = [f"{number} {name}" for name, number in run.count().items() if number]
        if run.failed:
            counts[0] += f" ({run.attributions()})"
        parts.append(f"{run.ref}: {', '.join(counts) or 'no test'}")
    return f"{'green' if verdict.green else 'red'}: {'; '.join(parts)}"


def answers(each: Difference) -> str:
    sides = [" or ".join(map(str, side)) for side in (each.candidate, each.baseline)]
    candidate, baseline = (side or "not requested" for side in sides)
    return f"{each.route}: candidate {candidate}, published image {baseline}"


def repeat(verdict: Verdict) -> str:
    """Return the command that runs the first failing test alone, a regression if there is one."""
    failed = [(run.ref, test) for run in verdict.runs for test in run.failed]
    ref, test = min(failed, key=lambda each: each[1].attribution == "pre-existing")
    # An id with a space is cut before its parameters: all of them run.
    test_id = test.id.partition("[")[0] if " " in test.id else test.id
    here = ["-C", str(workspace.ROOT), f"EMULATOR_IMAGE={verdict.candidate.image_id}"]
    if os.environ.get("CI"):  # the reader has neither
        here = []
    command = ["make", *here, "compat", f"SAMCLI_REFS={ref}", "SAMCLI_COMPARED_REFS="]
    command += [f"SAMCLI_SOURCE={verdict.settings['samcli_source']}", f"SAMCLI_TESTS={test_id}"]
    return shlex.join([*command, "COMPAT_MIN_PASSED=1"])


def code(text: str) -> str:
    """Return text from elsewhere as a Markdown code span of one line."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line}`"


def _run(run: Run) -> Iterator[str]:
    yield ""
    yield f"### aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s"
    if run.compared:
        yield "Red only for regressions and failures that could not be compared."
    yield from ("", "| file | passed | failed | skipped |", "|---|---|---|---|")
    for file in dict.fromkeys(test.file for test in run.tests):
        count = Counter(test.outcome for test in run.tests if test.file == file)
        yield f"| {file} | {count['passed']} | {count['failed']} | {count['skipped']} |"
    yield ""
    groups = defaultdict[str, list[TestResult]](list)
    for test in run.failed:
        alike = re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "0", test.message)  # ids, ports, times differ
        groups[alike].append(test)
    for tests in groups.values():
        yield f"- {len(tests)} failed: {code(tests[0].message)}"
        yield from (f"  - {test.attribution or 'not compared'}: {code(test.id)}" for test in tests)
        yield f"  - logs: {', '.join(run.shard(tests[0].shard).logs)}"
    for test in run.tests:
        if test.flaky:
            yield f"- flaky: {code(test.id)} passed on a retry only"
        if test.outcome == "skipped":
            yield f"- skipped: {code(test.id)}: {code(test.message)}"
    yield from (f"- {note}" for note in run.notes)


def _image(image: Image) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in image.packages.items())
    about = f"version {image.version or 'unknown'}, revision {image.revision or 'unknown'}"
    where = f"{code(image.reference)} {image.image_id} ({image.platform})"
    return f"{where}, {about}, durable packages: {packages or 'unknown'}"
