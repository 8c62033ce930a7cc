"""Images: describe one, pull or load one that exists, save it for another machine."""

import json
import lzma
import re
import tarfile
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import docker

from gate import workspace
from gate.cli import GateError
from gate.containers.engine import ERRORS, cli_environment, image_id, remove_container, short
from gate.programs import stream
from gate.settings import local

LABEL = "org.opencontainers.image"
LISTING = 60  # seconds that an image's pip has; measured 1
LISTING_NAME = re.compile(rf"{workspace.PREFIX}[0-9a-f]{{8}}-packages")  # of its container, in any clone


@dataclass(frozen=True)
class Image:
    """An image of this engine. `version` and `revision` are its labels, `packages` the durable ones by its own pip.

    `image_id` is comparable within one engine; `config_digest` is the same in both of Docker's image stores.
    """

    image_id: str
    config_digest: str
    reference: str
    platform: str
    version: str = ""
    revision: str = ""
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.rpartition(":")[0]


def repository_of(name: str) -> str:
    """Return an image's name without digest, tag and Docker Hub's host, which docker leaves out itself."""
    name = name.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    head, slash, last = name.rpartition("/")  # a colon before the last slash is a registry's port
    return f"{head}{slash}{last.partition(':')[0]}"


def describe(client: docker.DockerClient, reference: str) -> Image:
    """Return an image as the engine knows it, without its packages. Raises docker's ImageNotFound if there is none."""
    attributes = client.images.get(reference).attrs
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    return Image(
        image_id=attributes["Id"],
        config_digest=_config_digest(client, attributes["Id"]),
        reference=reference,
        platform=f"{attributes['Os']}/{attributes['Architecture']}",
        version=labels.get(f"{LABEL}.version", ""),
        revision=labels.get(f"{LABEL}.revision", ""),
    )


def packages(client: docker.DockerClient, image: str) -> dict[str, str]:
    """Return the durable packages in an image by its own pip, in a container without a network; none if it fails."""
    name = f"{workspace.clone_name()}-packages"
    remove_container(client, name)
    try:
        options = {"entrypoint": "pip", "name": name, "network_mode": "none", "detach": True}
        container = client.containers.run(image, ["list", "--format=json"], **options)  # type: ignore[call-overload]
        container.wait(timeout=LISTING)
        listing = json.loads(container.logs(stderr=False))
        return {str(row["name"]): str(row["version"]) for row in listing if "durable" in str(row["name"])}
    except (*ERRORS, ValueError, TypeError, KeyError, RecursionError):
        return {}  # for the reader only; an image without a working pip can be gated as well
    finally:
        remove_container(client, name)


def take(client: docker.DockerClient, name: str) -> tuple[str, str]:
    """Return the id of EMULATOR_IMAGE in this engine and the tag it should get: pr-<image id>.

    A file NAME.tar is loaded; a name with a registry is pulled, and the engine's own is used where that fails.
    """
    if name.endswith(".tar"):
        found = load(local(name))
    else:
        registry = name.partition("/")[0] if "/" in name else ""
        if "." in registry or ":" in registry or registry == "localhost":
            try:
                pull(name, f"EMULATOR_IMAGE: {name} cannot be pulled")
            except GateError as error:
                print(f"{error}; looking for it in the engine", flush=True)
        found = name
    if (image := image_id(client, found)) is None:
        raise GateError(f"EMULATOR_IMAGE: there is no image {name} in the engine: build or pull it")
    return image, f"pr-{short(image)}"


def pull(name: str, failure: str) -> None:
    """Pull an image for the engine's own platform. Raises GateError with `failure` if it cannot be pulled."""
    stream(["docker", "pull", name], failure=failure, log=workspace.PULL_LOG, env=cli_environment())


def load(tar: Path) -> str:
    """Load an archive that `docker save` made and return the engine's name of its one image."""
    log = workspace.PULL_LOG
    try:
        digest_of(tar)
        before = log.stat().st_size if log.exists() else 0
        stream(["docker", "load", "--input", tar], failure=f"{tar} cannot be loaded", log=log)
    except FileNotFoundError:
        raise GateError(f"{tar} is missing: `make image COMPAT_SAVE_IMAGE=1` saves the candidate as one") from None
    printed = log.read_bytes()[before:].decode(errors="replace")
    names = re.findall(r"^Loaded image(?: ID)?: (\S+)$", printed, re.MULTILINE)
    if not names:
        raise GateError(f"{tar} was loaded and docker did not print the image's name: see {log}")
    return str(names[0])


def save(image: Image) -> None:
    """Keep an image as image.tar in its platform's folder, whole or not at all, for another machine."""
    tar = workspace.results(image.platform) / workspace.TAR
    half = tar.with_suffix(".half")
    try:
        log = workspace.log(image.platform, "save")
        stream(["docker", "save", "--output", half, image.reference], failure=f"{tar} cannot be written", log=log)
        if (found := digest_of(half)) != image.config_digest:  # another clone of this commit shares the tag
            reason = f"{image.reference} was moved from {image.config_digest} to {found} meanwhile"
            raise GateError(f"{tar} cannot be written: {reason}: run it again")
        half.replace(tar)
    finally:
        half.unlink(missing_ok=True)


def digest_of(tar: Path) -> str:
    """Return the config digest of the one image in an archive that `docker save` made."""
    with tar.open("rb") as file:
        try:
            return config_digest_in(file)
        except GateError as error:
            raise GateError(f"{tar}: {error}") from None


def config_digest_in(tar: IO[bytes]) -> str:
    """Return the config digest of the one image in a `docker save` stream. Raises GateError if there is not one."""
    kind = "not an archive of one image, as `docker save` makes it"
    try:
        with tarfile.open(fileobj=tar, mode="r|*") as archive:
            for member in archive:
                if member.name == "manifest.json" and (content := archive.extractfile(member)):
                    found = [str(image["Config"]) for image in json.load(content)]
                    if len(found) != 1:
                        raise GateError(f"{kind} (it has {len(found)})")
                    return f"sha256:{re.findall('[0-9a-f]{64}', found[0])[-1]}"
    except (tarfile.TarError, zlib.error, lzma.LZMAError, ValueError, LookupError, TypeError, EOFError) as error:
        raise GateError(f"{kind} ({error or type(error).__name__})") from None
    raise GateError(f"{kind} (it has no manifest.json)")


def _config_digest(client: docker.DockerClient, image: str) -> str:
    """Return an image's config digest: its id in the classic store; containerd's ids are manifest digests."""
    status: list[Any] = client.info().get("DriverStatus") or []
    if ["driver-type", "io.containerd.snapshotter.v1"] not in status:
        return image
    with tempfile.TemporaryFile(dir=workspace.CACHE) as tar:
        for chunk in client.api.get_image(image):
            tar.write(chunk)
        tar.seek(0)
        return config_digest_in(tar)
