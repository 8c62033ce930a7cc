"""make promote: `latest` at a version that was released here, down and up again."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from .conftest import Gate, Registry, untag
from .test_publish import build

pytestmark = pytest.mark.engine
# What `gh attestation verify oci://NAME@DIGEST …` prints is in a file of that digest's name.
GH = '#!/bin/sh\ncd "$(dirname "$0")"\necho "$@" >asked\nexec cat "${3##*@}"\n'


@pytest.fixture
def clone(
    template: Gate, loopback: Registry, docker_client: docker.DockerClient, tmp_path: Path
) -> Iterator[Gate]:
    """A clone whose repository holds 1.2.1, 1.3.0 and 1.4.0, which is `latest`; `gh` on PATH."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    for version in ("1.2.1", "1.3.0", "1.4.0"):
        image = f"{loopback.repository}:v{version}-x86_64"
        build(template, image, "linux/amd64", "good", version)
        subprocess.run(["docker", "push", "--quiet", image], check=True)
        for tag in (f"v{version}", "latest"):
            create = ["docker", "buildx", "imagetools", "create", "--tag"]
            subprocess.run([*create, f"{loopback.repository}:{tag}", image], check=True)
    template.settings["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    template.settings["PUBLISH_REPOSITORY"] = loopback.repository
    template.settings["GITHUB_REPOSITORY"] = "me/emulator"
    yield template
    untag(docker_client, loopback.repository)


def attest(clone: Gate, loopback: Registry, tag: str, *verdicts: tuple[str, bool]) -> None:
    """Let what a tag holds have signed verdicts for these versions, green or not."""
    found = []
    for version, green in verdicts:
        predicate = {"green": green, "candidate": {"version": version, "platform": "linux/amd64"}}
        found.append({"verificationResult": {"statement": {"predicate": predicate}}})
    held = loopback.holds(tag)
    assert held
    (clone.root.parent / held.digest).write_text(json.dumps(found))


def promote(clone: Gate, version: str, code: int) -> str:
    done = clone.script("promote.py", VERSION=version)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_latest_goes_down_and_up_again(clone: Gate, loopback: Registry) -> None:
    newest = loopback.holds("latest")
    for version in ("1.2.1", "1.4.0"):
        attest(clone, loopback, f"v{version}", (version, True))
    output = promote(clone, "1.2.1", 0)
    assert f"{loopback.repository}:latest: from 1.4.0 to 1.2.1\n" in output
    assert loopback.holds("latest") == loopback.holds("v1.2.1") != newest
    asked = (clone.root.parent / "asked").read_text().split()
    workflow = r"https://github\.com/me/emulator/\.github/workflows/ecr\-release\.yml@refs/tags/"
    assert f"--cert-identity-regex=^{workflow}" in asked
    assert {"--repo=me/emulator", "--deny-self-hosted-runners"} <= set(asked)
    promote(clone, "1.4.0", 0)
    assert loopback.holds("latest") == newest


def test_a_version_without_a_signed_green_verdict_is_refused(
    clone: Gate, loopback: Registry
) -> None:
    newest = loopback.holds("latest")
    attest(clone, loopback, "v1.2.1", ("1.2.1", False), ("1.4.0", True))
    attest(clone, loopback, "v1.2.1-x86_64", ("1.2.1-x86_64", False))
    for version, says in (
        ("", "error: VERSION=: "),
        ("1.2.9", f"error: VERSION=1.2.9: {loopback.repository} has no tag v1.2.9"),
        ("1.3.0", "no attestation by the release workflow of me/emulator"),
        ("1.2.1", "has no green verdict of 1.2.1 for linux/amd64"),
        ("1.2.1-x86_64", "has no green verdict of 1.2.1-x86_64"),
    ):
        assert says in promote(clone, version, 2)
    assert loopback.holds("latest") == newest
