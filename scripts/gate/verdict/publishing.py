"""Push a release: each platform's image, their list, and `latest` last."""

from dataclasses import dataclass, field

import docker

from gate.cli import GateError
from gate.containers import registry
from gate.containers.registry import Manifest
from gate.settings import Settings
from gate.verdict import release
from gate.verdict.release import RefusedError, Release

OTHER = "exists with other content ({}): use a new version number"


@dataclass
class Publishing:
    """A release on its way to a repository. `ids` are the images in this engine by tag, `pushed` what is out there."""

    repository: str
    tested: Release
    ids: dict[str, str] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        """The reference of the version's list."""
        return f"{self.repository}:v{self.tested.version}"

    @property
    def latest(self) -> str:
        """The reference that every `sam local invoke` pulls."""
        return f"{self.repository}:latest"

    def summary(self) -> str:
        """Return what this run pushed."""
        return f"pushed: {', '.join(self.pushed) or 'nothing'}"

    def note(self, reference: str, digest: str) -> None:
        """Print what was pushed, and keep it for the last line of an error."""
        self.pushed.append(reference)
        print(f"pushed {reference} ({digest})", flush=True)


def find_images(client: docker.DockerClient, to: Publishing) -> None:
    """Find every image in the engine or its archive and give it the tag to be pushed. Raises RefusedError."""
    for verdict in to.tested.verdicts:
        tag = to.tested.tag(verdict.candidate)
        to.ids[tag] = release.find(client, verdict.candidate)
        # At once: the next archive may hold another image under the same name.
        client.images.get(to.ids[tag]).tag(to.repository, tag)


def remove_tags(client: docker.DockerClient, to: Publishing) -> None:
    """Remove the tags that were made for pushing."""
    for tag in to.ids:
        client.images.remove(f"{to.repository}:{tag}")


def refuse_other_content(to: Publishing) -> set[str]:
    """Return the tags of this version that the registry has. Raises RefusedError if one holds something else."""
    there, reasons, members = set(), [], {}
    for candidate in (verdict.candidate for verdict in to.tested.verdicts):
        reference = f"{to.repository}:{to.tested.tag(candidate)}"
        if found := registry.inspect(reference):
            there.add(to.tested.tag(candidate))
            if registry.config_digest(reference, candidate.platform) != candidate.config_digest:
                reasons.append(f"{reference} {OTHER.format(found.digest)}")
        members[candidate.platform] = _member(found, candidate.platform)
    if (listed := registry.inspect(to.whole)) and not listed.is_list_of(members):
        reasons.append(f"{to.whole} {OTHER.format(listed.digest)}")
    if reasons:
        raise RefusedError(*reasons)
    return there | ({f"v{to.tested.version}"} if listed else set())


def push_images(to: Publishing, there: set[str]) -> None:
    """Push each platform's image that is not there, and read back what its tag holds."""
    for candidate in (verdict.candidate for verdict in to.tested.verdicts):
        tag = to.tested.tag(candidate)
        reference = f"{to.repository}:{tag}"
        if tag in there:
            print(f"already pushed {reference}", flush=True)
            continue
        registry.push(reference)
        if (found := registry.config_digest(reference, candidate.platform)) != candidate.config_digest:
            raise GateError(f"{reference} holds {found or 'nothing'}, not the tested {candidate.config_digest}")
        to.note(reference, found)


def push_list(to: Publishing, there: set[str]) -> str:
    """Make the list of the images unless it is there, read it back, and return its digest."""
    members = {}
    for candidate in (verdict.candidate for verdict in to.tested.verdicts):
        found = registry.inspect(f"{to.repository}:{to.tested.tag(candidate)}")
        members[candidate.platform] = _member(found, candidate.platform)
    if f"v{to.tested.version}" not in there:
        registry.copy(to.whole, [f"{to.repository}@{digest}" for digest in members.values()])
    made = registry.inspect(to.whole)
    if not made or not made.is_list_of(members):
        raise GateError(f"{to.whole} holds {made and (made.members or made.digest)}, not the list of what was pushed")
    if f"v{to.tested.version}" in there:
        print(f"already pushed {to.whole} ({made.digest})", flush=True)
    else:
        to.note(to.whole, made.digest)
    return made.digest


def move_latest(to: Publishing, settings: Settings) -> None:
    """Move `latest` to the version's list, unless a setting or a higher version there is against it."""
    wanted, there = registry.inspect(to.whole), registry.inspect(to.latest)
    if wanted and there == wanted:
        print(f"unchanged {to.latest} ({wanted.digest})", flush=True)
    elif stays := release.why_latest_stays(to.tested.version, registry.version(to.latest) if there else "", settings):
        print(f"{to.latest} stays: {stays}", flush=True)
    elif settings.publish_dry_run or not wanted:
        print(f"would move {to.latest} to v{to.tested.version}", flush=True)
    else:
        registry.copy(to.latest, [f"{to.repository}@{wanted.digest}"])
        if (now := registry.inspect(to.latest)) != wanted:
            raise GateError(f"{to.latest} holds {now and now.digest}, not {wanted.digest}: move it by hand")
        to.note(to.latest, wanted.digest)


def _member(found: Manifest | None, platform: str) -> str:
    """Return the digest of a platform's image in what a tag holds."""
    return found.members.get(platform, found.digest) if found else ""
