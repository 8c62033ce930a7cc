"""What may be published, and pushing it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from packaging.version import InvalidVersion, Version

from gate import emulator, engine, images, model, registry, rules, workspace
from gate.cli import GateError
from gate.git import git
from gate.images import Image
from gate.model import Verdict
from gate.registry import Manifest
from gate.settings import PLATFORMS, Settings, load_committed, local

COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")
DIFFERENT = "already exists with different content ({}): release under a new version"


class RefusedError(Exception):
    """Publishing is refused; each argument is a reason. Nothing has been pushed then."""


@dataclass
class Release:
    """A version. `members`, by platform, and `index`, their list, are what the registry has."""

    repository: str
    candidates: list[Image]
    members: dict[str, str] = field(default_factory=dict)
    index: Manifest | None = None

    @property
    def version_tag(self) -> str:
        return f"{self.repository}:v{self.candidates[0].version}"

    def platform_tag(self, candidate: Image) -> str:
        return f"{self.version_tag}-{PLATFORMS[candidate.platform]}"

    def lists(self, found: Manifest) -> bool:
        """Return whether a manifest lists exactly the images; of one it may be the image itself."""
        members = found.members or dict.fromkeys(self.members, found.digest)
        return len(self.members) == len(self.candidates) and members == self.members


def tracked() -> list[str]:
    """Return what is committed of .env, .cache and .compat: it would steer a release."""
    paths = (".env", ".cache", ".compat")
    return git("ls-files", *paths, cwd=workspace.ROOT, failure="git ls-files failed").splitlines()


def approve(settings: Settings, release_tag: str) -> Release:
    """Judge every platform's verdict again, by what is committed. Raises RefusedError."""
    committed = load_committed()
    reasons = [f"{path} is committed: remove it from git" for path in tracked()]
    status = ("status", "--porcelain", "--untracked-files=no", ".")
    changed = git(*status, cwd=workspace.ROOT, failure="git status failed").splitlines()
    reasons += [f"changed since the last commit: {line.strip()}" for line in changed]
    candidates = []
    for platform in dict.fromkeys((*committed.publish_platforms, *settings.publish_platforms)):
        try:
            verdict = model.load(platform)
            candidate, made_by = images.load_candidate(platform)
        except GateError as error:
            reasons.append(f"{platform}: no verdict: {error}")
            continue
        against = [*_against(verdict, committed, settings)]
        against += _against_candidate(candidate, made_by, verdict.candidate, committed)
        if verdict.candidate.platform != platform:
            against.append(f"the verdict is for {verdict.candidate.platform}")
        reasons += [f"{platform}: {reason}" for reason in dict.fromkeys(against)]
        candidates.append(candidate)
    for what in ("version", "revision"):
        found = sorted({getattr(candidate, what) for candidate in candidates})
        if len(found) > 1:
            reasons.append(f"the platforms have different {what}s: {', '.join(found)}")
    parts = {f"{committed.release_tag_prefix}{candidate.version}" for candidate in candidates}
    if release_tag and not parts <= set(release_tag.split(",")):
        reasons.append(f"the release's tag {release_tag} has no part {' and '.join(parts)}")
    if reasons:
        raise RefusedError(*reasons)
    return Release(settings.publish_repository or committed.emulator_repository, candidates)


def _against(verdict: Verdict, committed: Settings, settings: Settings) -> Iterator[str]:
    """The environment may ask for more than what is committed, never for less."""
    yield from verdict.reasons
    for required in (*map(model.requirements, (committed, settings)), verdict.settings):
        yield from rules.missing_requirements(verdict.settings, required)
        yield from rules.reasons_against(required, verdict.candidate, verdict.runs)


