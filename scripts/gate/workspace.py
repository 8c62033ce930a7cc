"""Every folder that the gate writes: .cache/, which `make clean` removes, and .compat/, results."""

import contextlib
import fcntl
import hashlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.cli import GateError

ROOT = Path(__file__).resolve().parents[2]
CACHE, COMPAT = ROOT / ".cache", ROOT / ".compat"
MEMORY = Path("/dev/shm")  # Linux's file system in memory
VERDICT, SUMMARY = "verdict.json", "summary.md"
PREFIX = "sam-compat-"  # begins the names of all that any clone makes in an engine
# A name of this clone: a later run finds by it what a killed one left.
CLONE = f"{PREFIX}{hashlib.sha256(f'{platform.node()}:{ROOT}'.encode()).hexdigest()[:8]}"
VERSION = (ROOT / "scripts/VERSION").read_text().strip()


def results(platform: str) -> Path:
    folder = COMPAT / platform.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def delete_verdicts() -> None:
    for path in (*COMPAT.glob(f"*/{VERDICT}"), *COMPAT.glob(f"*/{SUMMARY}")):
        path.unlink()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    (CACHE / "uv.toml").touch()  # ends uv's search for the settings of parent folders (fact 29)
    with (CACHE / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait for it, or use a second clone"
            raise GateError(f"another run is working in this clone: {remedy}") from None
        yield


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path, *, remedy: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        raise GateError(f"{path} is missing or damaged: {remedy}") from None
