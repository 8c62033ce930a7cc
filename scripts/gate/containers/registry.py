"""A registry, through the docker CLI: read what a tag holds, push, and make a tag."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate.cli import GateError
from gate.containers.engine import cli_environment
from gate.containers.images import LABEL, repository_of
from gate.programs import ask, call, last_lines, stream

IMAGETOOLS = ("docker", "buildx", "imagetools")


@dataclass(frozen=True)
class Manifest:
    """What a tag holds: its digest; the config's digest of an image, "" for a list; a list's digests by platform."""

    digest: str
    config: str = ""
    members: dict[str, str] = field(default_factory=dict)

    def is_list_of(self, members: Mapping[str, str]) -> bool:
        """Return whether this lists exactly these digests by platform; of one platform it may be the image itself."""
        return bool(members) and (self.members or dict.fromkeys(members, self.digest)) == members


def inspect(reference: str) -> Manifest | None:
    """Return what a tag or digest holds in its registry, None if nothing. Raises GateError if that cannot be read."""
    failure = f"cannot read {reference} from the registry"
    done = ask([*IMAGETOOLS, "inspect", "--raw", reference], failure=failure, env=cli_environment())
    if done.returncode:
        printed = last_lines(done.stderr)
        # The registry's own answer. A credential helper that is "not found" or a name that does not resolve is none.
        absent = re.compile(rf"ERROR: \S*{re.escape(reference.rpartition('/')[2])}: not found")
        if any(absent.fullmatch(line.strip()) for line in printed):
            return None
        raise GateError(failure, printed)
    try:
        raw = json.loads(done.stdout)
        members: dict[str, str] = {}
        for each in raw.get("manifests", []):
            platform = f"{each['platform']['os']}/{each['platform']['architecture']}"
            # Attestations, as buildx adds them, are all of the platform unknown/unknown.
            members[platform if platform not in members else f"{platform} {each['digest']}"] = each["digest"]
        digest = f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
        return Manifest(digest, raw.get("config", {}).get("digest", ""), members)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GateError(f"{reference} is not a manifest that this gate can read") from None


def image(reference: str, platform: str) -> Manifest | None:
    """Return the manifest of a platform's image: what a tag holds, or what is in the list that it holds."""
    found = inspect(reference)
    if found and platform in found.members:
        return inspect(f"{repository_of(reference)}@{found.members[platform]}")
    return found


def versions(reference: str) -> set[str]:
    """Return the version labels of the images that a tag holds. Raises GateError if they cannot be read."""
    failure = f"cannot read the version of {reference} from the registry"
    command = [*IMAGETOOLS, "inspect", "--format", "{{json .Image}}", reference]
    try:
        raw = json.loads(call(command, failure=failure, env=cli_environment())) or {}
        found = [raw] if "architecture" in raw else raw.values()
        labels = [(each.get("config") or {}).get("Labels") or {} for each in found]
        return {str(each[f"{LABEL}.version"]) for each in labels if each.get(f"{LABEL}.version")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GateError(f"{failure}: it has no image labels that this gate can read") from None


def push(reference: str, log: Path) -> None:
    """Push what an engine's tag names. Raises GateError if that fails."""
    stream(["docker", "push", reference], failure=f"docker push {reference} failed", log=log, env=cli_environment())


def copy(reference: str, sources: Iterable[str]) -> None:
    """Make a tag hold a list of manifests that are in its repository already, or the very list that one source is."""
    command = [*IMAGETOOLS, "create", "--tag", reference, *sources]
    call(command, failure=f"{reference} cannot be written", env=cli_environment())
