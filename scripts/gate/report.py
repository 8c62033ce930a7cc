"""The report: one Markdown text, printed, saved as summary.md and shown on the job's page."""

import itertools
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from gate import workspace
from gate.model import Difference, Image, Run, TestResult, Verdict, plural
from gate.programs import one_line
from gate.settings import PUBLISHED

LEGEND = (
    "regression: passes with the published image; pre-existing: fails there too"
)


def show(verdict: Verdict) -> None:
    """Print the report, and append it to summary.md and to the job's page."""
    last_line = summary_line(verdict)
    text = "\n".join([*lines(verdict), "", last_line, ""])
    folder = workspace.results_folder(verdict.candidate.platform)
    workspace.append_text(folder / workspace.SUMMARY, text)
    print(f"\n{text}", end="")
    workspace.add_to_job_page(text)
    # A green run of a compared ref can have failures that are pre-existing.
    if os.environ.get("GITHUB_ACTIONS") and not verdict.green:
        for line in itertools.islice(annotations(verdict), 3):
            print(f"::error title=sam-cli compat::{line}")


def annotations(verdict: Verdict) -> Iterator[str]:
    """Yield what GitHub shows on the pull request's page: what differs, what failed, or why."""
    for run in verdict.runs:
        for difference in run.comparison.differences:
            yield escaped(f"{run.ref}: {statuses(difference)}")
        # What the candidate broke comes before what was broken.
        failed = sorted(
            run.failed,
            key=lambda test: run.attribution_of(test) == "pre-existing",
        )
        for test in failed:
            failure = f"{run.attribution_of(test)}: {test.id}: {test.message}"
            yield escaped(f"{run.ref}: {failure}")
    yield from map(escaped, verdict.reasons)


