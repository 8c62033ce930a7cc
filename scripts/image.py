"""make image: build the candidate, or adopt one that exists, and tag it so that sam-cli uses it."""

import contextlib
import hashlib
import json
import re
import tempfile
from pathlib import Path

import docker

import context
import engine
import gitrepo
import state
from candidate import LABEL, Candidate, settings
from command import GateError, call, entry
from config import ROOT, Config, load
from config import local as path_of
from leftovers import PREFIX

# This clone's, so that what a killed run left is found; and a gate's, so that another one's witness leaves it apart.
OURS = f"{PREFIX}{hashlib.sha256(bytes(state.CACHE)).hexdigest()[:8]}"
BUILT = f"{OURS}:build"  # what a build has made, until it has its tag
LISTING = 60  # seconds that an image's pip has; measured 1


@engine.needed()
def main() -> int:
    """Leave the candidate, tagged and described, and return 0. Raises GateError if there can be none."""
    state.forget_verdict()
    config = load()
    client = engine.connect()
    platform = engine.platform(client)
    state.forget_verdict(platform)
    with state.lock("image"):
        (state.folder(platform) / "candidate.json").unlink(missing_ok=True)
        image, tag = adopt(client, config) if config.emulator_image else build(client, config, state.folder(platform))
        tag = config.emulator_tag or tag
        try:
            candidate = describe(client, config, image, f"{config.emulator_repository}:{tag}", platform)
            client.images.get(candidate.image_id).tag(config.emulator_repository, tag)
            candidate.save()
        finally:
            if image == BUILT:
                client.images.remove(image)
    print(f"candidate {candidate.reference}\n          {candidate.image_id} ({candidate.platform})", flush=True)
    return 0


def adopt(client: docker.DockerClient, config: Config) -> tuple[str, str]:
    """Return id and tag of EMULATOR_IMAGE, newest from its registry if its name has one."""
    name = config.emulator_image
    registry = name.partition("/")[0] if "/" in name else ""
    if "." in registry or ":" in registry or registry == "localhost":
        try:
            call(["docker", "pull", "--quiet", name], failure=f"EMULATOR_IMAGE: {name} cannot be pulled")
        except GateError as error:
            print(f"{error}; looking for it in the engine", flush=True)
    image = engine.image_id(client, name)
    if image is None:
        raise GateError(f"EMULATOR_IMAGE: there is no image {name}, here or in its registry: build or pull it")
    return image, f"pr-{engine.short(image)}"


def build(client: docker.DockerClient, config: Config, findings: Path) -> tuple[str, str]:
    """Build EMULATOR_SOURCE and return a name of the image, for the caller to remove, and the tag it should have."""
    folder, origin = source(config)
    revision = revision_of(folder)
    shown = gitrepo.without_secrets(config.emulator_source)
    print(f"building {shown}{f' at {revision[:12]}' if revision else ''}", flush=True)
    environ = context.environment()
    if revision:
        stamp = gitrepo.git("log", "-1", "--format=%ct", cwd=folder, failure="git log failed")
        environ.setdefault("SOURCE_DATE_EPOCH", stamp)  # the same wheel twice, so that no layer is built anew
    if config.emulator_prebuild:
        failure = f"EMULATOR_PREBUILD={config.emulator_prebuild!r} failed in {folder}: mend it, or leave it empty"
        call(
            [config.emulator_prebuild],
            failure=failure,
            cwd=folder,
            env=environ,
            shell=True,
            log=findings / "logs/prebuild.log",
        )
    if revision_of(folder, tracked_only=True) != revision.removesuffix("-dirty"):
        revision = f"{revision.removesuffix('-dirty')}-dirty"  # by the prebuild, if it was not before
    if not (folder / "Dockerfile").is_file():
        raise GateError(f"EMULATOR_SOURCE: {folder} has no Dockerfile")
    labels = {"version": config.emulator_version or wheel_version(folder), "revision": revision, "source": origin}
    with tempfile.TemporaryDirectory() as scratch:
        # Not --iidfile: in the containerd store it may hold an id that the engine does not know an image by.
        command = ["docker", "build", "--tag", BUILT, *context.options(folder, Path(scratch))]
        for name, value in labels.items():
            command += ["--label", f"{LABEL}.{name}={value}"] if value else []
        failure = f"docker build failed in {folder}: mend its Dockerfile"
        try:
            call([*command, "."], failure=failure, cwd=folder, env=environ, log=findings / "logs/build.log")
        except GateError:
            engine.connect()  # raises if it is not the Dockerfile that failed but the engine
            raise
    if revision_of(folder).removesuffix("-dirty") != revision.removesuffix("-dirty"):
        raise GateError(f"{folder} went to another commit while the image was built: run it again")
    commit, dirty = revision.removesuffix("-dirty")[:12], "-dirty" if revision.endswith("-dirty") else ""
    return BUILT, f"pr-{commit or engine.short(str(engine.image_id(client, BUILT)))}{dirty}"


