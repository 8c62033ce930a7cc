"""What may be published: the image of each platform that a green verdict is of, and nothing else."""

from dataclasses import dataclass

import docker

import engine
import state
from candidate import LABEL, NAME
from command import GateError, call
from config import TAG, Config


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
    images, reasons = [], []
    for platform in config.publish_platforms:
        try:
            images.append(tested_image(client, platform))
        except RefusedError as refused:
            reasons += [f"{platform}: {reason}" for reason in refused.args]
    for what in ("version", "revision"):
        found = {image.platform: getattr(image, what) for image in images}
        if len(set(found.values())) > 1:
            reasons.append(f"the platforms are not of one {what}: {', '.join(f'{p} is {v}' for p, v in found.items())}")
    if reasons:
        raise RefusedError(*reasons)
    return images


def tested_image(client: docker.DockerClient, platform: str) -> Tested:
    """Return the image that a platform's verdict is of, loaded from image.tar if need be. Raises RefusedError if there
    is no green verdict, or the image is not the one it names, or it is not fit to be published."""
    folder = state.folder(platform)
    try:
        verdict = state.read_json(folder / "verdict.json", remedy="run `make compat` there")
        green, candidate = verdict["green"], verdict["candidate"]
        image_id, reference, of = candidate["image_id"], candidate["reference"], candidate["platform"]
        made = folder / NAME
        was = state.read_json(made, remedy="run `make image` there")["image_id"] if made.exists() else image_id
        now = engine.image_id(client, reference)
    except GateError as error:
        raise RefusedError(f"no verdict: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        raise RefusedError(f"{folder / 'verdict.json'} is no verdict: run `make compat` there") from None
    if green is not True or verdict.get("reasons") != []:
        raise RefusedError("the verdict is red", *(verdict.get("reasons") or []))
    if of != platform:
        raise RefusedError(f"the verdict is of {of}")
    if was != image_id:
        raise RefusedError(f"the verdict is of {image_id}, but {NAME} beside it is of {was}")
    # The platforms' candidates share their tag: in this engine it may be the other one's.
    if now not in (None, image_id) and engine.platform_of(client, reference) == platform:
        raise RefusedError(f"{reference} names {now} by now, the verdict is of {image_id}: run the gate again")
    if engine.image_id(client, image_id) != image_id:
        load_image(client, platform, image_id)
    return fit(client, platform, image_id, candidate)


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


def fit(client: docker.DockerClient, platform: str, image_id: str, candidate: dict[str, str]) -> Tested:
    """Return an image by what it says of itself. Raises RefusedError for a wrong platform, label or revision."""
    attributes = client.images.get(image_id).attrs
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    version, revision = (labels.get(f"{LABEL}.{name}", "") for name in ("version", "revision"))
    reasons = []
    if (of := engine.platform_of(client, image_id)) != platform:
        reasons.append(f"the image is {of}")
    if (version, revision) != (candidate.get("version"), candidate.get("revision")):
        reasons.append("the image's labels are not those that the verdict names")
    if not TAG.fullmatch(f"v{version}") or not version:
        reasons.append(f"version {version!r} of the image's label {LABEL}.version makes no tag: see EMULATOR_VERSION")
    if not revision:
        reasons.append(f"the image has no label {LABEL}.revision: build it from a git checkout")
    if revision.endswith("-dirty") or candidate["reference"].endswith("-dirty"):
        reasons.append(f"it was built from a tree with changes ({revision}): commit them and run the gate again")
    if reasons:
        raise RefusedError(*reasons)
    return Tested(platform, image_id, version, revision)
