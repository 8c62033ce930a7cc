"""make promote: `latest` at a version that was released here, down and up again."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from .support.emulator import untag
from .support.gate import Gate, copy_template
from .support.registry import Registry, running_registry
from .support.verdict import AMD64, build_labelled

pytestmark = pytest.mark.engine
VERSIONS = ("1.2.1", "1.3.0", "1.4.0")
# What `gh attestation verify oci://NAME@DIGEST …` prints is in a file of that digest's name.
GH = '#!/bin/sh\ncd "$(dirname "$0")"\necho "$@" >asked\nexec cat "${3##*@}"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on PATH with a `gh`, and what that prints."""
    folder = tmp_path_factory.mktemp("promote")
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def registry(
    docker_client: docker.DockerClient, folder: Path
) -> Iterator[Registry]:
    """A registry whose repository holds each version; the last one is `latest`."""
    with running_registry(folder) as registry:
        for version in VERSIONS:
            image = f"{registry.repository}:v{version}-x86_64"
            build_labelled(folder, image, AMD64, version=version)
            subprocess.run(["docker", "push", "--quiet", image], check=True)
            for tag in (f"v{version}", "latest"):
                create = ["docker", "buildx", "imagetools", "create", "--tag"]
                subprocess.run(
                    [*create, f"{registry.repository}:{tag}", image], check=True
                )
        yield registry
        untag(docker_client, registry.repository)


@pytest.fixture(scope="module")
def clone(registry: Registry, folder: Path) -> Gate:
    """A clone that promotes in the registry."""
    settings = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PUBLISH_REPOSITORY": registry.repository,
        "GITHUB_REPOSITORY": "me/emulator",
    }
    return Gate(copy_template(folder / "template"), settings)


def attest(
    folder: Path, registry: Registry, tag: str, verdicts: dict[str, bool]
) -> None:
    """Let what a tag holds have signed verdicts for these versions, green or not."""
    attestations = []
    for version, green in verdicts.items():
        predicate = {
            "green": green,
            "candidate": {"version": version, "platform": AMD64},
        }
        attestations.append(
            {"verificationResult": {"statement": {"predicate": predicate}}}
        )
    manifest = registry.holds(tag)
    assert manifest
    (folder / manifest.digest).write_text(json.dumps(attestations))


def promote(clone: Gate, version: str, *, exit_code: int) -> str:
    """Run promote.py to this exit code; return what it printed."""
    done = clone.script("promote.py", VERSION=version)
    assert done.returncode == exit_code, done.stdout
    return done.stdout


def test_latest_goes_down_and_up_again(
    clone: Gate, registry: Registry, folder: Path
) -> None:
    newest = registry.holds("latest")
    for version in ("1.2.1", "1.4.0"):
        attest(folder, registry, f"v{version}", {version: True})
    output = promote(clone, "1.2.1", exit_code=0)
    assert f"{registry.repository}:latest: from 1.4.0 to 1.2.1\n" in output
    assert registry.holds("latest") == registry.holds("v1.2.1") != newest
    asked = (folder / "asked").read_text().split()
    workflow = r"https://github\.com/me/emulator/\.github/workflows/ecr\-release\.yml@refs/tags/"
    assert f"--cert-identity-regex=^{workflow}" in asked
    assert {"--repo=me/emulator", "--deny-self-hosted-runners"} <= set(asked)
    promote(clone, "1.4.0", exit_code=0)
    assert registry.holds("latest") == newest


@pytest.mark.parametrize(
    ("version", "signed", "error"),
    [
        ("", {}, "VERSION is empty: "),
        ("1.2.9", {}, r"VERSION=1\.2\.9: \S+ has no tag v1\.2\.9"),
        (
            "1.3.0",
            {},
            r".*no attestation by the release workflow of me/emulator",
        ),
        (
            "1.2.1",
            {"1.2.1": False, "1.4.0": True},
            r".*has no green verdict of 1\.2\.1 for linux/amd64",
        ),
        (
            "1.2.1-x86_64",
            {"1.2.1-x86_64": False},
            r".*has no green verdict of 1\.2\.1-x86_64",
        ),
    ],
    ids=[
        "no version",
        "no such tag",
        "unsigned",
        "red or another's",
        "one platform's",
    ],
)
def test_a_version_without_a_signed_green_verdict_is_refused(
    clone: Gate,
    registry: Registry,
    folder: Path,
    version: str,
    signed: dict[str, bool],
    error: str,
) -> None:
    newest = registry.holds("latest")
    if signed:
        attest(folder, registry, f"v{version}", signed)
    output = promote(clone, version, exit_code=2)
    assert re.search(rf"(?m)^error: {error}", output), output
    assert registry.holds("latest") == newest
