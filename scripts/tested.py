"""What may be published: the image of each platform that a green verdict is of, and nothing else."""

from dataclasses import dataclass

import docker
from docker.errors import APIError

import engine
import state
import verdict
from candidate import LABEL, NAME, Candidate
from command import GateError, call
from config import ROOT, TAG, Config, load
from gitrepo import git
from verdict import decode


@dataclass(frozen=True)
class Tested:
    """An image with a green verdict, in this engine; `version` and `revision` are its own labels."""

    platform: str
    image_id: str
    version: str
    revision: str


class RefusedError(Exception):
    """Not to be published; each argument is a reason in words."""


def release(client: docker.DockerClient, config: Config) -> list[Tested]:
    """Return the tested image of every platform to be published. Raises RefusedError with all that is against it."""
    committed = committed_settings()
    images, reasons = [], []
    missing = [platform for platform in committed.publish_platforms if platform not in config.publish_platforms]
    reasons += [f"{platform} is in the committed PUBLISH_PLATFORMS and not in this run's" for platform in missing]
    for platform in config.publish_platforms:
        try:
            images.append(tested_image(client, committed, platform))
        except RefusedError as refused:
            reasons += [f"{platform}: {reason}" for reason in refused.args]
    for what in ("version", "revision"):
        found = {image.platform: getattr(image, what) for image in images}
        if len(set(found.values())) > 1:
            reasons.append(f"the platforms are not of one {what}: {', '.join(f'{p} is {v}' for p, v in found.items())}")
    if reasons:
        raise RefusedError(*reasons)
    return images


def committed_settings() -> Config:
    """Return the settings that are committed in .env.example: neither .env nor the environment can weaken them.

    Raises RefusedError if the file is not committed, or was changed since.
    """
    example = ".env.example"
    try:
        committed = git("show", f"HEAD:./{example}", cwd=ROOT, failure=f"{example} is not committed in this repository")
    except GateError as error:
        raise RefusedError(f"{error}: publishing requires what is committed there") from None
    if committed != (ROOT / example).read_text(encoding="utf-8").strip():
        raise RefusedError(f"{example} has changed since the last commit: commit it and run the gate again")
    return load(example_only=True)


def tested_image(client: docker.DockerClient, committed: Config, platform: str) -> Tested:
    """Return the image that a platform's verdict is of, loaded from image.tar if need be.

    The verdict is judged again by the committed settings, from what it says of its runs. Raises RefusedError if it is
    not green by them, or the image is not the one it names, or it is not fit to be published.
    """
    try:
        found = verdict.load(platform)
        candidate, image_id, reference = found.candidate, found.candidate.image_id, found.candidate.reference
        made = decode(
            Candidate, state.read_json(state.folder(platform) / NAME, remedy="run `make compat` there"), "candidate"
        )
        now = engine.image_id(client, reference)
    except (GateError, ValueError, APIError, OSError) as error:
        raise RefusedError(f"no verdict: {error}") from None
    if found.reasons:
        raise RefusedError("the verdict is red", *found.reasons)
    required = verdict.required(committed)
    if reasons := found.gate.weaker_than(required) + verdict.unmet(found.gate, candidate, found.runs):
        raise RefusedError(*(f"the verdict is not green by the committed settings: {reason}" for reason in reasons))
    if candidate.repository != committed.emulator_repository:
        raise RefusedError(f"the verdict is of {candidate.repository}, not of {committed.emulator_repository}")
    if candidate.platform != platform:
        raise RefusedError(f"the verdict is of {candidate.platform}")
    if made != candidate:
        raise RefusedError(f"the verdict is of {image_id}, but {NAME} beside it is of {made.image_id}")
    # The platforms' candidates share their tag: in this engine it may be the other one's.
    if now not in (None, image_id) and engine.platform_of(client, reference) == platform:
        raise RefusedError(f"{reference} names {now} by now, the verdict is of {image_id}: run the gate again")
    if engine.image_id(client, image_id) != image_id:
        load_image(client, platform, image_id)
    return fit(client, candidate)


def load_image(client: docker.DockerClient, platform: str, image_id: str) -> None:
    """Load a platform's image.tar into the engine. Raises RefusedError if it does not hold the image wanted."""
    tar = state.folder(platform) / "image.tar"
    if not tar.is_file():
        raise RefusedError(f"{image_id} is neither in this engine nor in {tar} (COMPAT_SAVE_IMAGE=1 makes that)")
    try:
        call(["docker", "load", "--quiet", "--input", tar], failure=f"{tar} cannot be loaded")
    except GateError as error:
        raise RefusedError(*error.detail, str(error)) from None
    if engine.image_id(client, image_id) != image_id:
        raise RefusedError(f"{tar} holds another image than {image_id}, which the verdict is of")


def fit(client: docker.DockerClient, candidate: Candidate) -> Tested:
    """Return an image by what it says of itself. Raises RefusedError for a wrong platform, label or revision."""
    platform, image_id = candidate.platform, candidate.image_id
    attributes = client.images.get(image_id).attrs
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    version, revision = (labels.get(f"{LABEL}.{name}", "") for name in ("version", "revision"))
    reasons = []
    if (of := engine.platform_of(client, image_id)) != platform:
        reasons.append(f"the image is {of}")
    if (version, revision) != (candidate.version, candidate.revision):
        reasons.append("the image's labels are not those that the verdict names")
    if not TAG.fullmatch(f"v{version}") or not version:
        reasons.append(f"version {version!r} of the image's label {LABEL}.version makes no tag: see EMULATOR_VERSION")
    if not revision:
        reasons.append(f"the image has no label {LABEL}.revision: build it from a git checkout")
    if revision.endswith("-dirty") or candidate.reference.endswith("-dirty"):
        reasons.append(f"it was built from a tree with changes ({revision}): commit them and run the gate again")
    if reasons:
        raise RefusedError(*reasons)
    return Tested(platform, image_id, version, revision)
