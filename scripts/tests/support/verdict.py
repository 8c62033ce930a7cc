"""What a gated machine hands on to `make publish`: a candidate, and a green verdict for it."""

import itertools
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate import images, settings, workspace
from gate.model import Image, Requirements, Verdict
from gate.sdk import Wheel

from .runs import result_of, run_of, shard_of

AMD64 = "linux/amd64"
ARM64 = "linux/arm64"
PLATFORMS = (AMD64, ARM64)
DIGESTS = {AMD64: f"sha256:{'a' * 64}", ARM64: f"sha256:{'b' * 64}"}
REPOSITORY = "registry.example/durable/emulator"
VERSION = "1.2.1"
COMMIT = "1234567890abcdef1234567890abcdef12345678"


def work_in(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Let the gate's code in this process work in another clone, without the caller's settings."""
    monkeypatch.setattr(settings, "ROOT", root)
    for name, path in {
        "ROOT": "",
        "CACHE": ".cache",
        "COMPAT": ".compat",
    }.items():
        monkeypatch.setattr(workspace, name, root / path)
    for name in (
        *settings.TYPE_BY_NAME,
        "BUILT_DIGESTS",
        "PLAN",
        "RELEASE_TAG",
    ):
        monkeypatch.delenv(name, raising=False)


def candidate_for(platform: str, **other: str) -> Image:
    """Return a candidate that may be published, except for what is given."""
    fields = {
        "image_id": DIGESTS[platform],
        "config_digest": DIGESTS[platform],
        "reference": f"{REPOSITORY}:pr-1",
        "platform": platform,
        "version": VERSION,
        "revision": COMMIT,
    }
    return Image(**(fields | other))  # type: ignore[arg-type]


def leave_candidate(
    image: Image, made_with: settings.Settings, wheel: Wheel | None = None
) -> None:
    """Write candidate.json, as `make image` does with these settings."""
    images.save_candidate(image, made_with, wheel)


def leave_verdict(
    candidate: Image, change: Callable[[Verdict], object] = lambda verdict: None
) -> None:
    """Write candidate.json and a green verdict of 40 tests for it, or one that was changed."""
    committed = settings.load_committed()
    required = Requirements.of(committed)
    files = itertools.cycle(required.samcli_tests)
    tests = [result_of(f"{next(files)}::test_{number}") for number in range(40)]
    run = run_of(tests, [shard_of(image_id=candidate.image_id)])
    verdict = Verdict(required, candidate, [run], candidate.image_id)
    change(verdict)
    verdict.save()
    leave_candidate(candidate, committed)


def require(verdict: Verdict, **changed: Any) -> None:
    """Let a verdict be one of a run with other settings."""
    verdict.requirements = replace(verdict.requirements, **changed)


def build_labelled(
    folder: Path,
    reference: str,
    platform: str,
    *,
    content: str = "good",
    version: str = VERSION,
) -> None:
    """Build an image of one file, with the labels of a candidate; a stand-in by that content."""
    (folder / "content").write_text(f"{platform} {content}")
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY content /\nCMD /content\n"
    )
    labels = {
        f"{images.LABEL}.version": version,
        f"{images.LABEL}.revision": COMMIT,
    }
    if content == "stand-in":
        labels[images.STAND_IN] = "true"
    command = [
        "docker",
        "buildx",
        "build",
        "--load",
        "--quiet",
        f"--tag={reference}",
    ]
    command += [
        f"--platform={platform}",
        *(f"--label={name}={labels[name]}" for name in labels),
    ]
    environ = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    subprocess.run([*command, str(folder)], check=True, env=environ)
