"""The five rules of a green verdict. `make compat` and `make publish` both judge by them.

1. Every pytest process ended by itself, with exit code 0 or with 1 and a failed test, and reported
   a result for each collected test.
2. Every entry of SAMCLI_TESTS existed and had a test that passed, unless all of its tests are set
   aside; no test failed.
3. At least COMPAT_MIN_PASSED tests passed, and at least one. Skipped tests are named and do not
   count.
4. For each file with a passed test the candidate was started, by image id, and answered. No other
   image can have answered: none ran under a shard's own container name or on a shard's port.
5. The candidate's tag still names the tested image at the end.

For SAMCLI_COMPARED_REFS, rules 2 and 3 are: the tests ran, some passed, and no failure is a
regression or unknown.
"""

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from gate.model import (
    Image,
    Requirements,
    Run,
    TestResult,
    Verdict,
    plural,
    tally,
)
from gate.settings import Words, known_failure


def reasons_against(required: Requirements, verdict: Verdict) -> list[str]:
    """Return each way in which the runs break a rule, in words that a reader can act on."""
    tested = {word for run in verdict.runs for word in run.requested_as}
    words = required.samcli_refs + required.samcli_compared_refs
    reasons = [
        f"aws-sam-cli {word} was not tested"
        for word in words
        if word not in tested
    ]
    for run in verdict.runs:
        # What is set aside depends on the day, and on who judges.
        run = replace(run, set_aside=set_aside(required.samcli_known_failures))
        strict = not run.only_regressions_count or any(
            word in required.samcli_refs for word in run.requested_as
        )
        # Rule 1: the runner noted these as problems.
        broken = list(run.problems)
        broken += _strict(required, run) if strict else _only_regressions(run)
        broken += _evidence(verdict.candidate, run)
        reasons += [f"{run.ref}: {reason}" for reason in broken]
    reasons += _tag_moved(verdict)
    return reasons


def set_aside(known_failures: Words) -> dict[str, str]:
    """Return the last day of each entry of SAMCLI_KNOWN_FAILURES that is not over, by test id."""
    today = datetime.now(UTC).date()
    days = dict(map(known_failure, known_failures))
    return {test_id: str(day) for test_id, day in days.items() if day >= today}


def _strict(required: Requirements, run: Run) -> Iterator[str]:
    """Rules 2 and 3 for SAMCLI_REFS."""
    if run.failed:
        yield f"{len(run.failed)} of {len(run.counted)} tests failed: {run.attributions()}"
    passed = set()
    for entry in required.samcli_tests:
        tests = [test for test in run.counted if covers(entry, test.id)]
        of_entry = {test.id for test in tests if test.outcome == "passed"}
        # All of an entry can be set aside: start_api's file has one test.
        is_set_aside = not tests and any(
            covers(entry, test_id) for test_id in run.set_aside
        )
        if not of_entry and not is_set_aside:
            yield f"{entry}: no test passed ({tally(test.outcome for test in tests)})"
        passed |= of_entry
    least = max(required.compat_min_passed, 1)
    if len(passed) < least:
        yield f"only {plural(len(passed), 'test')} passed; COMPAT_MIN_PASSED requires {least}"


def _only_regressions(run: Run) -> Iterator[str]:
    """Rules 2 and 3 for SAMCLI_COMPARED_REFS."""
    if not _passed(run):
        yield f"no test passed ({tally(test.outcome for test in run.counted)})"
    number = Counter(run.attribution_of(test) for test in run.failed)
    for attribution in ("regression", "unknown"):
        if number[attribution]:
            yield f"{number[attribution]} of {len(run.counted)} tests failed: {attribution}"


def _evidence(candidate: Image, run: Run) -> Iterator[str]:
    """Rule 4. Judged for each file, since a single test may need no emulator."""
    passed = _passed(run)
    for file in dict.fromkeys(test.file for test in passed):
        shards = [run.shard(test.shard) for test in passed if test.file == file]
        started = [
            shard for shard in shards if candidate.image_id in shard.containers
        ]
        if not started:
            yield f"{file}: its tests passed, but no container of the candidate was started"
        elif not any(shard.answered for shard in started):
            yield f"{file}: every container of the candidate ended before it answered a request"
    for container in run.unexpected:
        yield f"another image can have answered: {container}"


def _tag_moved(verdict: Verdict) -> Iterator[str]:
    """Rule 5. Another clone that uses the same tag would have tested its own image."""
    candidate = verdict.candidate
    at_end = verdict.image_id_at_end
    if at_end != candidate.image_id:
        moved = f"{candidate.reference} was moved from {candidate.image_id} to {at_end}"
        yield f"{moved}: does another clone use this tag? Set EMULATOR_TAG there"


def _passed(run: Run) -> list[TestResult]:
    return [test for test in run.counted if test.outcome == "passed"]


def covers(entry: str, test_id: str) -> bool:
    """Return whether an entry of SAMCLI_TESTS (a path, a class or a test) names a test."""
    return test_id == entry or test_id.startswith((f"{entry}::", f"{entry}["))


def _none_is_missing(used: Words, required: Words) -> bool:
    return set(required) <= set(used)


def _none_is_new(used: Words, required: Words) -> bool:
    return set(used) <= set(required)


def _each_is_covered(used: Words, required: Words) -> bool:
    return all(any(covers(entry, word) for entry in used) for word in required)


# Whether what a run used is at least as strict as what is required.
AS_STRICT: dict[str, Callable[[Any, Any], bool]] = {
    "samcli_source": operator.eq,
    "samcli_refs": _none_is_missing,
    "samcli_compared_refs": _none_is_missing,
    "samcli_tests": _each_is_covered,
    # A release sets none aside.
    "samcli_known_failures": _none_is_new,
    "compat_sdk": operator.eq,
    "compat_min_passed": operator.ge,
    "compat_reruns": operator.le,
    # With a worse image to compare with, a regression would be pre-existing.
    "compat_baseline": operator.eq,
}


def missing_requirements(
    used: Requirements, required: Requirements
) -> list[str]:
    """Return each requirement that a run lacked or weakened."""
    reasons = []
    for each in fields(Requirements):
        of_run = getattr(used, each.name)
        value = getattr(required, each.name)
        # What had to pass was compared, too.
        comparable = (
            of_run + used.samcli_refs
            if each.name == "samcli_compared_refs"
            else of_run
        )
        if not AS_STRICT[each.name](comparable, value):
            was = f"{each.name.upper()} was {_in_words(of_run)} in the run"
            reasons.append(f"{was}; {_in_words(value)} is required")
    return reasons


def _in_words(value: str | int | Words) -> str:
    text = " ".join(value) if isinstance(value, list) else str(value)
    return text or "empty"
