"""Images: the candidate as candidate.json describes it, and those that exist already."""

import contextlib
import hashlib
import json
import subprocess
import tarfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from docker import DockerClient
from packaging.utils import canonicalize_name

from gate import engine, workspace
from gate.model import Image
from gate.programs import GateError, call, stream
from gate.sdk import Wheel
from gate.settings import Settings, path_of

LABEL = "org.opencontainers.image"
# The label of a base image that `make engine` makes where none can be pulled.
STAND_IN = "sam-compat.stand-in"
CANDIDATE = "candidate.json"
TAR = "image.tar"
# Seconds for the pip of an image to list its packages: one, as measured.
PIP_TIMEOUT = 60
# Seconds between two attempts to pull an image.
PULL_INTERVAL = 2.0


@dataclass(frozen=True)
class Candidate:
    """The image under test, and a hash of each setting that decided what it is.

    `wheel`: the SDK of this commit, which the functions under test get, None for the released one.
    """

    image: Image
    made_by: dict[str, str]
    wheel: Wheel | None = None


def describe(client: DockerClient, reference: str) -> Image:
    """Return what the engine knows of an image, without its packages."""
    found = client.images.get(reference)
    attributes = found.attrs
    containerd = ["driver-type", "io.containerd.snapshotter.v1"]
    has_containerd = containerd in (client.info().get("DriverStatus") or [])
    return Image(
        image_id=attributes["Id"],
        config_digest="" if has_containerd else attributes["Id"],
        reference=reference,
        platform=f"{attributes['Os']}/{attributes['Architecture']}",
        version=found.labels.get(f"{LABEL}.version", ""),
        revision=found.labels.get(f"{LABEL}.revision", ""),
    )


@dataclass(frozen=True)
class Package:
    """A Python package in an image.

    `sha256`: of the wheel, if pip was given a file, else "" (FACTS.md#direct-url).
    """

    name: str
    version: str
    sha256: str = ""


def packages(client: DockerClient, image_id: str) -> list[Package]:
    """Return the packages in an image, none if it has no working pip."""
    name = f"{workspace.CLONE}-packages"
    command = ["docker", "run", "--rm", f"--name={name}", "--network=none"]
    command += ["--entrypoint=pip", image_id, "inspect"]
    try:
        printed = call(command, failure="no pip", timeout=PIP_TIMEOUT)
        return [_package(each) for each in json.loads(printed)["installed"]]
    except (
        GateError,
        subprocess.TimeoutExpired,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ):
        # Any image can be a candidate: its pip may be missing, hang or print something else.
        return []
    finally:
        engine.remove_container(client, name)


def _package(value: dict[str, Any]) -> Package:
    metadata = value["metadata"]
    archive = value.get("direct_url", {}).get("archive_info", {})
    return Package(
        name=canonicalize_name(metadata["name"]),
        version=metadata["version"],
        sha256=archive.get("hashes", {}).get("sha256", ""),
    )


def durable_versions(packages: Iterable[Package]) -> dict[str, str]:
    """Return the version of each package with "durable" in its name."""
    return {
        package.name: package.version
        for package in packages
        if "durable" in package.name
    }


def check_wheel(packages: Iterable[Package], wheel: Wheel) -> None:
    """Raise GateError unless exactly this wheel is among an image's packages."""
    if wheel.sha256 not in {package.sha256 for package in packages}:
        raise GateError(
            f"the image does not hold {wheel.name} {wheel.version} of SDK_SOURCE: "
            "does its Dockerfile install each wheel in dist/?"
        )


def take(client: DockerClient, name: str) -> Image:
    """Load a file of `docker save`, or find an image by name or id; pull only what is not here."""
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        tar = path_of(name)
        digest = digest_of(tar)
        return replace(
            describe(client, load(client, tar)), config_digest=digest
        )
    image_id = engine.image_id(client, name)
    if not image_id:
        pull(name)
    elif not engine.short(image_id).startswith(engine.short(name)):
        remedy = "`docker pull` it first for another"
        print(f"{name} is tested as it is on this machine; {remedy}")
    return describe(client, image_id or name)


def pull(name: str, *options: str, attempts: int = 1) -> None:
    """Pull an image by the docker CLI, which knows the user's logins.

    Pulls are limited, so what must be there is worth more than one attempt (FACTS.md#ecr-limits).
    """
    command = ["docker", "pull", "--quiet", *options, name]
    for _ in range(attempts - 1):
        with contextlib.suppress(GateError):
            stream(command, failure="")
            return
        time.sleep(PULL_INTERVAL)
    stream(command, failure=f"{name} is not here and cannot be pulled")


def load(client: DockerClient, tar: Path) -> str:
    """Load an archive of `docker save` into the engine and return the id that the image has."""
    with tar.open("rb") as file:
        return str(client.images.load(file)[0].id)


def digest_of(tar: Path) -> str:
    """Return the config digest of the one image in an archive that `docker save` made."""
    try:
        with tarfile.open(tar) as archive:
            (image,) = json.loads(_content(archive, "manifest.json"))
            config = _content(archive, image["Config"])
    except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise GateError(
            f"{tar} is not an archive of one image ({error})"
        ) from None
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file.read()


def candidate_reference(image: Image, settings: Settings) -> str:
    """Return the name under which aws-sam-cli asks for the candidate (FACTS.md#full-name).

    Its tag names the commit that it was built from; an image that was not built here has none.
    """
    tag = settings.emulator_tag
    if not tag and image.revision and not settings.emulator_image:
        commit, dirty, _ = image.revision.partition("-dirty")
        tag = f"pr-{commit[:12]}{dirty}"
    return f"{settings.emulator_repository}:{tag or f'pr-{engine.short(image.image_id)}'}"


def check_tag(client: DockerClient, candidate: Image) -> None:
    """Raise GateError if the candidate's tag is gone, as after `docker image prune --all`."""
    if engine.image_id(client, candidate.reference) != candidate.image_id:
        raise GateError(
            f"{candidate.reference} no longer names the candidate: run `make image`"
        )


def save_candidate(
    image: Image, settings: Settings, wheel: Wheel | None = None
) -> Image:
    """Write candidate.json, and image.tar if wanted; return the image with its config digest."""
    folder = workspace.results_folder(image.platform)
    folder.mkdir(parents=True, exist_ok=True)
    if settings.compat_save_image:
        tar = folder / TAR
        # By id, since another clone of the same commit may move the tag.
        command = ["docker", "save", f"--output={tar}", image.image_id]
        stream(command, failure=f"{tar} cannot be written")
        image = replace(image, config_digest=digest_of(tar))
    candidate = Candidate(image, made_by(settings), wheel)
    workspace.write_result(folder / CANDIDATE, asdict(candidate))
    return image


def load_candidate(platform: str) -> Candidate:
    """Return what `save_candidate` wrote."""
    path = workspace.results_folder(platform) / CANDIDATE
    value = workspace.read_result(path, remedy="run `make image`")
    wheel = Wheel(**value["wheel"]) if value["wheel"] else None
    return Candidate(Image(**value["image"]), value["made_by"], wheel)


def made_by(settings: Settings) -> dict[str, str]:
    """Return a hash of each setting that decides what the image is: a value may hold a secret."""
    names = ("source", "prebuild", "image", "repository", "version")
    values = {name: getattr(settings, f"emulator_{name}") for name in names}
    return {
        name: hashlib.sha256(value.encode()).hexdigest()
        for name, value in values.items()
    }
