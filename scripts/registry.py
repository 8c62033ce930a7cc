"""A registry, through the docker CLI: what a tag holds there, and how to put something there."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from command import LAST_LINES, GateError

NOT_THERE = ("not found", "manifest unknown", "name unknown")
# A layer's or manifest's transfer is retried by docker itself; one that hangs must not hang the release.
PATIENCE = 600


@dataclass(frozen=True)
class Manifest:
    """What a tag holds: its digest; the config's digest of an image, empty for a list; of a list the members'
    digests by platform, none for an image."""

    digest: str
    config: str = ""
    members: dict[str, str] = field(default_factory=dict)

    def is_image(self, image_id: str) -> bool:
        """Return whether this is the image that an engine calls `image_id`: the digest of its config in a classic
        image store, of its manifest in containerd's."""
        return bool(image_id) and image_id in (self.config, self.digest)

    def is_list_of(self, members: Mapping[str, str]) -> bool:
        """Return whether this lists exactly these digests by platform; of one platform it may be the image itself."""
        return bool(members) and (self.members or dict.fromkeys(members, self.digest)) == members


def inspect(reference: str) -> Manifest | None:
    """Return what a tag holds in its registry, None if nothing. Raises GateError if the registry does not tell."""
    done = _docker("buildx", "imagetools", "inspect", "--raw", reference)
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        if any(sign in said.lower() for sign in NOT_THERE):
            return None
        raise GateError(f"the registry does not tell what {reference} is", detail=said.splitlines()[-LAST_LINES:])
    try:
        raw = json.loads(done.stdout)
        entries = raw.get("manifests", [])
        members = {_platform(entry): entry["digest"] for entry in entries}
        if len(members) != len(entries):
            raise ValueError("two members of one platform")
        digest = f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
        return Manifest(digest, raw.get("config", {}).get("digest", ""), members)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GateError(f"{reference} is no manifest that this gate can read") from None


def push(reference: str) -> None:
    """Push what an engine's tag names. Raises GateError if it cannot."""
    _do("push", "--quiet", reference)


def copy(reference: str, sources: Iterable[str]) -> None:
    """Make a tag hold a list of manifests that are in its repository already, or the very list that one source is."""
    _do("buildx", "imagetools", "create", "--tag", reference, *sources)


def _platform(entry: dict[str, dict[str, str]]) -> str:
    return f"{entry['platform']['os']}/{entry['platform']['architecture']}"


def _do(*arguments: str) -> None:
    done = _docker(*arguments)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise GateError(f"docker {' '.join(arguments)} failed", detail=said[-LAST_LINES:])


def _docker(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    except FileNotFoundError:
        raise GateError("docker is not there; install it") from None
    except subprocess.TimeoutExpired:
        raise GateError(f"{' '.join(command)} did not end within {PATIENCE} s") from None
