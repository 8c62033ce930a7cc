"""make promote VERSION=1.2.1: point `latest` at a version that was published here, up or down."""

import json
import os
import re

from gate import registry
from gate.cli import GateError, call, run_main
from gate.settings import load


def main() -> int:
    settings = load()
    version = os.environ.get("VERSION", "")
    repository = settings.publish_repository or settings.emulator_repository
    wanted = registry.inspect(f"{repository}:v{version}")
    if not wanted:
        raise GateError(f"VERSION={version}: {repository} has no tag v{version}")
    source, latest = f"{repository}@{wanted.digest}", f"{repository}:latest"
    passed = verified(source, version)
    missing = ", ".join(wanted.members.keys() - passed)
    if missing or not passed:
        raise GateError(f"{source} has no green verdict of {version} for {missing or 'it'}")
    before = " ".join(registry.versions(latest)) or "nothing"
    registry.point(latest, [wanted.digest], lambda found: found == wanted)
    print(f"{latest}: from {before} to {version}")
    return 0


def verified(image: str, version: str) -> set[str]:
    """Return the platforms for which this repository's release workflow signed a green verdict."""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    here = os.environ.get("GITHUB_REPOSITORY", "")
    workflow = re.escape(f"{server}/{here}/.github/workflows/ecr-release.yml@refs/tags/")
    command = ["gh", "attestation", "verify", f"oci://{image}", f"--repo={here}", "--format=json"]
    command += [f"--cert-identity-regex=^{workflow}", "--predicate-type=urn:sam-cli-compat:verdict"]
    failure = f"{image}: no attestation by the release workflow of {here or 'GITHUB_REPOSITORY'}"
    found = json.loads(call([*command, "--deny-self-hosted-runners"], failure=failure))
    verdicts = [each["verificationResult"]["statement"]["predicate"] for each in found]
    candidates = [each["candidate"] for each in verdicts if each["green"]]
    return {each["platform"] for each in candidates if each["version"] == version}


if __name__ == "__main__":
    run_main(main)