def _against_candidate(
    candidate: Image, made_by: dict[str, str], tested: Image, committed: Settings
) -> Iterator[str]:
    for name, value in images.made_by(committed).items():
        if made_by.get(name) != value:
            yield f"`make image` ran with another EMULATOR_{name.upper()} than committed"
    # What the job that built the image handed on, before foreign code ran on any machine.
    built = dict(each.split("=") for each in os.environ.get("BUILT_DIGESTS", "").split())
    digest = built.get(candidate.platform) if built else candidate.config_digest
    if not tested.config_digest:
        yield "its config digest is unknown: use COMPAT_SAVE_IMAGE=1 for `make image`"
    elif not digest == candidate.config_digest == tested.config_digest:
        yield f"digest mismatch: built {digest or 'nothing'}, tested {tested.config_digest}"
    if not re.fullmatch(r"[\w.-]{1,100}", candidate.version, re.ASCII):
        label = f"the image's version label {candidate.version!r}"
        yield f"{label} is missing or not a valid tag: see EMULATOR_VERSION"
    folder = local(committed.emulator_source)
    here = emulator.revision(folder) if folder.is_dir() else candidate.revision
    if not COMMIT.fullmatch(candidate.revision) or not here.startswith(candidate.revision):
        clean = here.removesuffix("-dirty") or "commit"
        source = f"from {candidate.revision or 'no commit'}, not from a clean {clean}"
        yield f"it was built {source}: commit, and run the gate again"


def prepare(client: engine.Client, release: Release) -> None:
    """Tag the images for their push. Raises RefusedError for other content in the registry."""
    reasons = []
    for candidate in release.candidates:
        platform, tested = candidate.platform, candidate.config_digest
        tar = workspace.results(platform) / images.TAR
        image = engine.image_id(client, candidate.image_id)
        if not image and not tar.exists():
            raise RefusedError(f"{platform}: {candidate.image_id} is not in this engine")
        if not image and images.digest_of(tar) != tested:
            raise RefusedError(f"digest mismatch: {tar} is not the {tested} that was tested")
        image = image or images.load(client, tar)
        if images.STAND_IN in client.images.get(image).labels:
            raise RefusedError(f"{platform}: it was built on a stand-in of its base image")
        reference = release.platform_tag(candidate)
        client.api.tag(image, reference)
        if there := registry.platform_manifest(reference, platform):
            release.members[platform] = there.digest
            if there.config != tested:
                reasons.append(f"{reference} {DIFFERENT.format(there.digest)}")
    release.index = registry.inspect(release.version_tag)
    if release.index and not release.lists(release.index):
        reasons.append(f"{release.version_tag} {DIFFERENT.format(release.index.digest)}")
    if reasons:
        raise RefusedError(*reasons)


def push(release: Release) -> Manifest:
    for candidate in release.candidates:
        reference, platform = release.platform_tag(candidate), candidate.platform
        if platform in release.members:
            print(f"already pushed {reference}")
        else:
            release.members[platform] = registry.push(reference, candidate).digest
    if release.index:
        print(f"already pushed {release.version_tag} ({release.index.digest})")
        return release.index
    return registry.point(release.version_tag, release.members.values(), release.lists)


def move_latest(release: Release, index: Manifest) -> None:
    latest = f"{release.repository}:latest"
    if registry.inspect(latest) == index:
        print(f"unchanged {latest} ({index.digest})")
    elif why := why_latest_stays(release.candidates[0].version, registry.versions(latest)):
        print(f"{latest} stays: {why}")
    else:
        registry.point(latest, [index.digest], lambda found: found == index)


def why_latest_stays(version: str, there: set[str]) -> str:
    """Return why `latest` must not move to a version, "" if it may; `there` is what it is now."""
    try:
        if Version(version).is_prerelease:
            return f"{version} is a pre-release"
        newer = [each for each in there if Version(each) > Version(version)]
    except InvalidVersion as error:
        return f"versions cannot be compared ({error})"
    remedy = f"`make promote VERSION={version}` is the way back"
    return f"it is {newer[0]}, newer than {version}; {remedy}" if newer else ""
