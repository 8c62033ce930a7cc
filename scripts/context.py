"""What a build gets: the folder without what the gate keeps below it, an environment without the gate's own make."""

import os
import shutil
from pathlib import Path

import gitrepo
from command import GateError, call, tools_path
from config import ROOT

# Of the make that called this: its options and variables would reach a prebuild that is make itself.
OF_OUR_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHONDONTWRITEBYTECODE")


def environment() -> dict[str, str]:
    """Return the environment of EMULATOR_PREBUILD and of `docker build`."""
    # Another builder's images would not be in the engine.
    kept = {name: value for name, value in os.environ.items() if name not in (*OF_OUR_MAKE, "BUILDX_BUILDER")}
    return kept | {"PATH": tools_path(), "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_BUILDKIT": buildkit()}


def buildkit() -> str:
    """Return what DOCKER_BUILDKIT must be: 1 where buildx is installed, else 0, the classic builder."""
    try:
        call(["docker", "buildx", "version"], failure="no buildx")
    except GateError:
        return "0"
    return "1"


def options(folder: Path, scratch: Path) -> list[str]:
    """Return the options for a `docker build` in `folder` that keep out what the gate has below it.

    That is a gigabyte of checkouts, and a Dockerfile with `COPY . .` would make another image of it every time.
    BuildKit reads what to ignore from beside the Dockerfile: `scratch` gets a copy, with the gate added to what the
    folder's own file says. Raises GateError for the classic builder, which cannot be told.
    """
    if not ROOT.is_relative_to(folder):
        return []
    if buildkit() == "0":
        raise GateError(
            "the gate lies in the folder it builds, which the classic builder would take in: install buildx"
        )
    own = [file for file in (folder / "Dockerfile.dockerignore", folder / ".dockerignore") if file.is_file()]
    lines = own[0].read_text(encoding="utf-8").splitlines() if own else []
    kept = [ROOT / ".cache", ROOT / ".compat"] if folder == ROOT else [ROOT]
    if folder == ROOT and not committed(ROOT / ".env"):
        kept.append(ROOT / ".env")
    for path in kept:
        lines += [name := f"/{path.relative_to(folder)}", f"{name}/**"]  # after `!*/**`, one of them is not enough
    shutil.copy(folder / "Dockerfile", scratch)
    (scratch / "Dockerfile.dockerignore").write_text("\n".join(lines), encoding="utf-8")
    return ["--file", str(scratch / "Dockerfile")]


def committed(file: Path) -> bool:
    """Return whether git knows a file, so that it is of a revision."""
    try:
        gitrepo.git("ls-files", "--error-unmatch", file.name, cwd=file.parent, failure="not known")
    except GateError:
        return False
    return True
