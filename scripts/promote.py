"""make promote VERSION=1.2.1: point `latest` at a version that was published here, up or down."""

import json
import os
import re

from gate import registry
from gate.cli import run_main
from gate.programs import GateError, call
from gate.settings import load

# Of the attestations in ecr-release.yml.
PREDICATE_TYPE = "urn:sam-cli-compat:verdict"


def main() -> int:
    """Move `latest` if the version has a signed green verdict for each of its platforms."""
    settings = load()
    version = os.environ.get("VERSION", "")
    if not version:
        raise GateError("VERSION is empty: `make promote VERSION=1.2.1`")
    repository = settings.publish_repository or settings.emulator_repository
    wanted = registry.inspect(f"{repository}:v{version}")
    if not wanted:
        raise GateError(
            f"VERSION={version}: {repository} has no tag v{version}"
        )
    image = f"{repository}@{wanted.digest}"
    verified = verified_platforms(image, version)
    missing = ", ".join(wanted.members.keys() - verified)
    if missing or not verified:
        raise GateError(
            f"{image} has no green verdict of {version} for {missing or 'it'}"
        )
    latest = f"{repository}:latest"
    before = " ".join(registry.versions(latest)) or "nothing"
    registry.point(latest, [wanted.digest], lambda manifest: manifest == wanted)
    print(f"{latest}: from {before} to {version}")
    return 0


def verified_platforms(image: str, version: str) -> set[str]:
    """Return the platforms for which this repository's release workflow signed a green verdict."""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    repository = os.environ.get("GITHUB_REPOSITORY", "")
    workflow = (
        f"{server}/{repository}/.github/workflows/ecr-release.yml@refs/tags/"
    )
    owner = repository or "GITHUB_REPOSITORY"
    printed = call(
        [
            "gh",
            "attestation",
            "verify",
            f"oci://{image}",
            f"--repo={repository}",
            f"--cert-identity-regex=^{re.escape(workflow)}",
            f"--predicate-type={PREDICATE_TYPE}",
            "--deny-self-hosted-runners",
            "--format=json",
        ],
        failure=f"{image}: no attestation by the release workflow of {owner}",
    )
    platforms = set()
    for attestation in json.loads(printed):
        verdict = attestation["verificationResult"]["statement"]["predicate"]
        candidate = verdict["candidate"]
        if verdict["green"] and candidate["version"] == version:
            platforms.add(candidate["platform"])
    return platforms


if __name__ == "__main__":
    run_main(main)
