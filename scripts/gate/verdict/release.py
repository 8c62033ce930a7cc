"""What may be published: each platform's image, if its verdict, judged again by the committed settings, is green."""

import os
import re
from dataclasses import dataclass

import docker
from docker.errors import ImageNotFound
from packaging.version import InvalidVersion, Version

from gate import workspace
from gate.cli import GateError
from gate.containers import images
from gate.containers.images import Image
from gate.settings import PLATFORMS, TAG, Settings, load_committed
from gate.sources import emulator
from gate.sources.git import git
from gate.verdict import candidate as candidates
from gate.verdict import model, rules
from gate.verdict.model import Verdict

EXAMPLE = ".env.example"
DIGEST = re.compile("sha256:[0-9a-f]{64}")
COMMIT = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


class RefusedError(Exception):
    """Publishing is refused; each argument is a reason."""


@dataclass(frozen=True)
class Release:
    """Green verdicts of one version and revision, one for each platform."""

    verdicts: list[Verdict]

    @property
    def candidates(self) -> list[Image]:
        """The images to be published."""
        return [verdict.candidate for verdict in self.verdicts]

    @property
    def version(self) -> str:
        """The version of the images."""
        return self.candidates[0].version

    def tag(self, image: Image) -> str:
        """Return the tag of one platform's image, such as v1.2.1-arm64."""
        return f"v{self.version}-{PLATFORMS[image.platform]}"


def check(settings: Settings) -> Release:
    """Judge the verdict of every platform again. Raises RefusedError with each reason against publishing."""
    committed = _committed_settings()
    reasons = [
        f"{platform} is in the committed PUBLISH_PLATFORMS and left out here"
        for platform in committed.publish_platforms
        if platform not in settings.publish_platforms
    ]
    verdicts = []
    for platform in settings.publish_platforms:
        try:
            verdicts.append(_green(committed, platform))
        except RefusedError as refused:
            reasons += [f"{platform}: {reason}" for reason in refused.args]
    for what in ("version", "revision"):
        found = {verdict.candidate.platform: getattr(verdict.candidate, what) for verdict in verdicts}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{platform} is {value}" for platform, value in found.items())
            reasons.append(f"the platforms are not of one {what}: {listed}")
    if reasons:
        raise RefusedError(*reasons)
    return Release(verdicts)


def find(client: docker.DockerClient, candidate: Image) -> str:
    """Return the engine's id of a candidate, loaded from its image.tar if need be.

    Images are compared by config digest, which is the same in every engine. Raises RefusedError if another image of its
    platform has its name or id here.
    """
    tagged = _described(client, candidate.reference)
    if tagged and tagged.platform == candidate.platform and tagged.config_digest != candidate.config_digest:
        reason = f"{candidate.reference} now points to {tagged.image_id}; the verdict is for {candidate.image_id}"
        raise RefusedError(f"{candidate.platform}: {reason}: run the gate again. {rules.SHARED_TAG}")
    by_id = _described(client, candidate.image_id)
    if by_id and by_id.platform == candidate.platform and by_id.config_digest != candidate.config_digest:
        reason = f"{candidate.image_id} has the config digest {by_id.config_digest}"
        raise RefusedError(f"{candidate.platform}: {reason}; the verdict has {candidate.config_digest}")
    for found in (by_id, tagged, _described(client, candidate.config_digest)):
        if found and found.config_digest == candidate.config_digest:
            return _fit(found, candidate)
    tar = workspace.results(candidate.platform) / workspace.TAR
    try:
        if (digest := images.digest_of(tar)) != candidate.config_digest:
            reason = f"{tar} holds {digest}; the verdict is for {candidate.config_digest}"
            raise RefusedError(f"{candidate.platform}: {reason}")
        loaded = images.describe(client, images.load(tar))
    except FileNotFoundError:
        reason = f"{candidate.image_id} is not in this engine and {tar} is missing"
        raise RefusedError(f"{reason} (`make image COMPAT_SAVE_IMAGE=1` makes it)") from None
    except GateError as error:
        raise RefusedError(f"{candidate.platform}: {error}", *error.detail) from None
    return _fit(loaded, candidate)


def why_latest_stays(version: str, there: set[str], settings: Settings) -> str:
    """Return why `latest` must stay, "" if it may move. `there` are the versions of its images, none if not known."""
    if not settings.publish_latest:
        return "PUBLISH_LATEST is 0"
    try:
        lower = any(Version(version) < Version(each) for each in there)
    except InvalidVersion as error:
        lower, there = True, {*there, f"({error})"}
    at = " ".join(sorted(there))
    return f"it is at {at}, PUBLISH_OLDER=1 would move it to {version}" if lower and not settings.publish_older else ""