def escaped(text: str) -> str:
    """Return text from elsewhere as one line of a workflow command."""
    return one_line(text).replace("%", "%25")


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield the report without its last line: first whose fault it is, then each run."""
    for run in verdict.runs:
        ref = f"{run.ref}: " if len(verdict.runs) > 1 else ""
        comparison = run.comparison
        for difference in comparison.differences:
            yield f"- {ref}{statuses(difference)} ({plural(len(difference.tests), 'test')})"
        if comparison.attributions:
            yield f"- {ref}{run.attributions()} ({LEGEND})"
        if comparison.error:
            yield f"- {ref}failures that could not be compared: {code(comparison.error)}"
    for run in verdict.runs:
        yield from _run_section(run)
    candidate = f"{_image(verdict.candidate)}, {_functions_sdk(verdict)}"
    yield from ("", f"- candidate: {candidate}")
    for run in verdict.runs:
        if run.comparison.published:
            yield f"- published: {_image(run.comparison.published)}"
    yield ""
    for run in verdict.runs:
        versions = [
            f"{name} {version}" for name, version in run.versions.items()
        ]
        yield f"- versions with {run.ref}: {code(', '.join(versions))}"
    if verdict.reasons:
        yield from ("", "Why it is red:", "")
    for reason in verdict.reasons:
        yield f"- {code(reason)}"
    yield from _repeat(verdict)


def summary_line(verdict: Verdict) -> str:
    """Return such as "red: develop: 2 failed (1 pre-existing, 1 regression), 38 passed".

    A verdict that is red without a failure ends with the first reason.
    """
    parts = []
    for run in verdict.runs:
        counts = [
            f"{number} {name}"
            for name, number in run.counts().items()
            if number
        ]
        if run.failed:
            counts[0] += f" ({run.attributions()})"
        parts.append(f"{run.ref}: {', '.join(counts) or 'no test'}")
    line = "; ".join(parts)
    if verdict.green:
        return f"green: {line}"
    # Where nothing failed, the counts do not say why.
    has_failed = any(run.failed for run in verdict.runs)
    return (
        f"red: {line}" if has_failed else f"red: {line}; {verdict.reasons[0]}"
    )


def statuses(difference: Difference) -> str:
    """Return such as "GET /x/{}: candidate 404, published image 200 or 500"."""
    candidate = _either(difference.candidate_statuses)
    published = _either(difference.published_statuses)
    return f"{difference.route}: candidate {candidate}, published image {published}"


def _either(statuses: list[int]) -> str:
    return " or ".join(map(str, statuses)) or "not requested"


def _repeat(verdict: Verdict) -> Iterator[str]:
    """Yield the commands that run the first failing test, or all of them, alone."""
    failed = [(run, test) for run in verdict.runs for test in run.failed]
    if not failed:
        return
    regressions = [
        (run, test)
        for run, test in failed
        if run.attribution_of(test) != "pre-existing"
    ]
    run, test = (regressions or failed)[0]
    yield from ("", "Repeat the first failing test:", "")
    yield f"    {repeat(verdict, run, [test])}"
    for run in verdict.runs:
        if len(run.failed) > 1:
            yield from ("", f"Repeat all that failed with {run.ref}:", "")
            yield f"    {repeat(verdict, run, run.failed)}"


def repeat(verdict: Verdict, run: Run, tests: list[TestResult]) -> str:
    """Return the command that runs some tests of one aws-sam-cli with the same candidate."""
    # SAMCLI_TESTS is separated by spaces: cut the parameters off an id that has one, so that all
    # of its cases run.
    ids = [
        test.id.partition("[")[0] if " " in test.id else test.id
        for test in tests
    ]
    command = ["make"]
    image = verdict.candidate.image_id
    if os.environ.get("EMULATOR_IMAGE") == PUBLISHED:
        image = PUBLISHED
    # The reader of a CI job has neither this folder nor this image, but for the published one.
    in_ci = bool(os.environ.get("CI"))
    if not in_ci:
        command += ["-C", str(workspace.ROOT)]
    if image == PUBLISHED or not in_ci:
        command.append(f"EMULATOR_IMAGE={image}")
    command += [
        "compat",
        f"SAMCLI_REFS={run.ref}@{run.commit}",
        "SAMCLI_COMPARED_REFS=",
        f"SAMCLI_SOURCE={verdict.requirements.samcli_source}",
        f"SAMCLI_TESTS={' '.join(dict.fromkeys(ids))}",
        "COMPAT_MIN_PASSED=1",
    ]
    if verdict.requirements.compat_sdk != "released":
        command.append(f"COMPAT_SDK={verdict.requirements.compat_sdk}")
    return shlex.join(command)


def code(text: str) -> str:
    """Return text from elsewhere as a Markdown code span of one line."""
    line = one_line(text).replace("`", "'")
    return f"`{line}`"


def _run_section(run: Run) -> Iterator[str]:
    yield ""
    yield f"### aws-sam-cli {run.version} ({run.ref}, {run.commit[:12]}), {run.seconds:.0f} s"
    if run.only_regressions_count:
        yield "Red only for regressions and failures that could not be compared."
    yield from ("", "| file | passed | failed | skipped |", "|---|---|---|---|")
    for file in dict.fromkeys(test.file for test in run.tests):
        outcomes = [test.outcome for test in run.counted if test.file == file]
        count = Counter(outcomes)
        yield f"| {file} | {count['passed']} | {count['failed']} | {count['skipped']} |"
    yield ""
    yield from _failures(run)
    outcome_by_id = {test.id: test.outcome for test in run.tests}
    for test_id, day in run.set_aside.items():
        outcome = outcome_by_id.get(test_id, "not run")
        yield f"- set aside until {day}: {code(test_id)}: {outcome}"
    for test in run.tests:
        if test.flaky:
            yield f"- flaky: {code(test.id)} passed on a retry only"
        if test.outcome == "skipped":
            yield f"- skipped: {code(test.id)}: {code(test.message)}"
    for note in run.notes:
        yield f"- {code(note)}"


def _failures(run: Run) -> Iterator[str]:
    """Yield the failed tests, those with the same message together."""
    groups = defaultdict[str, list[TestResult]](list)
    for test in run.failed:
        # Ids, ports and times differ.
        alike = re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "0", test.message)
        groups[alike].append(test)
    for tests in groups.values():
        yield f"- {len(tests)} failed: {code(tests[0].message)}"
        for test in tests:
            yield f"  - {run.attribution_of(test)}: {code(test.id)}"
        yield f"  - logs: {', '.join(run.shard(tests[0].shard).logs)}"


def _functions_sdk(verdict: Verdict) -> str:
    """Return which SDK the functions under test had: it can break them as the emulator can."""
    versions = [
        version
        for run in verdict.runs
        for name, version in run.versions.items()
        if name.startswith("functions' ")
    ]
    is_source = verdict.requirements.compat_sdk == "source"
    origin = "of this commit" if is_source else "from the index"
    found = ", ".join(dict.fromkeys(versions)) or "unknown"
    return f"SDK in the functions: {code(found)} {origin}"


def _image(image: Image) -> str:
    packages = ", ".join(
        f"{name} {version}" for name, version in image.packages.items()
    )
    return (
        f"{code(image.reference)} {image.image_id} ({image.platform}), "
        f"version {image.version or 'unknown'}, revision {image.revision or 'unknown'}, "
        f"durable packages: {code(packages or 'unknown')}"
    )


def note_changes(verdict: Verdict) -> None:
    """Note in each run which versions are others than in the last green one of its ref here.

    The verdict is not changed on disk: another machine has another history.
    """
    for run in verdict.runs:
        now = _versions(verdict, run)
        before = workspace.read_json(_last_green(verdict, run))
        changes = [
            f"{name} {before[name]} -> {version}"
            for name, version in now.items()
            if name in before and before[name] != version
        ]
        if changes:
            run.notes.append(
                f"since the last green run here: {', '.join(changes)}"
            )


def keep_if_green(verdict: Verdict) -> None:
    """Keep the versions of a green verdict, for `note_changes` of a later one."""
    if not verdict.green:
        return
    for run in verdict.runs:
        path = _last_green(verdict, run)
        workspace.write_json(path, _versions(verdict, run))


def _last_green(verdict: Verdict, run: Run) -> Path:
    name = workspace.file_name(f"{verdict.candidate.platform}-{run.ref}")
    return workspace.CACHE / "green" / f"{name}.json"


def _versions(verdict: Verdict, run: Run) -> dict[str, str]:
    of_image = {
        f"image's {name}": version
        for name, version in verdict.candidate.packages.items()
    }
    return {"aws-sam-cli": run.commit[:12]} | run.versions | of_image
