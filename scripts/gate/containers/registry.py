"""A registry, through the docker CLI: what a tag holds there, and how to put something there."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gate.cli import LAST_LINES, GateError

# Seconds. docker retries a layer's transfer itself; one that hangs must not hang the release.
PATIENCE = 900


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
    done = _docker("buildx", "imagetools", "inspect", "--raw", reference)
    if done.returncode:
        printed = done.stderr.decode(errors="replace").splitlines()
        # The registry's own answer. A credential helper that is "not found" or a name that does not resolve is none.
        absent = re.compile(rf"ERROR: \S*{re.escape(reference.rpartition('/')[2])}: not found")
        if any(absent.fullmatch(line.strip()) for line in printed):
            return None
        raise GateError(f"cannot read {reference} from the registry", detail=printed[-LAST_LINES:])
    try:
        raw = json.loads(done.stdout)
        entries = raw.get("manifests", [])
        members = {f"{each['platform']['os']}/{each['platform']['architecture']}": each["digest"] for each in entries}
        if len(members) != len(entries):
            raise ValueError("two members of one platform")
        digest = f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"
        return Manifest(digest, raw.get("config", {}).get("digest", ""), members)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GateError(f"{reference} is not a manifest that this gate can read") from None


def config_digest(reference: str, platform: str) -> str:
    """Return the config digest of the image of a platform that a tag holds, "" if there is none."""
    found = inspect(reference)
    if found and platform in found.members:
        found = inspect(f"{_repository(reference)}@{found.members[platform]}")
    return found.config if found else ""


def version(reference: str) -> str:
    """Return the version label of the images that a tag holds, "" if there is none or it differs among them."""
    done = _docker("buildx", "imagetools", "inspect", "--format", "{{json .Image}}", reference)
    found = set(re.findall(rb'"org\.opencontainers\.image\.version":\s*"([^"]*)"', done.stdout))
    return found.pop().decode() if not done.returncode and len(found) == 1 else ""


def push(reference: str) -> None:
    """Push what an engine's tag names. Raises GateError if that fails."""
    _do("push", "--quiet", reference)


def copy(reference: str, sources: Iterable[str]) -> None:
    """Make a tag hold a list of manifests that are in its repository already, or the very list that one source is."""
    _do("buildx", "imagetools", "create", "--tag", reference, *sources)


def _repository(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _do(*arguments: str) -> None:
    done = _docker(*arguments)
    if done.returncode:
        printed = done.stderr.decode(errors="replace").strip().splitlines()
        raise GateError(f"docker {' '.join(arguments)} failed", detail=printed[-LAST_LINES:])


def _docker(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    except FileNotFoundError:
        raise GateError("docker was not found: install it") from None
    except subprocess.TimeoutExpired:
        raise GateError(f"{' '.join(command)} did not end within {PATIENCE} s") from None
