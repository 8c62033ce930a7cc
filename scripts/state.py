"""Where the gate keeps things: .cache/ (costs only time) and .compat/<platform>/ (what one machine found out)."""

import contextlib
import fcntl
import json
import os
import platform as machine
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command import MAKES, GateError, parent_of_make
from config import ROOT

CACHE = ROOT / ".cache"
PATIENCE = 5.0  # seconds; a run whose make was killed has noticed and cleaned up by then
COMPAT = ROOT / ".compat"


def folder(platform: str) -> Path:
    """Return the findings' folder of a platform: .compat/linux-amd64 for linux/amd64."""
    return COMPAT / platform.replace("/", "-")


def prepare() -> None:
    """Make both folders, each ignored by git wherever the template was copied to."""
    for top in (CACHE, COMPAT):
        top.mkdir(exist_ok=True)
        ignore = top / ".gitignore"
        if not ignore.exists():
            write(ignore, "*\n")


def forget_verdict(platform: str | None = None) -> None:
    """Remove the earlier verdict of a platform (default: this machine's), so that an interrupted run leaves none."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine(), machine.machine())
    for name in ("verdict.json", "summary.md"):
        (folder(platform or f"linux/{arch}") / name).unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file that is either there whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.half")  # two scripts of one make may write the same one
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, *, remedy: str) -> Any:
    """Return what a file of this gate holds. Raises GateError with `remedy` if it is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise GateError(f"{path} is missing or damaged: {remedy}") from None


@contextlib.contextmanager
def lock(part: str = "") -> Iterator[None]:
    """Hold this clone: alone, or a part of it, which runs beside other parts of the same make.

    The system drops a lock with its process, so a killed run leaves none. Raises GateError if another run still holds
    it after PATIENCE.
    """
    prepare()
    deadline = time.monotonic() + PATIENCE
    with (CACHE / "lock").open("w") as whole, (CACHE / f"lock-{part}").open("w") as own:
        while True:
            try:
                fcntl.flock(whole, (fcntl.LOCK_SH if part else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
                claim()
                break
            except BlockingIOError:
                for held in (own, whole):
                    fcntl.flock(held, fcntl.LOCK_UN)
                if time.monotonic() > deadline:
                    raise GateError("another gate is running in this clone: wait, or use a second clone") from None
                time.sleep(0.1)
        yield


def claim() -> None:
    """Note that this clone is that of the topmost make above, between its scripts too, until it is gone.

    A script that no make called is its own. Raises BlockingIOError if it is another make's.
    """
    top = MAKES[-1] if "MAKELEVEL" in os.environ else os.getpid()
    if Path("/proc/self/stat").exists() and not parent_of_make(top):
        top = os.getpid()  # the make was killed meanwhile, or is one of long ago that started a shell
    ours = _process(top)
    with (CACHE / "claim").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        theirs = file.read()
        if theirs not in ("", ours) and theirs == _process(int(theirs.split()[0])):
            raise BlockingIOError
        file.truncate(0)
        file.write(ours)


def _process(pid: int) -> str:
    """Return a process id and, where /proc says it, since when it runs; nothing if it is gone."""
    try:
        if not Path("/proc/self/stat").exists():
            os.kill(pid, 0)
            return f"{pid}"
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if status[0] in "ZX" else f"{pid} {status[19]}"  # killed, whether or not its parent has looked
