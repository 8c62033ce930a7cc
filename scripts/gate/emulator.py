"""The emulator: its source folder, the git revision of that, and the build."""

import os
import re
from pathlib import Path

from gate import engine, git, workspace
from gate.cli import UV, GateError, stream, uv_environment, without_secrets
from gate.images import LABEL
from gate.settings import Settings, local


def source_folder(settings: Settings) -> Path:
    source = settings.emulator_source
    if local(source).is_dir():
        return local(source).resolve()
    url, _, fragment = source.partition("#")
    url = git.source(url)
    ref, _, below = fragment.partition(":")
    if not is_url(url) and not Path(url).exists():
        raise GateError(f"EMULATOR_SOURCE: {url} is not a folder and not a git URL")
    refs = git.listing(url, setting="EMULATOR_SOURCE")
    commit = git.resolve(url, ref, refs, setting="EMULATOR_SOURCE")
    folder = git.worktree(url, commit, workspace.CACHE / "emulator") / below
    if not folder.is_dir():
        raise GateError(f"EMULATOR_SOURCE: there is no folder {below} at {without_secrets(source)}")
    return folder


def is_url(source: str) -> bool:
    return bool(re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", source))


def revision(folder: Path) -> str:
    """Return the commit of a folder, with -dirty if its tree has changes; "" outside git."""
    try:
        commit = git.git("rev-parse", "HEAD", cwd=folder, failure="no commit")
    except GateError:
        return ""
    status = ("status", "--porcelain", "--untracked-files=normal")
    changes = git.git(*status, cwd=folder, failure="git status failed")
    return f"{commit}-dirty" if changes else commit


def wheel_version(folder: Path) -> str:
    wheels = sorted(wheel.name for wheel in (folder / "dist").glob("*.whl"))
    if len(wheels) > 1:  # fact 14
        raise GateError(f"{folder}/dist has two wheels {wheels}: EMULATOR_PREBUILD must clear it")
    return wheels[0].split("-")[1] if wheels else ""


def build(settings: Settings) -> str:
    """Run EMULATOR_PREBUILD, build the image and label it, and return the name that it has then."""
    folder = source_folder(settings)
    labels = {"revision": revision(folder)}  # before the prebuild adds files
    # An attestation would turn a pushed image into an index (fact 19).
    environ = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    if command := settings.emulator_prebuild:
        ours = uv_environment() | environ | {"PATH": f"{Path(UV).parent}:{environ['PATH']}"}
        stream(command, failure="EMULATOR_PREBUILD failed", cwd=folder, env=ours)
    # Without a version the Dockerfile's own label stays.
    if version := settings.emulator_version or wheel_version(folder):
        labels["version"] = version
    name = f"{workspace.CLONE}:build"
    build = ["docker", "buildx", "build", "--load", "--progress=plain", f"--tag={name}"]
    build.append(f"--builder={engine.context('{{.Name}}')}")  # the context's own (fact 32)
    build += [f"--label={LABEL}.{label}={value}" for label, value in labels.items()]
    stream([*build, "."], failure="docker buildx build failed", cwd=folder, env=environ)
    return name
