"""Every path that the gate writes: in .cache/ (can be made again), .compat/<platform>/ (results), and in memory."""

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

from gate.cli import GateError

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
COMPAT = ROOT / ".compat"
CANDIDATE, VERDICT, SUMMARY, TAR = "candidate.json", "verdict.json", "summary.md", "image.tar"
PLUGIN = Path(__file__).parent / "suite/plugin"
PREFIX = "sam-compat-"  # of the names of what the gate makes in the engine
TEST_RESULT = "test-result.json"
SCRATCH = CACHE / "scratch"
EMULATOR = CACHE / "emulator"
INSTALLED = CACHE / "samcli.json"
RUN = CACHE / "run.json"
INSTALL_LOG = CACHE / "logs/install.log"
PIP_CACHE = CACHE / "pip"
PULL_LOG = CACHE / "logs/pull.log"
FETCH_LOG = CACHE / "logs/fetch.log"


def results(platform: str) -> Path:
    """Return the folder of what was found on a platform: .compat/linux-amd64 for linux/amd64."""
    return COMPAT / platform.replace("/", "-")


def log(platform: str, name: str) -> Path:
    """Return the file that keeps what a step or a shard prints."""
    return results(platform) / "logs" / f"{name}.log"


def junit(platform: str, name: str) -> Path:
    """Return the JUnit file of a shard."""
    return results(platform) / "junit" / f"{name}.xml"


def store(key: str) -> Path:
    """Return the bare git repository that keeps what was fetched from one source."""
    return CACHE / "git" / key


def samcli_home(commit: str, python: str) -> Path:
    """Return the folder of one installed aws-sam-cli: src/ and venv/."""
    return CACHE / "samcli" / f"{commit[:12]}-{python}"


def shown(path: Path) -> str:
    """Return a path as the reader of a report can open it: from where make was called, if it is below that."""
    here = Path(os.environ.get("CALLER_PWD") or os.curdir).resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def delete_verdict(platform: str | None = None) -> None:
    """Remove the earlier verdict of a platform, so that a run that cannot finish leaves none.

    Default is this machine's platform, for a caller that does not know the engine's yet.
    """
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine(), machine.machine())
    for name in (VERDICT, SUMMARY):
        (results(platform or f"linux/{architecture}") / name).unlink(missing_ok=True)


def delete_findings(platform: str) -> None:
    """Remove the results of an earlier run, except candidate.json and the logs of its build."""
    shutil.rmtree(results(platform) / "junit", ignore_errors=True)
    for kind in ("suite", "emulator"):
        for file in (results(platform) / "logs").glob(f"{kind}-*"):
            file.unlink()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Lock this clone while the body runs. The lock ends with its process.

    Raises GateError if another run holds it, or if tools cannot work in this folder.
    """
    if odd := re.search('[$:"\\\\\n\ud800-\udfff]', str(ROOT)):
        raise GateError(f"{str(ROOT)!r}: tools cannot handle {odd[0]!r} in a folder's name: move this clone")
    for top in (CACHE, COMPAT):
        top.mkdir(exist_ok=True)
        if not (top / ".gitignore").exists():  # wherever the template was copied to
            write(top / ".gitignore", "*\n")
    with (CACHE / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GateError("another run is working in this clone: wait for it, or use a second clone") from None
        yield


def write(path: Path, text: str) -> None:
    """Write a file that is either there whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.half")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    write(path, json.dumps(value, indent=2) + "\n")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_json(path: Path, *, remedy: str) -> Any:
    """Return what a JSON file holds. Raises GateError with `remedy` if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise GateError(f"{path} is missing: {remedy}") from None
    except (ValueError, RecursionError):
        raise GateError(f"{path} is damaged: {remedy}") from None


def version() -> str:
    """Return the version of this gate, from scripts/VERSION."""
    return (ROOT / "scripts/VERSION").read_text(encoding="utf-8").strip()


def clone_name() -> str:
    """Return a name of this clone for what it makes in the engine: what a killed run left there is found again."""
    return f"{PREFIX}{hashlib.sha256(bytes(ROOT)).hexdigest()[:8]}"


def in_memory() -> Path:
    """Return the folder of this clone's runs in Linux's file system in memory."""
    return Path("/dev/shm").resolve() / clone_name()
