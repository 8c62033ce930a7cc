"""Push a release: each platform's image, their list, and `latest` last."""

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
from gate.verdict import release
from gate.verdict.release import RefusedError, Release

STAND_IN = "sam-compat.stand-in"  # the label of what `make engine` makes where no registry is reachable
OTHER = "exists with other content ({}): use a new version number"


@dataclass
class Publishing:
    """A release on its way to a repository.

    `ids` are the images in this engine by tag. `members` are the digests in the registry of the tested images by
    platform, `listed` is the version's list there. `pushed` was pushed by this run, `under_way` perhaps.
    """

    repository: str
    tested: Release
    ids: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    listed: Manifest | None = None
    pushed: list[str] = field(default_factory=list)
    under_way: str = ""

    @property
    def whole(self) -> str:
        """The reference of the version's list."""
        return f"{self.repository}:v{self.tested.version}"

    @property
    def latest(self) -> str:
        """The reference that every `sam local invoke` pulls."""
        return f"{self.repository}:latest"

    def reference(self, candidate: Image) -> str:
        """Return the reference of one platform's image."""
        return f"{self.repository}:{self.tested.tag(candidate)}"

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
def summary_on_error(client: docker.DockerClient, to: Publishing) -> Iterator[None]:
    """Add what was pushed to whatever ends the body early, and remove the tags that were made for pushing."""
    try:
        with engine.errors_explained():
            yield
    except GateError as error:
        raise GateError(f"{error}; {to.summary()}", error.detail) from None
    except OSError as error:
        raise GateError(f"{error.filename or 'the system'}: {error.strerror or error}; {to.summary()}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(to.summary()) from None
    finally:
        for tag in to.ids:
            with contextlib.suppress(*engine.ERRORS):
                made = client.images.get(f"{to.repository}:{tag}")
                if len(made.tags) > 1:  # an image goes with its last tag, and could not be published again
                    client.images.remove(f"{to.repository}:{tag}")


def find_images(client: docker.DockerClient, to: Publishing) -> None:
    """Find every image in the engine or its archive and give it the tag to be pushed. Raises RefusedError."""
    for candidate in to.tested.candidates:
        tag = to.tested.tag(candidate)
        to.ids[tag] = release.find(client, candidate)
        if STAND_IN in client.images.get(to.ids[tag]).labels:
            raise RefusedError(
                f"{candidate.platform}: it was built on a stand-in of its base image: build it on the real one"
            )
        # At once: the next archive may hold another image under the same name.
        client.images.get(to.ids[tag]).tag(to.repository, tag)


def refuse_other_content(to: Publishing) -> None:
    """Note what the registry has of this version. Raises RefusedError if one of its tags holds something else."""
    reasons = []
    for candidate in to.tested.candidates:
        reference = to.reference(candidate)
        if found := registry.image(reference, candidate.platform):
            to.members[candidate.platform] = found.digest
            if found.config != candidate.config_digest:
                reasons.append(f"{reference} {OTHER.format(found.digest)}")
    to.listed = registry.inspect(to.whole)
    if to.listed and not (len(to.members) == len(to.tested.candidates) and to.listed.is_list_of(to.members)):
        reasons.append(f"{to.whole} {OTHER.format(to.listed.digest)}")
    if reasons:
        raise RefusedError(*reasons)


def preview(to: Publishing) -> None:
    """Print what would be pushed."""
    for candidate in to.tested.candidates:
        reference, image_id = to.reference(candidate), to.ids[to.tested.tag(candidate)]
        there = candidate.platform in to.members
        print(f"already pushed {reference}" if there else f"would push {image_id} as {reference}")
    print(f"{'already pushed' if to.listed else 'would push'} {to.whole}")


def push_images(to: Publishing) -> None:
    """Push each platform's image that is not there, and read back what its tag holds."""
    for candidate in to.tested.candidates:
        reference = to.reference(candidate)
        if candidate.platform in to.members:
            print(f"already pushed {reference}", flush=True)
            continue
        to.under_way = reference
        registry.push(reference, workspace.log(candidate.platform, "push"))
        found = registry.image(reference, candidate.platform)
        if not found or found.config != candidate.config_digest:
            holds = found.config or found.digest if found else "nothing"
            raise GateError(f"{reference} holds {holds}, not the tested {candidate.config_digest}")
        to.members[candidate.platform] = found.digest
        to.note(found.digest)


def push_list(to: Publishing) -> str:
    """Make the list of the images unless it is there, read it back, and return its digest."""
    if to.listed:
        print(f"already pushed {to.whole} ({to.listed.digest})", flush=True)
        return to.listed.digest
    to.under_way = to.whole
    registry.copy(to.whole, [f"{to.repository}@{digest}" for digest in to.members.values()])
    made = registry.inspect(to.whole)
    if not made or not made.is_list_of(to.members):
        raise GateError(f"{to.whole} holds {made and (made.members or made.digest)}, not the list of what was pushed")
    to.listed = made
    to.note(made.digest)
    return made.digest


def move_latest(to: Publishing, settings: Settings) -> None:
    """Move `latest` to the version's list, unless a setting or a higher version there is against it."""
    there = registry.inspect(to.latest)
    versions = registry.versions(to.latest) if there else set()
    if to.listed and there == to.listed:
        print(f"unchanged {to.latest} ({there.digest})", flush=True)
    elif stays := release.why_latest_stays(to.tested.version, versions, settings):
        print(f"{to.latest} stays: {stays}", flush=True)
    elif settings.publish_dry_run or not to.listed:
        print(f"would move {to.latest} to v{to.tested.version}", flush=True)
    else:
        to.under_way = to.latest
        registry.copy(to.latest, [f"{to.repository}@{to.listed.digest}"])
        if (now := registry.inspect(to.latest)) != to.listed:
            raise GateError(f"{to.latest} holds {now and now.digest}, not {to.listed.digest}: move it by hand")
        to.note(to.listed.digest)
