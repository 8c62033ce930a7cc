"""What may be published, and pushing it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from docker import DockerClient
from packaging.version import InvalidVersion, Version

from gate import (
    emulator,
    engine,
    git,
    images,
    registry,
    rows,
    rules,
    sdk,
    workspace,
)
from gate.images import Candidate
from gate.model import Image, Requirements, Verdict
from gate.programs import GateError
from gate.registry import Manifest
from gate.settings import (
    PLATFORMS,
    Settings,
    load_committed,
    path_of,
    versions_in_tag,
)

COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")


class RefusedError(Exception):
    """Publishing is refused; each argument is a reason. Nothing has been pushed then."""


@dataclass
class Release:
    """The images of one version, and what the registry holds of it.

    `members` has the digest of each platform's image, `index` the list of them. Both are as
    `check_registry_and_tag` found them; `push` adds the rest.
    """

    repository: str
    candidates: list[Image]
    members: dict[str, str] = field(default_factory=dict)
    index: Manifest | None = None

    @property
    def version(self) -> str:
        """Return the version label of the images, which is the same for every platform."""
        return self.candidates[0].version

    @property
    def version_tag(self) -> str:
        """Return the name of the list of all platforms."""
        return f"{self.repository}:v{self.version}"

    def platform_tag(self, candidate: Image) -> str:
        """Return the name of one platform's image."""
        return f"{self.version_tag}-{PLATFORMS[candidate.platform]}"

    def is_listed_by(self, manifest: Manifest) -> bool:
        """Return whether a manifest lists exactly the images of this version.

        With one platform the version's tag may be that image itself, not a list.
        """
        if len(self.members) != len(self.candidates):
            return False
        if manifest.members:
            return manifest.members == self.members
        return set(self.members.values()) == {manifest.digest}


def judge(settings: Settings, release_tag: str) -> Release:
    """Judge every platform's verdict again, by what is committed. Raises RefusedError."""
    committed = load_committed()
    reasons = _reasons_against_clone()
    candidates = []
    for platform in dict.fromkeys(
        committed.publish_platforms + settings.publish_platforms
    ):
        try:
            verdict = rows.load_verdict(platform, settings)
            candidate = images.load_candidate(platform)
        except GateError as error:
            reasons.append(f"{platform}: no verdict: {error}")
            continue
        against = [*_reasons_against_verdict(verdict, committed, settings)]
        against += _reasons_against_image(
            candidate, verdict.candidate, committed
        )
        if verdict.candidate.platform != platform:
            against.append(f"the verdict is for {verdict.candidate.platform}")
        reasons += [
            f"{platform}: {reason}" for reason in dict.fromkeys(against)
        ]
        candidates.append(candidate.image)
    reasons += _reasons_against_set(candidates, committed, release_tag)
    if reasons:
        raise RefusedError(*reasons)
    return Release(
        settings.publish_repository or committed.emulator_repository, candidates
    )


def _reasons_against_clone() -> list[str]:
    reasons = [
        f"{path} is committed: remove it from git"
        for path in git.tracked(*workspace.OWN)
    ]
    status = ("status", "--porcelain", "--untracked-files=no", ".")
    changed = git.git(*status, cwd=workspace.ROOT, failure="git status failed")
    lines = changed.splitlines()
    return reasons + [
        f"changed since the last commit: {line.strip()}" for line in lines
    ]


def _reasons_against_verdict(
    verdict: Verdict, committed: Settings, settings: Settings
) -> Iterator[str]:
    """Yield why this verdict must not be published.

    It must meet the committed requirements, those of the environment (which can only be stricter),
    and its own.
    """
    yield from verdict.reasons
    of_repository = _of_release(committed)
    of_environment = _of_release(settings)
    for required in (of_repository, of_environment, verdict.requirements):
        yield from rules.missing_requirements(verdict.requirements, required)
        yield from rules.reasons_against(required, verdict)


def _of_release(settings: Settings) -> Requirements:
    """Return the requirements without what never counts in a release, whatever is committed."""
    requirements = Requirements.of(settings)
    return replace(
        requirements, samcli_known_failures=[], compat_sdk="released"
    )


def _reasons_against_image(
    candidate: Candidate, tested: Image, committed: Settings
) -> Iterator[str]:
    """Yield why an image is not the one that was built by the committed settings and tested."""
    image = candidate.image
    for name, value in images.made_by(committed).items():
        if candidate.made_by.get(name) != value:
            yield f"`make image` ran with another EMULATOR_{name.upper()} than committed"
    if candidate.wheel:
        yield "it was built with the SDK of this commit (COMPAT_SDK=source)"
    built = _built_digest(image)
    if not tested.config_digest:
        yield "its config digest is unknown: use COMPAT_SAVE_IMAGE=1 for `make image`"
    elif not built == image.config_digest == tested.config_digest:
        digests = f"built {built or 'nothing'}, tested {tested.config_digest}"
        yield f"digest mismatch: {digests}: run build and gate again"
    if reason := version_fault(image.version):
        yield reason
    folder = path_of(committed.emulator_source)
    head = emulator.revision(folder) if folder.is_dir() else image.revision
    # The build itself may add files: the tree was clean when the image was built.
    clean = head.removesuffix("-dirty")
    if not COMMIT.fullmatch(image.revision) or image.revision != clean:
        built_from = image.revision or "no commit"
        source = f"from {built_from}, not from a clean {clean or 'commit'}"
        yield f"it was built {source}: commit, and run the gate again"


