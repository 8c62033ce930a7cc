"""A registry, through the docker CLI: what a tag holds, pushing, and pointing a tag."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gate.images import LABEL
from gate.model import Image, repository_of
from gate.programs import GateError, call, one_line, run, stream

IMAGETOOLS = ("docker", "buildx", "imagetools")
# Seconds until a registry must show what was pushed (FACTS.md#registry-lag).
REGISTRY_LAG = 120.0
POLL_INTERVAL = 3.0


@dataclass(frozen=True)
class Manifest:
    """What a tag holds.

    `config`: of an image, its config digest. `members`: of a list, the digest for each platform.
    """

    digest: str
    config: str = ""
    members: dict[str, str] = field(default_factory=dict)


def inspect(reference: str) -> Manifest | None:
    """Return what a reference holds, None if nothing. Raises GateError if that cannot be read."""
    done = run(
        [*IMAGETOOLS, "inspect", "--raw", reference], capture_output=True
    )
    if done.returncode:
        printed = one_line(done.stderr.decode(errors="replace"))
        # The registry's own answer; a missing credential helper is "not found" too.
        if f"{reference.rpartition('/')[2]}: not found" in printed:
            return None
        raise GateError(f"cannot read {reference} from the registry: {printed}")
    raw = json.loads(done.stdout)
    members = {}
    for member in raw.get("manifests", []):
        # Without a platform it is no member of ours, and the list is another one.
        platform = member.get("platform", {})
        members[f"{platform.get('os')}/{platform.get('architecture')}"] = (
            member["digest"]
        )
    digest = f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
    config = raw.get("config", {})
    return Manifest(digest, config.get("digest", ""), members)


def platform_manifest(reference: str, platform: str) -> Manifest | None:
    """Return the manifest of a platform's image: the tag's own, or the one in its list."""
    manifest = inspect(reference)
    if manifest and platform in manifest.members:
        return inspect(
            f"{repository_of(reference)}@{manifest.members[platform]}"
        )
    return manifest


def versions(reference: str) -> set[str]:
    """Return the version labels of the images that a tag holds."""
    if not inspect(reference):
        return set()
    failure = f"cannot read the version of {reference} from the registry"
    command = [*IMAGETOOLS, "inspect", "--format", "{{json .Image}}", reference]
    raw = json.loads(call(command, failure=failure)) or {}
    images = [raw] if "architecture" in raw else raw.values()
    labels = [
        (image.get("config") or {}).get("Labels") or {} for image in images
    ]
    return {label.get(f"{LABEL}.version", "") for label in labels} - {""}


def push(reference: str, candidate: Image) -> Manifest:
    """Push a tag, and return what the registry then shows: the candidate, by config digest."""
    stream(
        ["docker", "push", "--quiet", reference],
        failure=f"{reference} cannot be pushed",
    )
    return wait_for(
        reference,
        lambda manifest: manifest.config == candidate.config_digest,
        candidate.platform,
    )


def point(
    reference: str,
    digests: Iterable[str],
    is_written: Callable[[Manifest], bool],
) -> Manifest:
    """Point a tag at a new list of these digests of its repository.

    A single digest that is a list already is tagged as it is.
    """
    sources = [f"{repository_of(reference)}@{digest}" for digest in digests]
    command = [*IMAGETOOLS, "create", "--tag", reference, *sources]
    call(command, failure=f"{reference} cannot be written")
    return wait_for(reference, is_written)


def wait_for(
    reference: str, is_written: Callable[[Manifest], bool], platform: str = ""
) -> Manifest:
    """Ask the registry until it shows what this run wrote. Raises GateError after REGISTRY_LAG."""
    deadline = time.monotonic() + REGISTRY_LAG
    while True:
        manifest = platform_manifest(reference, platform)
        if manifest and is_written(manifest):
            print(f"pushed {reference} ({manifest.digest})")
            return manifest
        if time.monotonic() > deadline:
            shown = manifest.digest if manifest else "nothing"
            after = f"{shown} after {REGISTRY_LAG:.0f} s"
            raise GateError(
                f"pushed {reference}, but the registry answers with {after}: run it again"
            )
        time.sleep(POLL_INTERVAL)
