"""The comparison: tests that failed, run again with the published image: whose fault is it?"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from gate import engine, images, runner
from gate.cli import GateError
from gate.images import Image
from gate.model import Difference, Run, TestResult
from gate.samcli import Checkout
from gate.settings import Settings

ATTRIBUTION = {"passed": "regression", "failed": "pre-existing"}  # by the published image's result


def attribute(
    settings: Settings, checkout: Checkout, candidate: Image, folder: Path, run: Run
) -> None:
    """Run what failed with COMPAT_BASELINE too. After an error the verdict stays, and is red."""
    failed = {test.id: test for test in run.failed}
    if not failed or not settings.compat_baseline:
        return
    for test in failed.values():
        test.attribution = "unknown"
    print(f"{run.ref}: what failed again, with the published {settings.compat_baseline}")
    try:
        run.baseline = pull_published(settings, candidate)
        other = runner.run(settings, checkout, run.baseline, folder, list(failed))
    except (GateError, OSError) as error:
        run.not_compared = str(error)
        return
    run.not_compared = "; ".join([*other.problems, *other.unexpected])
    if other.unexpected:  # another image of the repository
        return
    pairs = [(failed[same.id], same) for same in other.tests]
    for test, same in pairs:
        # The published image must have answered too, unless the test fails before any emulator.
        needed = run.shard(test.shard).containers
        answered = other.shard(same.shard).answered or not needed
        if answered and (same.requests or not test.requests):
            test.attribution = ATTRIBUTION.get(same.outcome, "unknown")
    run.differences = differences(pairs)


def pull_published(settings: Settings, candidate: Image) -> Image:
    client = engine.connect()
    published = f"{settings.emulator_repository}:{settings.compat_baseline}"
    try:
        images.pull(published)
    except GateError as error:
        if not engine.image_id(client, published):
            raise GateError(f"no baseline: {error}, and there is no local copy") from None
        print(f"{error}; the local copy is used")
    image_id = engine.image_id(client, published)
    if image_id == candidate.image_id:
        raise GateError(f"no baseline: {published} is the candidate itself")
    # A tag that no registry has: aws-sam-cli pulls what it is given (fact 3).
    reference = f"{settings.emulator_repository}:pr-baseline-{engine.short(image_id)}"
    client.api.tag(image_id, reference)
    found = images.describe(client, reference)
    if found.platform != candidate.platform:
        raise GateError(f"no baseline: {published} is for {found.platform}")
    return dataclasses.replace(found, packages=images.packages(image_id))


def differences(pairs: Iterable[tuple[TestResult, TestResult]]) -> list[Difference]:
    """Return what differs, first what both were asked for, since the rest follows from that."""
    found: dict[str, Difference] = {}
    for test, same in pairs:
        if not (test.requests and same.requests):
            continue
        candidate, baseline = _statuses(test), _statuses(same)
        for route in candidate | baseline:
            new = Difference(route, sorted(candidate[route]), sorted(baseline[route]))
            if new.candidate != new.baseline:
                found.setdefault(str(new), new).tests.append(test.id)
    return sorted(found.values(), key=lambda e: (not (e.candidate and e.baseline), -len(e.tests)))


def _statuses(test: TestResult) -> dict[str, set[int]]:
    found = defaultdict[str, set[int]](set)
    for answer in test.requests:
        route, _, status = answer.rpartition(" ")
        found[route].add(int(status))
    return found
