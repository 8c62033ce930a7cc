"""What green means: the reasons against it. `compat` and `publish` both judge by these rules."""

from collections import Counter

from gate.containers.images import Image
from gate.verdict.model import OUTCOMES, Requirements, Run, TestResult

SHARED_TAG = "Clones of one commit share its tag: if another one moved it, set an EMULATOR_TAG in each"


def unmet(required: Requirements, candidate: Image, runs: list[Run]) -> list[str]:
    """Return every rule that does not hold, as a sentence that a reader can act on; nothing if all hold."""
    words = {word for run in runs for word in run.words}
    reasons = [f"{word}: was not run" for word in (*required.refs, *required.compared_refs) if word not in words]
    for run in runs:
        strict = not run.compared or any(word in required.refs for word in run.words)
        reasons += [f"{run.ref}: {reason}" for reason in _of_run(required, candidate, run, strict)]
    return reasons


def moved_tag(candidate: Image, image_id_now: str | None) -> list[str]:
    """Return the reason if the candidate's tag no longer names the tested image (rule 5)."""
    if image_id_now == candidate.image_id:
        return []
    now = image_id_now or "nothing"
    return [f"{candidate.reference} was moved from {candidate.image_id} to {now} during the run. {SHARED_TAG}"]


def weaker(found: Requirements, required: Requirements) -> list[str]:
    """Return each requirement of `required` that `found` lacks, nothing if it required at least as much."""
    reasons = []
    if found.samcli_source != required.samcli_source:
        reasons.append(f"aws-sam-cli came from {found.samcli_source}, not from {required.samcli_source}")
    reasons += [f"aws-sam-cli {ref} was not required" for ref in required.refs if ref not in found.refs]
    compared = (*found.compared_refs, *found.refs)
    reasons += [f"aws-sam-cli {ref} was not compared" for ref in required.compared_refs if ref not in compared]
    required_tests = (test for test in required.tests if not any(covers(entry, test) for entry in found.tests))
    reasons += [f"{test} was not required" for test in required_tests]
    if found.min_passed < required.min_passed:
        reasons.append(f"COMPAT_MIN_PASSED was {found.min_passed}; {required.min_passed} is committed")
    if found.reruns > required.reruns:
        reasons.append(f"COMPAT_RERUNS was {found.reruns}; {required.reruns} is committed")
    if found.version != required.version:  # an older one may have looked at less
        reasons.append(f"it was judged by version {found.version or 'unknown'} of the gate; this is {required.version}")
    if found.baseline != required.baseline:  # a worse one would make regressions pre-existing
        reasons.append(f"COMPAT_BASELINE was {found.baseline or 'empty'}; {required.baseline or 'empty'} is committed")
    return reasons


def _of_run(required: Requirements, candidate: Image, run: Run, strict: bool) -> list[str]:
    if not run.uses_image:  # nothing of it has run, and no image could break it
        own = f"aws-sam-cli {run.version} brings an emulator of its own and does not use the image"
        return [own] if strict else []
    passed = [test for test in run.tests if test.outcome == "passed"]
    reasons = list(run.problems)  # rule 1, and files that do not exist (rule 2)
    if unknown := sorted({test.outcome for test in run.tests} - set(OUTCOMES)):
        reasons.append(f"invalid test outcomes: {', '.join(unknown)}")
    if strict:
        reasons += _strict(required, run, passed)
    else:
        reasons += [] if passed else [f"no test passed ({_outcomes(run.tests)})"]
        worse = Counter(test.attribution or "unknown" for test in run.failed if test.attribution != "pre-existing")
        reasons += [f"{number} of {len(run.tests)} tests failed: {name}" for name, number in sorted(worse.items())]
    return reasons + _evidence(candidate, run, passed)


def _strict(required: Requirements, run: Run, passed: list[TestResult]) -> list[str]:
    """Rules 2 and 3: no test failed, every entry has a pass, enough tests of the entries passed."""
    reasons = []
    if run.failed:
        whose = run.attributions()
        reasons.append(f"{len(run.failed)} of {len(run.tests)} tests failed{f': {whose}' if whose else ''}")
    reasons += [
        f"{entry}: no test passed ({_outcomes([test for test in run.tests if covers(entry, test.id)])})"
        for entry in required.tests
        if not any(covers(entry, test.id) for test in passed)
    ]
    counted = {test.id for test in passed if any(covers(entry, test.id) for entry in required.tests)}
    if (number := len(counted)) < required.min_passed:
        reasons.append(f"Only {number} tests passed; COMPAT_MIN_PASSED requires {required.min_passed}")
    return reasons


def _evidence(candidate: Image, run: Run, passed: list[TestResult]) -> list[str]:
    """Rule 4: what passed, passed against the candidate."""
    reasons = []
    for file in dict.fromkeys(test.file for test in passed):  # not by shard: a test of it may need no emulator
        names = {test.shard for test in passed if test.file == file}
        started = [shard for shard in run.shards if shard.name in names and shard.containers.get(candidate.image_id)]
        if not started:
            reasons.append(f"{file}: no shard started a container of the candidate: its tests used something else")
        reasons += [
            f"shard {shard.name}: every container of the candidate exited before it answered a request"
            for shard in started
            if shard.served < 1
        ]
    others = {image: number for image, number in run.containers().items() if image != candidate.image_id}
    unexpected = run.unexpected or [f"{number} containers from {image}" for image, number in others.items()]
    return reasons + [f"another image of {candidate.repository} ran: {container}" for container in unexpected]


def covers(entry: str, test_id: str) -> bool:
    """Return whether an entry of SAMCLI_TESTS (a path, a class or a test) names a test."""
    return test_id == entry or test_id.startswith((f"{entry}::", f"{entry}["))


def _outcomes(tests: list[TestResult]) -> str:
    outcomes = Counter(test.outcome for test in tests)
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())) or "no results"
