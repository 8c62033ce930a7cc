"""A registry, through the docker CLI: what a tag holds, pushing, and pointing a tag."""

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gate.cli import GateError, call, stream
from gate.images import LABEL, Image, repository_of

IMAGETOOLS = ("docker", "buildx", "imagetools")
LAG, PAUSE = 120.0, 3.0  # seconds until a registry must show what was pushed (fact 27)


@dataclass(frozen=True)
class Manifest:
    """What a tag holds: its digest; an image's config digest; a list's digests by platform."""

    digest: str
    config: str = ""
    members: dict[str, str] = field(default_factory=dict)


def inspect(reference: str) -> Manifest | None:
    """Return what a reference holds, None if nothing. Raises GateError if that cannot be read."""
    command = [*IMAGETOOLS, "inspect", "--raw", reference]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        printed = done.stderr.decode(errors="replace")
        # The registry's own answer; a missing credential helper is "not found" too.
        if f"{reference.rpartition('/')[2]}: not found" in printed:
            return None
        raise GateError(f"cannot read {reference} from the registry: {printed}")
    raw = json.loads(done.stdout)
    members = {
        "{os}/{architecture}".format_map(each["platform"]): each["digest"]
        for each in raw.get("manifests", [])
    }
    digest = f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
    return Manifest(digest, raw.get("config", {}).get("digest", ""), members)


def platform_manifest(reference: str, platform: str) -> Manifest | None:
    """Return the manifest of a platform's image: the tag's own, or the one in its list."""
    found = inspect(reference)
    if found and platform in found.members:
        return inspect(f"{repository_of(reference)}@{found.members[platform]}")
    return found


def versions(reference: str) -> set[str]:
    if not inspect(reference):
        return set()
    failure = f"cannot read the version of {reference} from the registry"
    command = [*IMAGETOOLS, "inspect", "--format", "{{json .Image}}", reference]
    raw = json.loads(call(command, failure=failure)) or {}
    images = [raw] if "architecture" in raw else raw.values()
    labels = [(image.get("config") or {}).get("Labels") or {} for image in images]
    return {label.get(f"{LABEL}.version", "") for label in labels} - {""}


def push(reference: str, candidate: Image) -> Manifest:
    stream(["docker", "push", "--quiet", reference], failure=f"{reference} cannot be pushed")
    digest = candidate.config_digest
    return wait_for(reference, lambda found: found.config == digest, candidate.platform)


def point(reference: str, digests: Iterable[str], good: Callable[[Manifest], bool]) -> Manifest:
    """Make a tag hold a list of its repository's manifests, or the very list of one digest."""
    sources = [f"{repository_of(reference)}@{digest}" for digest in digests]
    command = [*IMAGETOOLS, "create", "--tag", reference, *sources]
    call(command, failure=f"{reference} cannot be written")
    return wait_for(reference, good)


def wait_for(reference: str, good: Callable[[Manifest], bool], platform: str = "") -> Manifest:
    """Ask for what this run wrote until it is good. Raises GateError after LAG seconds."""
    deadline = time.monotonic() + LAG
    while True:
        found = platform_manifest(reference, platform)
        if found and good(found):
            print(f"pushed {reference} ({found.digest})")
            return found
        if time.monotonic() > deadline:
            held = f"{found.digest if found else 'nothing'} after {LAG:.0f} s"
            raise GateError(f"pushed {reference}, but the registry answers with {held}")
        time.sleep(PAUSE)
