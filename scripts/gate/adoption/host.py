"""The host, a repository that adopts the gate: its emulator and its publishing workflows."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gate.adoption.copies import WORKFLOWS, git

OF_ITS_OWN = ("Makefile", "makefile", "GNUmakefile", ".env.example", "scripts")
FOLDER = ".sam-cli-compat"  # hidden: pytest and setuptools' discovery leave it alone
PREBUILD = "uv build --wheel --clear --out-dir dist"
RUNS_EMULATOR = ("dex-local-runner", "emulator")  # in a Dockerfile, the surest first
PUBLISHES = re.compile(  # not the ecr in "secrets"
    r"(?<![a-z])ecr(?![a-z])|docker push|docker manifest push|build-push-action|durable-execution-emulator",
    re.IGNORECASE,
)
ROLE = re.compile(r"role-to-assume:\s*\$\{\{\s*([\w.]+)\s*\}\}")


@dataclass(frozen=True)
class Host:
    """A repository with what git tracks there, the gate's own files apart."""

    root: Path
    files: tuple[str, ...]

    def text(self, name: str) -> str:
        """Return what a file holds, "" if it is missing."""
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def folder(self) -> str:
        """Return where a first copy goes: to the top, unless the host has files there or its emulator is elsewhere."""
        return FOLDER if emulator(self)[0] or any(os.path.lexists(self.root / name) for name in OF_ITS_OWN) else ""

    def publishers(self) -> list[str]:
        """Return the workflows that seem to publish the image."""
        workflows = (name for name in self.files if name.startswith(f"{WORKFLOWS}/"))
        return [name for name in workflows if PUBLISHES.search(self.text(name))]

    def roles(self) -> list[str]:
        """Return the expressions by which those workflows name the role they assume: secrets.NAME or vars.NAME."""
        return sorted({role for name in self.publishers() for role in ROLE.findall(self.text(name))})


def find(root: Path, own: set[str]) -> Host:
    """Return a host without the files of the gate."""
    listed = git("ls-files", "-z", cwd=root, failure=f"the files of {root} cannot be listed").split("\0")
    return Host(root, tuple(name for name in listed if name and name not in own))


def emulator(host: Host) -> tuple[str, str]:
    """Return the folder of the emulator's Dockerfile and why that one: "", the top, if it is not clear."""
    dockerfiles = [name for name in host.files if PurePosixPath(name).name == "Dockerfile"]
    for word in (*RUNS_EMULATOR, ""):
        found = [name for name in dockerfiles if word in host.text(name).lower()]
        if len(found) == 1:
            why = f"its Dockerfile names {word}" if word else "it has the only Dockerfile"
            return found[0].removesuffix("Dockerfile").rstrip("/"), why
    many = f"which of {', '.join(dockerfiles)}?" if dockerfiles else "no Dockerfile was found"
    return "", f"{many} Set it to the emulator's folder"


def settings(host: Host, folder: str) -> dict[str, tuple[str, str]]:
    """Return the values that a host needs, each with the reason for it."""
    place, why = emulator(host)
    at = PurePosixPath(place)
    dockerfile, project = host.text(str(at / "Dockerfile")), host.text(str(at / "pyproject.toml"))
    backend = re.search(r"""build-backend\s*=\s*["']([^"']+)""", project)
    if wheel := re.search(r"(?m)^(?:COPY|ADD)\b(?!.*--from=).*\bdist/", dockerfile):
        how = f"the Dockerfile copies dist/, built by {backend[1]}" if backend else "Set it to what fills dist/"
    else:
        how = "the Dockerfile copies no wheel"
    legal = [name for name in ("LICENSE", "NOTICE") if name in host.files and re.search(rf"\b{name}\b", project)]
    sources = _sources(host, place, dockerfile)
    return {
        "EMULATOR_SOURCE": (os.path.relpath(host.root / at, host.root / folder), why),
        "EMULATOR_PREBUILD": (PREBUILD if wheel and backend else "", how),
        "GATED_PATHS": (" ".join(sources if sources == ["**"] else [*sources, *legal]), "all that shapes the image"),
    }


def _sources(host: Host, place: str, dockerfile: str) -> list[str]:
    """Return globs for what the image is made of: the emulator's folder; at the top, less only if that is certain."""
    if place:
        return [f"{place}/**"]
    copied = re.findall(r"(?m)^(?:COPY|ADD)((?:[ \t]+\S+)+)[ \t]+\S+[ \t]*$", dockerfile.replace("\\\n", " "))
    words = [word for sources in copied for word in sources.split() if not word.startswith("--chown=")]
    in_src = words and all(word.startswith(("dist/", "src/")) for word in words)
    if not in_src or not any(name.startswith("src/") for name in host.files):
        return ["**"]
    return ["src/**", "Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock"]