def _green(committed: Settings, platform: str) -> Verdict:
    """Return a platform's verdict. Raises RefusedError unless it is green by the committed settings."""
    try:
        verdict, made = model.load(platform), candidates.load(platform)
    except (GateError, OSError) as error:
        raise RefusedError(f"no verdict: {error}") from None
    candidate, required = verdict.candidate, model.requirements(committed)
    if verdict.reasons:
        raise RefusedError("the verdict is red", *verdict.reasons)
    unmet = rules.weaker(verdict.gate, required)
    for each in (verdict.gate, required):
        unmet += rules.unmet(each, candidate, verdict.runs)
    reasons = [f"not green by the committed settings: {reason}" for reason in dict.fromkeys(unmet)]
    if made.config_digest != candidate.config_digest:  # not by id: it may be another machine's
        reasons.append(
            f"the verdict is for {candidate.config_digest}, {workspace.CANDIDATE} is for {made.config_digest}"
        )
    # What the job that built the image handed on, before any other code ran on that machine.
    built = dict(each.partition("=")[::2] for each in os.environ.get("BUILT_DIGESTS", "").split())
    if built and built.get(platform) != candidate.config_digest:
        handed_on = built.get(platform) or "nothing"
        reasons.append(f"the build made {handed_on}; the verdict is for {candidate.config_digest}")
    reasons += _unpublishable(candidate, platform, committed.emulator_repository)
    if reasons:
        raise RefusedError(*reasons)
    return verdict


def _unpublishable(candidate: Image, platform: str, repository: str) -> list[str]:
    """Return what keeps a candidate from being published, whatever its tests say."""
    reasons = []
    tag = candidate.reference.removeprefix(f"{repository}:")
    if candidate.repository != repository or not TAG.fullmatch(tag):
        reasons.append(f"the verdict is for {candidate.reference}, not for a tag of {repository}")
    if candidate.platform != platform:
        reasons.append(f"the verdict is for {candidate.platform}")
    reasons += [
        f"the verdict's {what} {getattr(candidate, what)!r} is not a digest"
        for what in ("image_id", "config_digest")
        if not DIGEST.fullmatch(getattr(candidate, what))
    ]
    if not TAG.fullmatch(f"v{candidate.version}-{PLATFORMS[platform]}") or not candidate.version:
        label = f"the image's version label {candidate.version!r}"
        reasons.append(f"{label} is missing or not a valid tag: see EMULATOR_VERSION")
    if candidate.revision.endswith("-dirty") or tag.endswith("-dirty"):
        reasons.append(f"it was built from a tree with changes ({candidate.revision}): commit them and run again")
    elif not COMMIT.fullmatch(candidate.revision):
        label = f"the image's label {images.LABEL}.revision {candidate.revision!r}"
        reasons.append(f"{label} is not a commit: build it from a git checkout")
    return reasons


def _committed_settings() -> Settings:
    """Return the settings that are committed: neither .env nor the environment can weaken what publishing requires."""
    try:
        failure = f"{EXAMPLE} is not committed in this repository"
        committed = git("show", f"HEAD:./{EXAMPLE}", cwd=workspace.ROOT, failure=failure)
    except GateError as error:
        raise RefusedError(f"{error}: publishing requires the settings that are committed there") from None
    if committed != (workspace.ROOT / EXAMPLE).read_text(encoding="utf-8").strip():
        raise RefusedError(f"{EXAMPLE} has changed since the last commit: commit it and run the gate again")
    if emulator.revision(workspace.ROOT, tracked_only=True).endswith("-dirty"):  # a rule may be among them
        raise RefusedError("files here have changed since the last commit: commit them and run the gate again")
    return load_committed()


def _described(client: docker.DockerClient, name: str) -> Image | None:
    try:
        return images.describe(client, name)
    except ImageNotFound:
        return None


def _fit(found: Image, candidate: Image) -> str:
    """Return the id of an image if it is the candidate, by what it says of itself."""
    for what in ("config_digest", "platform", "version", "revision"):
        if getattr(found, what) != getattr(candidate, what):
            reason = f"the image's {what} is {getattr(found, what)!r}; the verdict has {getattr(candidate, what)!r}"
            raise RefusedError(f"{candidate.platform}: {reason}")
    return found.image_id
