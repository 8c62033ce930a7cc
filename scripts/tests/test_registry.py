"""What a registry answers, and what keeps it from answering: that is not an absent tag."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gate import registry
from gate.programs import GateError
from gate.registry import Manifest

from .support.registry import Registry

NOWHERE = "registry.example/durable/emulator:v1"
PUSHED = Manifest(f"sha256:{'a' * 64}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def docker_fails(folder: Path, error: str) -> None:
    """Let docker fail with what the real one was seen to print."""
    (folder / "error").write_text(f"ERROR: {error}\n")
    write_docker(folder, f'cat "{folder}/error" >&2; exit 1')


def docker_prints(folder: Path, value: object) -> None:
    """Let docker print a manifest, or the images of a tag, as JSON."""
    (folder / "raw").write_text(json.dumps(value or {}))
    (folder / "images").write_text(json.dumps(value))
    write_docker(
        folder,
        f'case "$*" in *--raw*) cat "{folder}/raw";; *) cat "{folder}/images";; esac',
    )


def write_docker(folder: Path, script: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)


@pytest.mark.engine
@pytest.mark.usefixtures("docker_client")
@pytest.mark.parametrize(
    "name",
    [
        "durable/emulator:v1",
        "no/such/repository:v1",
        f"durable/x@{PUSHED.digest}",
    ],
)
def test_what_the_registry_does_not_have_is_absent(
    local_registry: Registry, name: str
) -> None:
    assert registry.inspect(f"{local_registry.address}/{name}") is None


@pytest.mark.engine
@pytest.mark.usefixtures("docker_client")
def test_a_registry_that_does_not_answer_is_an_error(
    local_registry: Registry,
) -> None:
    local_registry.stop()
    with pytest.raises(GateError, match=r"cannot read .*connection refused"):
        registry.inspect(f"{local_registry.repository}:v1")


def test_a_tag_that_docker_does_not_find_is_absent(folder: Path) -> None:
    docker_fails(folder, f"{NOWHERE}: not found")
    assert registry.inspect(NOWHERE) is None


@pytest.mark.parametrize(
    "error",
    [
        'error getting credentials - err: exec: "docker-credential-x": executable file not found',
        "failed to do request: dial tcp: lookup registry.example: no such host",
        "unexpected status from HEAD request to https://registry.example/v2/: 401 Unauthorized",
        "failed to fetch anonymous token: unexpected status: 404 Not Found: not found",
        f"{NOWHERE}-other: not found",
        'no builder "x" found',
    ],
)
@pytest.mark.parametrize("ask", [registry.inspect, registry.versions])
def test_what_cannot_be_read_is_not_absent(
    folder: Path, ask: Callable[[str], object], error: str
) -> None:
    """Otherwise a version could be overwritten, or `latest` go back."""
    docker_fails(folder, error)
    with pytest.raises(GateError, match=f"cannot read .*{NOWHERE}"):
        ask(NOWHERE)


def test_what_docker_prints_is_one_line_of_the_error(folder: Path) -> None:
    docker_fails(folder, "failed to do request\nsee https://registry.example")
    with pytest.raises(GateError) as raised:
        registry.inspect(NOWHERE)
    assert "\n" not in str(raised.value)
    assert "failed to do request see https://" in str(raised.value)


def labelled(architecture: str, version: str) -> dict[str, object]:
    """Return an image's configuration as docker prints it."""
    labels = {"org.opencontainers.image.version": version} if version else None
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": labels},
    }


@pytest.mark.parametrize(
    ("printed", "versions"),
    [
        (labelled("amd64", "1.2.1"), {"1.2.1"}),
        (
            {
                "linux/amd64": labelled("amd64", "1.2.1"),
                "linux/arm64": labelled("arm64", "1.3.0"),
            },
            {"1.2.1", "1.3.0"},
        ),
        (labelled("amd64", ""), set()),
        (None, set()),
    ],
    ids=["one image", "two platforms", "no label", "no image"],
)
def test_versions_are_the_labels_of_every_image(
    folder: Path, printed: object, versions: set[str]
) -> None:
    docker_prints(folder, printed)
    assert registry.versions(NOWHERE) == versions


@pytest.mark.parametrize(
    "attestation",
    [
        {"platform": {"os": "unknown", "architecture": "unknown"}},
        {"artifactType": "application/vnd.example"},
    ],
    ids=["of no known platform", "without a platform"],
)
def test_a_tag_in_a_list_of_its_own_is_read_by_platform(
    folder: Path, attestation: dict[str, object]
) -> None:
    """An engine with containerd's store pushes one, with attestations beside the image."""
    platform = {"os": "linux", "architecture": "arm64"}
    image = {"digest": PUSHED.digest, "platform": platform}
    beside = {"digest": "sha256:1"} | attestation
    docker_prints(folder, {"manifests": [image, beside]})
    manifest = registry.inspect(NOWHERE)
    assert manifest
    assert manifest.members.pop("linux/arm64") == PUSHED.digest
    assert list(manifest.members.values()) == ["sha256:1"]


def test_what_never_shows_is_an_error_that_says_what_the_registry_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "POLL_INTERVAL", 0.0)
    monkeypatch.setattr(registry, "REGISTRY_LAG", 0.1)
    docker_prints(folder, {})
    with pytest.raises(
        GateError, match=r"^pushed.*, but the registry answers with sha256:"
    ):
        registry.point(
            NOWHERE, [PUSHED.digest], lambda manifest: manifest == PUSHED
        )
