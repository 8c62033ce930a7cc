"""The emulator: its source folder, the git revision of that, and the build."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.utils.build import PatternMatcher
from packaging.utils import canonicalize_name

from gate import engine, git, images, sdk, workspace
from gate.images import LABEL
from gate.model import Image
from gate.programs import (
    UV,
    GateError,
    call,
    stream,
    uv_environment,
    without_secrets,
)
from gate.sdk import Wheel
from gate.settings import Settings, path_of

# `COPY . .`, `ADD src ./ /app/` and the like, but not from another stage: a source is followed by
# another word.
TAKES_ALL = re.compile(
    r'(?im)^\s*(COPY|ADD)\s(?!.*--from=).*?(?<=[\s",\[])(\./?\*?|\*)("\s*,|[ \t]+\S)'
)


def source_folder(settings: Settings) -> Path:
    """Return the folder that EMULATOR_SOURCE names; that of a URL is checked out first."""
    source = settings.emulator_source
    if path_of(source).is_dir():
        return path_of(source).resolve()
    url, _, fragment = source.partition("#")
    url = git.source(url)
    ref, _, below = fragment.partition(":")
    if not is_url(url) and not Path(url).exists():
        raise GateError(
            f"EMULATOR_SOURCE: {url} is not a folder and not a git URL"
        )
    refs = git.refs_of(url, setting="EMULATOR_SOURCE")
    commit = git.commit_of(url, ref, refs, setting="EMULATOR_SOURCE")
    git.fetch(url, commit, setting="EMULATOR_SOURCE")
    folder = git.worktree(url, commit, workspace.CACHE / "emulator") / below
    if not folder.is_dir():
        raise GateError(
            f"EMULATOR_SOURCE: there is no folder {below} at {without_secrets(source)}"
        )
    return folder


def is_url(source: str) -> bool:
    """Return whether a git source is a URL or host:path, and not a path of this machine."""
    return bool(re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", source))


def revision(folder: Path) -> str:
    """Return the commit of a folder, with -dirty if its tree has changes; "" outside git.

    Raises GateError where git refuses to read a repository, such as one of another owner
    (actions/checkout#1048).
    """
    if not any(
        (parent / ".git").exists() for parent in (folder, *folder.parents)
    ):
        return ""
    status = git.git(
        "status",
        "--porcelain=v2",
        "--branch",
        "--untracked-files=normal",
        cwd=folder,
        failure=f"{folder}: git cannot read it",
    )
    commit = re.search("(?m)^# branch.oid ([0-9a-f]+)$", status)
    if not commit:
        # There is no commit yet.
        return ""
    is_dirty = re.search("(?m)^[^#]", status)
    return f"{commit[1]}-dirty" if is_dirty else commit[1]


def wheel_version(folder: Path) -> str:
    """Return the version of the emulator's wheel in dist/, "" if there is none.

    Wheels of other packages may be beside it (FACTS.md#upstream-dist).
    """
    name = sdk.project_name(folder)
    wheels = sorted(
        wheel.name
        for wheel in (folder / "dist").glob("*-*.whl")
        if name in ("", canonicalize_name(wheel.name.partition("-")[0]))
    )
    if len(wheels) > 1:
        # The Dockerfile installs dist/*.whl (FACTS.md#two-wheels).
        raise GateError(
            f"{folder}/dist has two wheels {wheels}: EMULATOR_PREBUILD must clear it"
        )
    return wheels[0].split("-")[1] if wheels else ""


def build(
    client: DockerClient, settings: Settings, wheel: Wheel | None
) -> Image:
    """Run EMULATOR_PREBUILD, build the image and label it.

    A wheel of the SDK lies in dist/ beside the emulator's meanwhile.
    """
    # Without it docker prints its whole usage (abiosoft/colima#1608).
    call(
        ["docker", "buildx", "version"],
        failure="docker has no buildx: install docker-buildx (docker-buildx-plugin)",
    )
    folder = source_folder(settings)
    refuse_own_files(folder)
    # Before the prebuild adds files.
    labels = {"revision": revision(folder)}
    if settings.emulator_prebuild:
        _prebuild(settings.emulator_prebuild, folder)
    # Without a version the Dockerfile's own label stays.
    if version := settings.emulator_version or wheel_version(folder):
        labels["version"] = version
    name = f"{workspace.CLONE}:build"
    command = [
        "docker",
        "buildx",
        "build",
        "--load",
        "--progress=plain",
        f"--tag={name}",
        # The context's own: one of another driver does not see images of the engine
        # (FACTS.md#persisted-builders).
        f"--builder={engine.context()['Name']}",
    ]
    command += [
        f"--label={LABEL}.{label}={value}" for label, value in labels.items()
    ]
    # An attestation would turn a pushed image into an index (FACTS.md#attestation-index).
    environ = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    with _beside_the_emulators(wheel, folder):
        stream(
            [*command, "."],
            failure="docker buildx build failed",
            cwd=folder,
            env=environ,
        )
    return images.describe(client, name)


@contextlib.contextmanager
def _beside_the_emulators(wheel: Wheel | None, folder: Path) -> Iterator[None]:
    if not wheel:
        yield
        return
    (folder / "dist").mkdir(exist_ok=True)
    copy = folder / "dist" / Path(wheel.path).name
    shutil.copyfile(wheel.path, copy)
    try:
        yield
    finally:
        copy.unlink()


def refuse_own_files(folder: Path) -> None:
    """Raise GateError if a build of a folder would take the gate's own files along.

    .env can hold secrets, and would be published.
    """
    if folder != workspace.ROOT and folder not in workspace.ROOT.parents:
        return
    dockerfile = folder / "Dockerfile"
    if not dockerfile.exists():
        return
    instructions = re.sub(r"\\\r?\n", " ", _text(dockerfile))
    if not TAKES_ALL.search(instructions):
        return
    file = folder / "Dockerfile.dockerignore"
    if not file.exists():
        file = folder / ".dockerignore"
    patterns = _text(file).splitlines() if file.exists() else []
    matcher = PatternMatcher(patterns)
    own = [
        str((workspace.ROOT / name).relative_to(folder))
        for name in workspace.OWN
    ]
    taken = [name for name in own if not _is_ignored(matcher, name)]
    if taken:
        lines = " ".join(taken)
        raise GateError(
            f"{dockerfile} copies {lines} into the image: add them to {file}"
        )


def _text(file: Path) -> str:
    """Return a file's text as Docker reads it, which does not look at its comments' encoding."""
    return file.read_text(encoding="utf-8-sig", errors="replace")


def _is_ignored(matcher: PatternMatcher, name: str) -> bool:
    """Return whether a file or folder is ignored, or all that is in it, as by `.cache/*`."""
    # Its type stub is wrong: a path that is no string ends in an AttributeError.
    matches: Callable[[Any], bool] = matcher.matches
    return matches(name) or matches(f"{name}/file")


def _prebuild(command: str, folder: Path) -> None:
    workspace.shield_from_parents()
    environ = uv_environment()
    environ["PATH"] = f"{Path(UV).parent}:{environ['PATH']}"
    stream(command, failure="EMULATOR_PREBUILD failed", cwd=folder, env=environ)
