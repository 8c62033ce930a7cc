"""Push a release: each platform's image, the list of them, and `latest` last."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import docker

from gate import workspace
from gate.cli import GateError
from gate.containers import engine, registry
from gate.containers.images import Image
from gate.containers.registry import Manifest
from gate.settings import Settings
from gate.text import one_line
from gate.verdict import release
from gate.verdict.release import RefusedError, Release

STAND_IN = "sam-compat.stand-in"  # the label of what `make engine` makes where no registry is reachable
OTHER = "exists with other content ({}): use a new version number"


@dataclass
class Publishing:
    """What is pushed where, and how far it got.

    `ids` are the images in this engine by tag. `members` are the digests in the registry of the tested images by
    platform, `listed` is what the version's tag holds there: the list of them. `pushed` was pushed by this run,
    `under_way` perhaps.
    """

    repository: str
    release: Release
    ids: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    listed: Manifest | None = None
    pushed: list[str] = field(default_factory=list)
    under_way: str = ""

    @property
    def whole(self) -> str:
        """The reference of the version's list."""
        return f"{self.repository}:v{self.release.version}"

    @property
    def latest(self) -> str:
        """The reference that every `sam local invoke` pulls."""
        return f"{self.repository}:latest"

    def reference(self, candidate: Image) -> str:
        """Return the reference of one platform's image."""
        return f"{self.repository}:{self.release.tag(candidate)}"

    def summary(self) -> str:
        """Return what this run pushed."""
        perhaps = f"; perhaps pushed: {self.under_way}" if self.under_way else ""
        return f"pushed: {', '.join(self.pushed) or 'nothing'}{perhaps}"

    def note(self, digest: str) -> None:
        """Print that what was under way is pushed, and keep it for the last line of an error."""
        print(f"pushed {self.under_way} ({digest})", flush=True)
        self.pushed.append(self.under_way)
        self.under_way = ""


@contextlib.contextmanager
def summary_on_error(client: docker.DockerClient, target: Publishing) -> Iterator[None]:
    """Add what was pushed to whatever ends the body early, and remove the tags that were made for pushing."""
    try:
        with engine.errors_explained():
            yield
    except GateError as error:
        raise GateError(f"{error}; {target.summary()}", error.detail) from None
    except OSError as error:
        raise GateError(f"{error.filename or 'the system'}: {error.strerror or error}; {target.summary()}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(target.summary()) from None
    finally:
        for tag in target.ids:
            with contextlib.suppress(*engine.ERRORS):
                made = client.images.get(f"{target.repository}:{tag}")
                if len(made.tags) > 1:  # docker deletes an image with its last tag: it could not be published again
                    client.images.remove(f"{target.repository}:{tag}")


def find_images(client: docker.DockerClient, target: Publishing) -> None:
    """Find every image in the engine or its archive and give it the tag to be pushed. Raises RefusedError."""
    for candidate in target.release.candidates:
        found = client.images.get(release.find(client, candidate))
        if STAND_IN in found.labels:
            reason = "it was built on a stand-in of its base image: build it on the real one"
            raise RefusedError(f"{candidate.platform}: {reason}")
        # At once: the next archive may hold another image under the same name.
        tag = target.release.tag(candidate)
        found.tag(target.repository, tag)
        target.ids[tag] = str(found.id)


def refuse_other_content(target: Publishing) -> None:
    """Note what the registry has of this version. Raises RefusedError if one of its tags holds something else."""
    reasons = []
    for candidate in target.release.candidates:
        reference = target.reference(candidate)
        if found := registry.image(reference, candidate.platform):
            target.members[candidate.platform] = found.digest
            if found.config != candidate.config_digest:
                reasons.append(f"{reference} {OTHER.format(found.digest)}")
    target.listed = registry.inspect(target.whole)
    complete = len(target.members) == len(target.release.candidates)
    if target.listed and not (complete and target.listed.is_list_of(target.members)):
        reasons.append(f"{target.whole} {OTHER.format(target.listed.digest)}")
    if reasons:
        raise RefusedError(*reasons)


def preview(target: Publishing) -> None:
    """Print what would be pushed."""
    for candidate in target.release.candidates:
        reference, image_id = target.reference(candidate), target.ids[target.release.tag(candidate)]
        there = candidate.platform in target.members
        print(f"already pushed {reference}" if there else f"would push {image_id} as {reference}")
    print(f"{'already pushed' if target.listed else 'would push'} {target.whole}")


def push_images(target: Publishing) -> None:
    """Push each platform's image that is not there, and read back what its tag holds."""
    for candidate in target.release.candidates:
        reference = target.reference(candidate)
        if candidate.platform in target.members:
            print(f"already pushed {reference}", flush=True)
            continue
        target.under_way = reference
        registry.push(reference, workspace.log(candidate.platform, "push"))
        found = registry.image(reference, candidate.platform)
        if not found or found.config != candidate.config_digest:
            holds = found.config or found.digest if found else "nothing"
            raise GateError(f"{reference} holds {holds}, not the tested {candidate.config_digest}")
        target.members[candidate.platform] = found.digest
        target.note(found.digest)


def push_list(target: Publishing) -> str:
    """Make the list of the images unless it is there, read it back, and return its digest."""
    if target.listed:
        print(f"already pushed {target.whole} ({target.listed.digest})", flush=True)
        return target.listed.digest
    target.under_way = target.whole
    registry.copy(target.whole, [f"{target.repository}@{digest}" for digest in target.members.values()])
    made = registry.inspect(target.whole)
    if not made or not made.is_list_of(target.members):
        holds = made and (made.members or made.digest)
        raise GateError(f"{target.whole} holds {holds}, not the list of what was pushed")
    target.listed = made
    target.note(made.digest)
    return made.digest


def move_latest(target: Publishing, settings: Settings) -> None:
    """Move `latest` to the version's list, unless PUBLISH_LATEST is 0 or a higher version is there."""
    there = registry.inspect(target.latest) if settings.publish_latest else None
    versions = registry.versions(target.latest) if there else set()
    if target.listed and there == target.listed:
        print(f"unchanged {target.latest} ({there.digest})", flush=True)
    elif stays := release.why_latest_stays(target.release.version, versions, settings):
        print(f"{target.latest} stays: {one_line(stays)}", flush=True)  # versions are others' text
    elif settings.publish_dry_run or not target.listed:
        print(f"would move {target.latest} to v{target.release.version}", flush=True)
    else:
        target.under_way = target.latest
        registry.copy(target.latest, [f"{target.repository}@{target.listed.digest}"])
        if (now := registry.inspect(target.latest)) != target.listed:
            raise GateError(f"{target.latest} holds {now and now.digest}, not {target.listed.digest}: move it by hand")
        target.note(target.listed.digest)
