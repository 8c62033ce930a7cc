"""What green means: the reasons against it. `compat` and `publish` both judge by these rules."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from gate.images import Image, repository_of
from gate.model import Run, listed


def reasons_against(required: dict[str, Any], candidate: Image, runs: list[Run]) -> list[str]:
    tested = {word for run in runs for word in run.requested_as}
    words = (*required["samcli_refs"], *required["samcli_compared_refs"])
    reasons = [f"aws-sam-cli {word} was not tested" for word in words if word not in tested]
    for run in runs:
        strict = not run.compared or set(run.requested_as) & set(required["samcli_refs"])
        rules = _strict(required, run) if strict else _compared(run)
        of_run = (*run.problems, *rules, *_evidence(candidate, run))  # the first are rule 1
        reasons += [f"{run.ref}: {reason}" for reason in of_run]
    return reasons


def missing_requirements(found: dict[str, Any], required: dict[str, Any]) -> list[str]:
    reasons = []
    for name, value in required.items():
        had = found[name]
        if name == "samcli_compared_refs":
            had = [*had, *found["samcli_refs"]]
        if name == "compat_min_passed":
            enough = had >= value
        elif name == "compat_reruns":
            enough = had <= value
        elif isinstance(value, str):  # a worse baseline would make regressions pre-existing
            enough = had == value
        else:
            enough = all(any(covers(each, word) for each in had) for word in value)
        if not enough:
            was, must = (v if isinstance(v, int | str) else " ".join(v) for v in (had, value))
            reasons.append(f"{name.upper()} was {was} in the run; {must} is required")
    return reasons


def covers(entry: str, test_id: str) -> bool:
    """Return whether an entry of SAMCLI_TESTS (a path, a class or a test) names a test."""
    return test_id == entry or test_id.startswith((f"{entry}::", f"{entry}["))


def _strict(required: dict[str, Any], run: Run) -> Iterator[str]:
    """Rules 2 and 3: no test failed, every entry has a pass, enough tests of them passed."""
    if run.failed:
        yield f"{len(run.failed)} of {len(run.tests)} tests failed: {run.attributions()}"
    counted = set()
    for entry in required["samcli_tests"]:
        tests = [test for test in run.tests if covers(entry, test.id)]
        passed = {test.id for test in tests if test.outcome == "passed"}
        counted |= passed
        if not passed:
            yield f"{entry}: no test passed ({listed(test.outcome for test in tests)})"
    least = required["compat_min_passed"]
    if len(counted) < least:
        yield f"Only {len(counted)} tests passed; COMPAT_MIN_PASSED requires {least}"


def _compared(run: Run) -> Iterator[str]:
    """Rules 2 and 3 for SAMCLI_COMPARED_REFS: some passed, what failed is pre-existing."""
    if not any(test.outcome == "passed" for test in run.tests):
        yield f"no test passed ({listed(test.outcome for test in run.tests)})"
    worse = Counter(test.attribution or "unknown" for test in run.failed)
    del worse["pre-existing"]
    for name, number in sorted(worse.items()):
        yield f"{number} of {len(run.tests)} tests failed: {name}"


def _evidence(candidate: Image, run: Run) -> Iterator[str]:
    """Rule 4: what passed, passed against the candidate. By file: a test may need no emulator."""
    passed = [test for test in run.tests if test.outcome == "passed"]
    for file in dict.fromkeys(test.file for test in passed):
        shards = [run.shard(test.shard) for test in passed if test.file == file]
        started = [shard for shard in shards if candidate.image_id in shard.containers]
        if not started:
            yield f"{file}: its tests passed, but no container of the candidate was started"
        elif not any(shard.answered for shard in started):
            yield f"{file}: every container of the candidate ended before it answered a request"
    for other in run.unexpected:
        yield f"another image of {repository_of(candidate.reference)} ran: {other}"
