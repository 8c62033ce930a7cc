"""Every folder that the gate writes: .cache/, which `make clean` removes, and .compat/, results."""

import contextlib
import fcntl
import hashlib
import json
import platform as machine
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.cli import GateError

ROOT = Path(__file__).resolve().parents[2]
CACHE, COMPAT = ROOT / ".cache", ROOT / ".compat"
MEMORY = Path("/dev/shm")  # Linux's file system in memory
VERDICT, SUMMARY = "verdict.json", "summary.md"
PREFIX = "sam-compat-"  # of the names of what any clone makes in an engine
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def results(platform: str) -> Path:
    return COMPAT / platform.replace("/", "-")


def clone_name() -> str:
    """Return a name of this clone: a later run finds by it what a killed one left."""
    return f"{PREFIX}{hashlib.sha256(f'{machine.node()}:{ROOT}'.encode()).hexdigest()[:8]}"


def version() -> str:
    return (ROOT / "scripts/VERSION").read_text().strip()


def delete_verdict(platform: str = "") -> None:
    """Remove the earlier verdict of a platform, by default this machine's."""
    architecture = ARCHITECTURES.get(machine.machine(), machine.machine())
    for name in (VERDICT, SUMMARY):
        (results(platform or f"linux/{architecture}") / name).unlink(missing_ok=True)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    for folder in (CACHE, COMPAT):
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    (CACHE / "uv.toml").touch()  # ends uv's search for the settings of parent folders (fact 29)
    with (CACHE / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait for it, or use a second clone"
            raise GateError(f"another run is working in this clone: {remedy}") from None
        yield


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is either there whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.half")
    half.write_text(json.dumps(value, indent=2) + "\n")
    half.replace(path)


def read_json(path: Path, *, remedy: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        raise GateError(f"{path} is missing or damaged: {remedy}") from None