def _built_digest(image: Image) -> str:
    """Return the digest that the build job handed on: that job never runs aws-sam-cli's code.

    Outside a workflow it is the image's own.
    """
    handed_on = os.environ.get("BUILT_DIGESTS", "").split()
    if not handed_on:
        return image.config_digest
    digests = dict(item.split("=") for item in handed_on)
    return digests.get(image.platform, "")


def version_fault(version: str) -> str:
    """Return why a version label cannot be published, "" if it can: its tag is v<version>."""
    label = f"the image's version label {version!r}"
    try:
        Version(version)
    except InvalidVersion:
        return f"{label} is missing or not a version: see EMULATOR_VERSION"
    if not re.fullmatch(r"[0-9][0-9A-Za-z.]{0,99}", version):
        return f"{label} is not a valid tag: use one like 1.2.1, without v, + or a platform"
    return ""


def _reasons_against_set(
    candidates: list[Image], committed: Settings, release_tag: str
) -> Iterator[str]:
    """Yield why the platforms' images are not one version, or not the one that is released."""
    for name in ("version", "revision"):
        values = sorted({getattr(candidate, name) for candidate in candidates})
        if len(values) > 1:
            yield f"the platforms have different {name}s: {', '.join(values)}"
    prefix = committed.release_tag_prefix
    for version in sorted({candidate.version for candidate in candidates}):
        if fault := tag_fault(release_tag, prefix, version):
            yield fault


def tag_fault(release_tag: str, prefix: str, version: str) -> str:
    """Return why a release's tag does not release a version, "" if it does, or without a tag."""
    if not release_tag or version in versions_in_tag(release_tag, prefix):
        return ""
    return f"the release's tag {release_tag} has no part {prefix}{version}"


def check_image(
    image: Image, settings: Settings, release_tag: str, sdk_version: str
) -> None:
    """Raise GateError in the first minute of a release that could not be published at its end.

    Its tag must name the image's version, and its image hold the SDK that is released with it.
    """
    if not release_tag:
        return
    prefix = settings.release_tag_prefix
    if fault := version_fault(image.version) or tag_fault(
        release_tag, prefix, image.version
    ):
        raise GateError(fault)
    if not sdk_version:
        return
    # Another package of the image may have the same version.
    name = sdk.project_name(path_of(settings.sdk_source))
    held = image.packages.get(name, "none")
    if held != sdk_version:
        raise GateError(
            f"the image has {name} {held}, not {sdk_version} of this release"
        )


def check_registry_and_tag(client: DockerClient, release: Release) -> None:
    """Tag the images for their push. Raises RefusedError for other content in the registry."""
    reasons = []
    for candidate in release.candidates:
        reference = release.platform_tag(candidate)
        client.api.tag(_image_here(client, candidate), reference)
        manifest = registry.platform_manifest(reference, candidate.platform)
        if manifest:
            release.members[candidate.platform] = manifest.digest
            if manifest.config != candidate.config_digest:
                reasons.append(_already_exists(reference, manifest))
    release.index = registry.inspect(release.version_tag)
    if release.index and not release.is_listed_by(release.index):
        reasons.append(_already_exists(release.version_tag, release.index))
    if reasons:
        raise RefusedError(*reasons)


def _image_here(client: DockerClient, candidate: Image) -> str:
    """Return the id that a candidate has in this engine; load its image.tar if it has none."""
    platform = candidate.platform
    tar = workspace.results_folder(platform) / images.TAR
    image_id = engine.image_id(client, candidate.image_id)
    if not image_id:
        if not tar.exists():
            raise RefusedError(
                f"{platform}: {candidate.image_id} is not in this engine"
            )
        if images.digest_of(tar) != candidate.config_digest:
            tested = f"the {candidate.config_digest} that was tested"
            raise RefusedError(f"digest mismatch: {tar} is not {tested}")
        image_id = images.load(client, tar)
    if images.STAND_IN in client.images.get(image_id).labels:
        raise RefusedError(
            f"{platform}: it was built on a stand-in of its base image"
        )
    return image_id


def _already_exists(reference: str, manifest: Manifest) -> str:
    other = (
        f"{reference} already exists with different content ({manifest.digest})"
    )
    return f"{other}: release under a new version"


def push(release: Release) -> Manifest:
    """Push each platform's image and the list of them, unless they are there; return the list."""
    for candidate in release.candidates:
        reference = release.platform_tag(candidate)
        if candidate.platform in release.members:
            print(f"already pushed {reference}")
            continue
        release.members[candidate.platform] = registry.push(
            reference, candidate
        ).digest
    if release.index:
        print(f"already pushed {release.version_tag} ({release.index.digest})")
        return release.index
    members = release.members.values()
    return registry.point(release.version_tag, members, release.is_listed_by)


def move_latest(release: Release, index: Manifest) -> None:
    """Point `latest` at a version's list, unless a newer one is there."""
    latest = f"{release.repository}:latest"
    if registry.inspect(latest) == index:
        print(f"unchanged {latest} ({index.digest})")
    elif reason := why_latest_stays(release.version, registry.versions(latest)):
        print(f"{latest} stays: {reason}")
    else:
        registry.point(
            latest, [index.digest], lambda manifest: manifest == index
        )


def why_latest_stays(version: str, published: set[str]) -> str:
    """Return why `latest` must not move to a version from those that it holds; "" if it may."""
    try:
        if Version(version).is_prerelease:
            return f"{version} is a pre-release"
        newer = [
            other for other in published if Version(other) > Version(version)
        ]
    except InvalidVersion as error:
        return f"versions cannot be compared ({error})"
    if not newer:
        return ""
    remedy = f"`make promote VERSION={version}` is the way back"
    return f"it is {newer[0]}, newer than {version}; {remedy}"
