"""The folders that the gate writes: .cache/, and .compat/ with the results."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform as machine
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.programs import GateError

ROOT = Path(__file__).resolve().parents[2]
# Resolved, so that one folder has one name where .cache is a symbolic link.
CACHE = (ROOT / ".cache").resolve()
COMPAT = ROOT / ".compat"
# Linux's file system in memory.
MEMORY = Path("/dev/shm")
# What never belongs into a repository or an image.
OWN = (".env", ".cache", ".compat")
VERDICT = "verdict.json"
SUMMARY = "summary.md"
# Names of containers, volumes and images that any clone of the gate makes begin with this.
PREFIX = "sam-compat-"
# Those that this clone makes begin with this, so that the next run can remove what a killed run
# left behind.
CLONE = (
    PREFIX + hashlib.sha256(f"{machine.node()}:{ROOT}".encode()).hexdigest()[:8]
)
VERSION = (ROOT / "scripts/VERSION").read_text().strip()


def results_folder(platform: str) -> Path:
    """Return the folder of a platform's results. Who writes a file there makes it."""
    return COMPAT / file_name(platform)


def file_name(text: str) -> str:
    """Return a ref or a platform as it stands in names of files and artifacts."""
    return re.sub("[^A-Za-z0-9._]+", "-", text)


def row_verdict(platform: str, name: str) -> Path:
    """Return where a workflow puts the verdict of a row. `platform` is that of file names."""
    folder = COMPAT / "rows"
    of_row = folder / f"compat-{platform}-{name}"
    # actions/download-artifact may unpack the only artifact without a folder of its name.
    place = of_row if of_row.is_dir() else folder
    return place / platform / VERDICT


def delete_verdicts() -> None:
    """Remove earlier verdicts and reports, so that none outlives a run that fails."""
    for path in (*COMPAT.glob(f"*/{VERDICT}"), *COMPAT.glob(f"*/{SUMMARY}")):
        path.unlink()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Keep every other run out of this clone. Raises GateError if one is working in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait for it, or use a second clone"
            raise GateError(
                f"another run is working in this clone: {remedy}"
            ) from None
        yield


def clean() -> None:
    """Remove everything that the gate wrote. The lock goes last: its name guards the rest.

    Where .cache is a link, only the link goes: behind it can be files of other programs.
    """
    with lock():
        shutil.rmtree(COMPAT, ignore_errors=True)
        link = ROOT / ".cache"
        if link.is_symlink():
            link.unlink()
            print(f"{CACHE} stays, .cache was a link to it")
            return
        for path in CACHE.iterdir():
            if path.name == "lock":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (CACHE / "lock").unlink()
        CACHE.rmdir()


def free(folder: Path) -> int:
    """Return how many bytes the disk of a folder has free."""
    return shutil.disk_usage(folder).free


def check_space(folder: Path, needed: float, *, what: str, remedy: str) -> None:
    """Raise GateError if the disk of a folder has fewer bytes free (rust-lang/crater#700)."""
    available = free(folder)
    if available < needed:
        raise GateError(
            f"{folder} has {available / 1e9:.1f} GB free, {what} need {needed / 1e9:.1f} GB: "
            f"{remedy}"
        )


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, whatever stops the run: later runs trust what it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def append_text(path: Path, text: str) -> None:
    """Add text to a file, with a ? for what no encoding has, such as a byte of a file's name."""
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def add_to_job_page(text: str) -> None:
    """Show text on the page of a GitHub job; do nothing elsewhere."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if not page:
        return
    try:
        append_text(Path(page), text)
    except OSError as error:
        # In a container without that folder. What was found stands.
        print(f"not on the job's page: {error}")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object as `write_text` does."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote, {} if it is not there whole."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
    return {}


def write_result(path: Path, value: dict[str, Any]) -> None:
    """Write what another script, or a job on another machine, goes on with."""
    write_json(path, {"gate": VERSION} | value)


def read_result(path: Path, *, remedy: str) -> dict[str, Any]:
    """Return what `write_result` wrote. Raises GateError unless it was this version of the gate."""
    value = read_json(path)
    if not value:
        raise GateError(f"{path} is missing or damaged: {remedy}")
    if value.get("gate") != VERSION:
        raise GateError(f"{path} is of gate {value.get('gate')}: {remedy}")
    return value


def shield_from_parents() -> None:
    """End uv's search for settings in the folders above .cache/ (FACTS.md#uv-parents)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "uv.toml").touch()
    # Where the folder above is a project, uv takes its settings before any uv.toml
    # (astral-sh/uv#5878).
    (CACHE / "pyproject.toml").touch()
