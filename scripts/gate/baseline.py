"""The comparison: tests that failed, run again with the published image: whose fault is it?"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from docker import DockerClient

from gate import engine, images, registry, runner
from gate.model import (
    Attribution,
    Comparison,
    Difference,
    Image,
    Run,
    TestResult,
    repository_of,
)
from gate.programs import GateError
from gate.samcli import Checkout
from gate.settings import Settings


def compare(
    run: Run,
    settings: Settings,
    checkout: Checkout,
    candidate: Image,
    folder: Path,
) -> Comparison:
    """Run the failed tests with the published image, and return whose fault each failure is.

    If that cannot be done, every failure stays "unknown" and the verdict red; of a compared ref it
    is an error.
    """
    failed = {test.id: test for test in run.failed}
    if not failed:
        return Comparison()
    if not settings.compat_baseline:
        return Comparison(error="COMPAT_BASELINE is empty")
    print(
        f"{run.ref}: what failed again, with the published {settings.compat_baseline}"
    )
    comparison = Comparison()
    try:
        comparison.published = tag_published(
            engine.connect(), settings, candidate
        )
        other = runner.run(
            settings,
            checkout,
            comparison.published,
            folder,
            list(failed),
            published=True,
        )
    except (GateError, OSError) as error:
        # Its verdict depends on the comparison alone: it is not red for a registry or a disk.
        if run.only_regressions_count:
            raise
        comparison.error = str(error)
        return comparison
    comparison.error = "; ".join([*other.problems, *other.unexpected])
    # Another image can have answered.
    if other.unexpected:
        return comparison
    pairs = [(failed[published.id], published) for published in other.tests]
    for test, published in pairs:
        comparison.attributions[test.id] = _attribution(
            run, test, other, published
        )
    comparison.differences = differences(pairs)
    return comparison


def _attribution(
    run: Run, test: TestResult, other: Run, published: TestResult
) -> Attribution:
    """Return whose fault a failure is, by the result with the published image.

    That image must have answered too, unless the test never gets as far as starting an emulator:
    an image that does not start excuses nothing.
    """
    needs_no_emulator = not run.shard(test.shard).containers
    published_answered = (
        other.shard(published.shard).answered or needs_no_emulator
    )
    asked_nothing = test.answers and not published.answers
    if not published_answered or asked_nothing:
        return "unknown"
    if published.outcome == "passed":
        return "regression"
    return "pre-existing" if published.outcome == "failed" else "unknown"


def tag_published(
    client: DockerClient, settings: Settings, candidate: Image
) -> Image:
    """Return the published image under a tag of its own.

    No registry has that tag: aws-sam-cli tries to pull what it is given, and would replace the
    image (FACTS.md#pulls-its-tag). Raises GateError if there is nothing to compare with.
    """
    image = find_published(client, settings)
    # With another SDK in the functions the same image is worth a comparison.
    is_same = image.image_id == candidate.image_id
    if is_same and settings.compat_sdk == "released":
        name = image.reference
        raise GateError(f"no baseline: {name} is the candidate itself")
    if image.platform != candidate.platform:
        raise GateError(
            f"no baseline: {image.reference} is for {image.platform}"
        )
    tag = f"pr-baseline-{engine.short(image.image_id)}"
    reference = f"{settings.emulator_repository}:{tag}"
    client.api.tag(image.image_id, reference)
    packages = images.packages(client, image.image_id)
    return dataclasses.replace(
        image,
        reference=reference,
        packages=images.durable_versions(packages),
    )


def find_published(client: DockerClient, settings: Settings) -> Image:
    """Return the image that COMPAT_BASELINE names, pulled by its digest.

    A tag of that name here may be the user's own build: it stays, and is taken only where the
    registry cannot be reached.
    """
    published = f"{settings.emulator_repository}:{settings.compat_baseline}"
    image_id = _pull_by_digest(client, published)
    image = images.describe(client, image_id)
    return dataclasses.replace(image, reference=published)


def _pull_by_digest(client: DockerClient, published: str) -> str:
    try:
        manifest = registry.inspect(published)
        if not manifest:
            raise GateError(f"{published} is not in the registry")
        by_digest = f"{repository_of(published)}@{manifest.digest}"
        images.pull(by_digest, attempts=3)
        return engine.image_id(client, by_digest)
    except GateError as error:
        image_id = engine.image_id(client, published)
        if not image_id:
            raise GateError(
                f"no baseline: {error}, and there is no local copy"
            ) from None
        print(f"{error}; the local copy is used")
        return image_id


def differences(
    pairs: Iterable[tuple[TestResult, TestResult]],
) -> list[Difference]:
    """Return the routes with different status codes, of tests that asked both images something.

    Routes that both images were asked for come first: the others are usually consequences.
    """
    found: dict[str, Difference] = {}
    for test, published in pairs:
        if not test.answers or not published.answers:
            continue
        for route in test.answers | published.answers:
            of_candidate = test.answers.get(route, [])
            of_published = published.answers.get(route, [])
            if of_candidate != of_published:
                key = f"{route} {of_candidate} {of_published}"
                new = Difference(route, of_candidate, of_published)
                found.setdefault(key, new).tests.append(test.id)
    return sorted(
        found.values(),
        key=lambda difference: (
            _is_consequence(difference),
            -len(difference.tests),
        ),
    )


def _is_consequence(difference: Difference) -> bool:
    return not (difference.candidate_statuses and difference.published_statuses)
