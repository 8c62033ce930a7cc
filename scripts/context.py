"""What a build gets: the folder without what the gate keeps below it, an environment without the gate's own make."""

import os
from pathlib import Path

from docker.utils.build import PatternMatcher

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


def check(folder: Path) -> None:
    """Raise GateError if `docker build` in this folder would be sent what the gate keeps below it.

    That is a gigabyte of checkouts, and a Dockerfile with `COPY . .` would make another image of it every time.
    """
    if not ROOT.is_relative_to(folder):
        return
    file = folder / "Dockerfile.dockerignore"  # BuildKit's, in place of the other one
    if not file.is_file() or buildkit() == "0":
        file = folder / ".dockerignore"
    patterns = PatternMatcher(file.read_text(encoding="utf-8").splitlines() if file.is_file() else []).patterns
    for kept in (ROOT / ".cache", ROOT / ".compat"):
        path, ignored = (kept / "file").relative_to(folder), False
        for pattern in patterns:  # as Docker reads them: the last one that matches the path or one above it decides
            if any(pattern.match(str(part)) for part in (path, *path.parents)):
                ignored = not pattern.exclusion
        if not ignored:
            line = f"/{(kept if folder == ROOT else ROOT).relative_to(folder)}"
            raise GateError(f"{file}: add the line {line}, or what the gate keeps there would be sent to the engine")
