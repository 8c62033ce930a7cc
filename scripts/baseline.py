"""Whose fault: the tests that failed, run again against the published image."""

import docker

import engine
import trial
from candidate import Candidate
from command import GateError, call
from config import Config
from samcli import Checkout
from verdict import Case

ATTRIBUTION = {"passed": "regression", "failed": "pre-existing"}  # by what a failed test does against the baseline


def attribute(
    client: docker.DockerClient, config: Config, candidate: Candidate, checkout: Checkout, cases: list[Case]
) -> str:
    """Say of each failed test whether it is a regression, pre-existing or unknown; return why some are unknown.

    A regression passes against COMPAT_BASELINE; a test that fails there too is pre-existing: aws-sam-cli or its
    dependencies moved, not the candidate. Nothing is run if nothing failed
    or COMPAT_BASELINE is empty.
    """
    failed = {f"{case.file}::{case.name}": case for case in cases if case.outcome == "failed"}
    if not failed or not config.compat_baseline:
        return ""
    for case in failed.values():
        case.attribution = "unknown"
    try:
        image_id, reference = image(client, config, candidate)
        print(f"running {len(failed)} failed tests against {config.compat_baseline}", flush=True)
        found = trial.run(
            client,
            config,
            checkout,
            image_id=image_id,
            reference=reference,
            tests=list(failed),
            label=f"{checkout.slug}-baseline",
        )
    except (GateError, OSError, *engine.ERRORS) as error:  # a verdict that is red already must not be lost
        return f"no baseline: {error}"
    if not found.containers.get(image_id):
        found.problems.append(f"no container of {reference} was started")
    if found.problems or found.strangers:
        return f"no baseline: {'; '.join(found.problems + found.strangers)}"
    for case in found.cases:
        if not case.flaky and case.outcome in ATTRIBUTION:
            failed[f"{case.file}::{case.name}"].attribution = ATTRIBUTION[case.outcome]
    unsteady = [case.name for case in found.cases if case.flaky or case.outcome not in ATTRIBUTION]
    return f"against the baseline skipped, or passed on a retry only: {', '.join(unsteady)}" if unsteady else ""


def image(client: docker.DockerClient, config: Config, candidate: Candidate) -> tuple[str, str]:
    """Return id and reference of the baseline: the newest, else the engine's own. Raises GateError if there is none.

    It gets a tag that no registry has, since the suite pulls the one it is told to use.
    """
    published = f"{config.emulator_repository}:{config.compat_baseline}"
    try:
        call(["docker", "pull", "--quiet", published], failure=f"{published} cannot be pulled")
    except GateError as error:
        if not engine.image_id(client, published):
            raise GateError(f"{error}, and the engine has none") from None
        print(f"{error}; the engine's own is used", flush=True)
    image_id = engine.image_id(client, published) or ""
    if image_id == candidate.image_id:
        raise GateError(f"{published} is the candidate itself")
    tag = f"pr-baseline-{engine.short(image_id)}"
    client.images.get(image_id).tag(config.emulator_repository, tag)
    return image_id, f"{config.emulator_repository}:{tag}"
