"""What a registry answers, and what keeps it from answering: that is not an absent tag."""

import json
import os
from pathlib import Path

import pytest

from gate import registry
from gate.cli import GateError
from gate.registry import Manifest

from .conftest import Registry

NOWHERE = "registry.example/durable/emulator:v1"
PUSHED = Manifest(f"sha256:{'a' * 64}")


def fake(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, out: object = None, err: str = ""
) -> None:
    """Put a docker on PATH that prints what the real one was seen to print."""
    (folder / "out").write_text(json.dumps(out))
    (folder / "raw").write_text(out if isinstance(out, str) else json.dumps(out or {}))
    (folder / "err").write_text(f"{err}\n")
    answer = f'case "$*" in *--raw*) cat "{folder}/raw";; *) cat "{folder}/out";; esac'
    printed = f'cat "{folder}/err" >&2; exit 1' if err else answer
    (folder / "docker").write_text(f"#!/bin/sh\n{printed}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.engine
@pytest.mark.usefixtures("docker_client")
def test_absent_is_what_the_registry_says(loopback: Registry) -> None:
    for name in ("durable/emulator:v1", "no/such/repository:v1", f"durable/x@{PUSHED.digest}"):
        assert registry.inspect(f"{loopback.address}/{name}") is None
    loopback.process.kill()
    loopback.process.wait()
    with pytest.raises(GateError, match=r"cannot read .*connection refused"):
        registry.inspect(f"{loopback.repository}:v1")


@pytest.mark.parametrize(
    "said",
    [
        'error getting credentials - err: exec: "docker-credential-x": executable file not found',
        "failed to do request: dial tcp: lookup registry.example: no such host",
        "unexpected status from HEAD request to https://registry.example/v2/: 401 Unauthorized",
        "failed to fetch anonymous token: unexpected status: 404 Not Found: not found",
        f"{NOWHERE}-other: not found",
        'no builder "x" found',
    ],
)
def test_what_cannot_be_read_is_not_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    fake(monkeypatch, tmp_path, err=f"ERROR: {said}")
    for ask in (registry.inspect, registry.versions):  # else `latest` could go back
        with pytest.raises(GateError, match=f"cannot read .*{NOWHERE}"):
            ask(NOWHERE)
    fake(monkeypatch, tmp_path, err=f"ERROR: {NOWHERE}: not found")
    assert registry.inspect(NOWHERE) is None


def labelled(architecture: str, version: str) -> dict[str, object]:
    labels = {"org.opencontainers.image.version": version} if version else None
    return {"architecture": architecture, "os": "linux", "config": {"Labels": labels}}


def test_versions_are_the_labels_of_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = labelled("amd64", "1.2.1"), labelled("arm64", "1.3.0")
    both = {"linux/amd64": old, "linux/arm64": new}
    for image, versions in (
        (old, {"1.2.1"}),
        (both, {"1.2.1", "1.3.0"}),
        (labelled("amd64", ""), set()),
        (None, set()),
    ):
        fake(monkeypatch, tmp_path, out=image)
        assert registry.versions(NOWHERE) == versions


def test_a_tag_in_a_list_of_its_own_is_read_by_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with containerd's store pushes one, with attestations beside the image."""
    platform = {"os": "linux", "architecture": "arm64"}
    attestation = {"digest": "sha256:1", "platform": {"os": "unknown", "architecture": "unknown"}}
    index = {"manifests": [{"digest": PUSHED.digest, "platform": platform}, attestation]}
    fake(monkeypatch, tmp_path, out=index)
    found = registry.inspect(NOWHERE)
    assert found
    assert found.members == {"linux/arm64": PUSHED.digest, "unknown/unknown": "sha256:1"}


def test_what_never_shows_is_an_error_that_says_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "PAUSE", 0.0)
    monkeypatch.setattr(registry, "LAG", 0.1)
    fake(monkeypatch, tmp_path, out={})
    with pytest.raises(GateError, match=r"^pushed.*, but the registry answers with sha256:"):
        registry.point(NOWHERE, [PUSHED.digest], lambda found: found == PUSHED)