def source(config: Config) -> tuple[Path, str]:
    """Return the folder to build in and the URL it came from, without secrets; no URL for a folder without remote."""
    given, _, fragment = config.emulator_source.partition("#")
    local = path_of(given).resolve()
    if not fragment and local.is_dir():
        try:
            remote = gitrepo.git("remote", "get-url", "origin", cwd=local, failure="no remote")
        except GateError:
            remote = ""
        return local, gitrepo.without_secrets(remote) if "://" in remote or "@" in remote else ""
    if not local.is_dir() and not re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", given):
        raise GateError(f"EMULATOR_SOURCE: {given} is no folder and no git URL (URL[#ref[:folder]])")
    url = str(local) if local.is_dir() else given
    ref, _, below = fragment.partition(":")
    commit = gitrepo.resolve(url, ref, setting="EMULATOR_SOURCE")
    top = state.CACHE / "emulator"
    gitrepo.checkout(url, commit, top)
    folder = (top / below).resolve()
    if not folder.is_dir() or not folder.is_relative_to(top.resolve()):
        raise GateError(f"EMULATOR_SOURCE: there is no folder {below} at {gitrepo.without_secrets(given)}#{ref}")
    return folder, "" if local.is_dir() else gitrepo.without_secrets(given)


def revision_of(folder: Path, *, tracked_only: bool = False) -> str:
    """Return the commit of a folder, with -dirty if its tree differs from it; empty outside git.

    A folder that a repository around it ignores is outside. With `tracked_only` new files are no difference.
    """
    try:
        failure = f"git does not tell the commit of {folder}"
        commit, top = gitrepo.git("rev-parse", "HEAD", "--show-toplevel", cwd=folder, failure=failure).splitlines()
    except GateError as error:
        if any("not a git repository" in line or "unknown revision" in line for line in error.detail):
            return ""
        raise
    with contextlib.suppress(GateError):
        gitrepo.git("check-ignore", "--quiet", ".", cwd=folder, failure="not ignored")
        return ""
    new = f"--untracked-files={'no' if tracked_only else 'normal'}"
    failure = f"git status failed in {folder}"
    changes = gitrepo.git("status", "--porcelain", new, "--", ":(top)", cwd=folder, failure=failure).splitlines()
    if ROOT.is_relative_to(top):  # the gate's own, which no image gets
        changes = [change for change in changes if change != f"?? {(ROOT / '.env').relative_to(top)}"]
    return f"{commit}-dirty" if changes else commit


def wheel_version(folder: Path) -> str:
    """Return the version in the name of the one wheel in dist/ (PEP 427), or nothing."""
    wheels = list((folder / "dist").glob("*.whl"))
    if len(wheels) > 1:
        names = ", ".join(sorted(wheel.name for wheel in wheels))
        raise GateError(
            f"{folder}/dist has more than one wheel ({names}): EMULATOR_PREBUILD must start with a clean dist/"
        )
    return wheels[0].name.split("-")[1] if wheels else ""


def describe(client: docker.DockerClient, config: Config, image: str, reference: str, platform: str) -> Candidate:
    """Return the candidate as the engine and the image itself describe it."""
    attributes = client.images.get(image).attrs
    of_image = engine.platform_of(client, image)
    if of_image != platform:
        raise GateError(f"the image is {of_image}, the engine {platform}: gate it on a machine of its own platform")
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    version, revision = (labels.get(f"{LABEL}.{name}", "") for name in ("version", "revision"))
    return Candidate(
        attributes["Id"], reference, platform, version, revision, packages(client, image), settings(config)
    )


def packages(client: docker.DockerClient, image: str) -> dict[str, str]:
    """Return the durable packages in an image by its own pip, with versions; none if it has no pip that works."""
    name = f"{OURS}-packages"
    engine.remove_container(client, name)
    try:
        container = client.containers.run(
            image, ["list", "--format=json"], entrypoint="pip", name=name, network_mode="none", detach=True
        )
        container.wait(timeout=LISTING)
        listing = container.logs(stderr=False)
        return {row["name"]: row["version"] for row in json.loads(listing) if "durable" in row["name"]}
    except (*engine.ERRORS, ValueError):
        return {}
    finally:
        engine.remove_container(client, name)


if __name__ == "__main__":
    entry(main)
