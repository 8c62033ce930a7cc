"""Whose fault: the tests that failed, run again against the published image."""

import dataclasses
from collections import defaultdict

import docker

from gate.cli import GateError
from gate.containers import engine, images
from gate.containers.images import Image
from gate.settings import Settings
from gate.sources.samcli import Checkout
from gate.suite import runner
from gate.verdict.model import Difference, Run, TestResult

ATTRIBUTION = {"passed": "regression", "failed": "pre-existing"}  # by what a failed test does against the baseline
# Seconds for one shard. A test that fails in time with the candidate needs no longer here, and one that hangs with
# both images must not take COMPAT_TIMEOUT twice.
TIMEOUT = 600


def attribute(client: docker.DockerClient, settings: Settings, candidate: Image, checkout: Checkout, run: Run) -> None:
    """Attribute each failed test of a run: regression, pre-existing or unknown, and note what was answered otherwise.

    A regression passes against COMPAT_BASELINE; a test that fails there too is pre-existing: aws-sam-cli or a package
    it installs changed, not the candidate. Does nothing if nothing failed or COMPAT_BASELINE is empty.
    """
    if not run.failed or not settings.compat_baseline:
        return
    for test in run.failed:
        test.attribution = "unknown"
    try:
        baseline = image(client, settings, candidate)
        run.baseline = baseline
        print(f"running {len(run.failed)} failed tests against {settings.compat_baseline}", flush=True)
        plan = runner.Plan(
            tests=[test.id for test in run.failed],
            label=f"{checkout.slug}-baseline",
            reruns=0,
            timeout=min(settings.compat_timeout, TIMEOUT),
        )
        found = runner.run(client, settings, checkout, baseline, plan)
    except (GateError, OSError, *engine.ERRORS) as error:  # the verdict is red already and must not be lost
        run.unattributed = f"no baseline: {error}"
        return
    if not found.containers().get(baseline.image_id):
        found.problems.append(f"no container of {baseline.reference} was started")
    if found.unexpected:
        run.unattributed = f"no baseline: {'; '.join(found.unexpected)}"
        return
    results = {test.id: test for test in found.tests}
    for test in run.failed:
        if test.id in results:
            test.attribution = ATTRIBUTION.get(results[test.id].outcome, "unknown")
    run.unattributed = "; ".join(found.problems)
    run.differences = differences(run.failed, results)
    known = set(found.errors)
    run.errors = {error: number for error, number in run.errors.items() if error not in known}


def image(client: docker.DockerClient, settings: Settings, candidate: Image) -> Image:
    """Return the baseline: the newest, else the engine's own. Raises GateError if there is none.

    It gets a tag that no registry has, since the suite pulls the one that it uses.
    """
    published = f"{settings.emulator_repository}:{settings.compat_baseline}"
    try:
        images.pull(published, f"{published} cannot be pulled")
    except GateError as error:
        if not engine.image_id(client, published):
            raise GateError(f"{error}, and the engine has none") from None
        print(f"{error}; the engine's own is used", flush=True)
    found = images.describe(client, published)
    if found.config_digest == candidate.config_digest:
        raise GateError(f"{published} is the candidate itself")
    tag = f"pr-baseline-{engine.short(found.image_id)}"
    client.images.get(found.image_id).tag(settings.emulator_repository, tag)
    packages = images.packages(client, found.image_id)
    return dataclasses.replace(found, reference=f"{settings.emulator_repository}:{tag}", packages=packages)


def differences(failed: list[TestResult], baseline: dict[str, TestResult]) -> list[Difference]:
    """Return the routes whose answers differ between the two images in tests that failed, the most frequent first.

    Routes that both images were asked for come first; others follow from those.
    """
    found: dict[tuple[str, ...], Difference] = {}
    for test in failed:
        if not (other := baseline.get(test.id)) or not (test.requests and other.requests):
            continue
        statuses: dict[tuple[str, str], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for side, result in enumerate((test, other)):
            for request in result.requests:
                statuses[request.method, request.route][side].add(request.status)
        for (method, route), (with_candidate, with_baseline) in statuses.items():
            if with_candidate != with_baseline:
                key = (method, route, str(sorted(with_candidate)), str(sorted(with_baseline)))
                example = next((r.example for r in test.requests if (r.method, r.route) == (method, route)), "")
                new = Difference(method, route, sorted(with_candidate), sorted(with_baseline), [], example)
                found.setdefault(key, new).tests.append(test.id)
    return sorted(found.values(), key=lambda each: (not (each.candidate and each.baseline), -len(each.tests)))
