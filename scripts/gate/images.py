"""Images: the candidate as candidate.json describes it, and those that exist already."""

import contextlib
import hashlib
import json
import re
import subprocess
import tarfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from gate import engine, workspace
from gate.cli import GateError, call, stream
from gate.settings import Settings, local

LABEL = "org.opencontainers.image"
STAND_IN = "sam-compat.stand-in"  # the label of what `make engine` makes where it cannot pull
CANDIDATE, TAR = "candidate.json", "image.tar"


@dataclass(frozen=True)
class Image:
    """An image of this engine. `version` and `revision` are labels, `packages` its durable ones.

    `image_id` is comparable within one engine, `config_digest` everywhere; it is empty where only
    image.tar would tell it: in containerd's store (fact 21).
    """

    image_id: str
    config_digest: str
    reference: str
    platform: str
    version: str = ""
    revision: str = ""
    packages: dict[str, str] = field(default_factory=dict)


def repository_of(name: str) -> str:
    """Return an image's name without digest, tag (not a registry's port) and Docker Hub's host."""
    return re.sub(r"^(docker\.io/)?(library/)?|(:[^/:@]+)?(@.*)?$", "", name)


def describe(client: engine.Client, image: str) -> Image:
    found = client.images.get(image)
    store = ["driver-type", "io.containerd.snapshotter.v1"]
    containerd = store in (client.info().get("DriverStatus") or [])
    digest = "" if containerd else found.attrs["Id"]
    platform = "{Os}/{Architecture}".format_map(found.attrs)
    labels = [found.labels.get(f"{LABEL}.{name}", "") for name in ("version", "revision")]
    return Image(found.attrs["Id"], digest, image, platform, *labels)


def packages(image_id: str) -> dict[str, str]:
    """Return the durable packages in an image by its own pip; none if it has no working one."""
    command = ["docker", "run", "--rm", f"--name={workspace.CLONE}-packages"]
    command += ["--network=none", "--entrypoint=pip", image_id, "list", "--format=json"]
    try:
        listing = json.loads(call(command, failure="no pip", timeout=60))
    except (GateError, subprocess.TimeoutExpired, ValueError):
        return {}
    return {row["name"]: row["version"] for row in listing if "durable" in row["name"]}


def take(client: engine.Client, name: str) -> tuple[str, str]:
    """Return the config digest of a NAME.tar, and the id of an image, loaded or pulled."""
    if name.endswith(".tar"):
        return digest_of(local(name)), load(client, local(name))
    if name.endswith(":latest") or not engine.image_id(client, name):
        with contextlib.suppress(GateError):
            pull(name)
    if image_id := engine.image_id(client, name):
        return "", image_id
    raise GateError(f"there is no image {name}: build or pull it")


def pull(name: str, *options: str) -> None:
    stream(["docker", "pull", "--quiet", *options, name], failure=f"{name} cannot be pulled")


def load(client: engine.Client, tar: Path) -> str:
    with tar.open("rb") as file:
        return str(client.images.load(file)[0].id)


def digest_of(tar: Path) -> str:
    """Return the config digest of the one image in an archive that `docker save` made."""
    try:
        with tarfile.open(tar) as archive:
            (image,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
            config = archive.extractfile(image["Config"]).read()  # type: ignore[union-attr]
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise GateError(f"{tar} is not an archive of one image ({error})") from None
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def save_candidate(candidate: Image, settings: Settings) -> Image:
    """Write candidate.json, and image.tar if wanted; return the image with its config digest."""
    folder = workspace.results(candidate.platform)
    if settings.compat_save_image:
        tar = folder / TAR
        # By id: another clone of the same commit may move the tag.
        command = ["docker", "save", f"--output={tar}", candidate.image_id]
        stream(command, failure=f"{tar} cannot be written")
        candidate = replace(candidate, config_digest=digest_of(tar))
    value = {"candidate": asdict(candidate), "made_by": made_by(settings)}
    workspace.write_json(folder / CANDIDATE, value)
    return candidate


def load_candidate(platform: str) -> tuple[Image, dict[str, str]]:
    path = workspace.results(platform) / CANDIDATE
    value = workspace.read_json(path, remedy="run `make image` first")
    return Image(**value["candidate"]), value["made_by"]


def made_by(settings: Settings) -> dict[str, str]:
    """Return a hash of each setting that decides what the image is: a value may hold a secret."""
    names = ("source", "prebuild", "image", "repository", "version")
    values = {name: getattr(settings, f"emulator_{name}") for name in names}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in values.items()}
