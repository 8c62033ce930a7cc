"""How the gate calls other programs: for an answer, or for a long step whose output is shown as it comes."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from gate.cli import GateError
from gate.text import plain, without_secrets

LAST_LINES = 20
CALL_LIMIT = 300  # seconds for a program that only answers a question
STEP_LIMIT = 3600  # seconds for a long step: a build, a fetch, an installation
HEARTBEAT = 30  # seconds of silence after which a long step says that it still runs

# The second where PATH has a folder that this user may not read.
MISSING = (FileNotFoundError, PermissionError)
Command = Sequence[str | Path] | str  # a string is run by the shell


def tools_path() -> str:
    """Return PATH with the folder of this Python first: uv is there."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def ask(
    command: Sequence[str | Path], *, failure: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program that answers a question, and return how it ended and what it printed.

    Raises GateError with `failure` if it is missing or does not end within CALL_LIMIT.
    """
    try:
        with _missing_program_explained(failure):
            return subprocess.run(
                list(map(str, command)), cwd=cwd, env=env,
                stdin=subprocess.DEVNULL, capture_output=True, timeout=CALL_LIMIT,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise GateError(f"{failure}: {command[0]} did not end within {CALL_LIMIT} s") from None


def call(
    command: Sequence[str | Path], *, failure: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program that answers a question and return what it printed on stdout.

    Raises GateError with `failure` and the program's last lines unless it exits with 0 within CALL_LIMIT.
    """
    done = ask(command, failure=failure, cwd=cwd, env=env)
    if done.returncode:
        raise GateError(f"{failure} (exit code {done.returncode})", last_lines(done.stderr))
    return done.stdout.decode(errors="replace").replace("\r\n", "\n")


def last_lines(printed: bytes) -> list[str]:
    """Return the end of what a program printed, without secrets, as the detail of a GateError."""
    return without_secrets(printed.decode(errors="replace")).splitlines()[-LAST_LINES:]


@contextlib.contextmanager
def _missing_program_explained(failure: str) -> Iterator[None]:
    try:
        yield
    except MISSING as error:
        raise GateError(f"{failure}: {error.filename} was not found: install it") from None


def stream(
    command: Command, *, failure: str, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a long step: print the command and, as it comes, what it prints; append both to `log`.

    Whatever it leaves running in its process group is killed. Raises GateError with `failure` and the log's name
    unless it exits with 0 within STEP_LIMIT.
    """
    arguments = command if isinstance(command, str) else list(map(str, command))
    shown = plain(f"+ {without_secrets(arguments if isinstance(arguments, str) else shlex.join(arguments))}")
    print(shown, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+b") as output:
        output.write(f"{chr(10) if output.tell() else ''}{shown}\n".encode())
        output.flush()
        start, began = output.tell(), time.monotonic()
        at, spoke = start, began
        with process_group(arguments, failure=failure, log=output, cwd=cwd, env=env) as process:
            while (code := process.poll()) is None and time.monotonic() - began < STEP_LIMIT:
                time.sleep(0.1)
                if (now := _print_new(log, at)) > at:
                    at, spoke = now, time.monotonic()
                elif time.monotonic() - spoke > HEARTBEAT:
                    spoke = time.monotonic()
                    print(f"  | … still running after {spoke - began:.0f} s", flush=True)
    _print_new(log, at, to_the_end=True)
    if code != 0:
        if b"no space left on device" in log.read_bytes()[start:].lower():  # of this machine or of the engine's
            raise GateError(f"{failure}: No space left on a disk (see {log}); free some and run again")
        how = f"did not end within {STEP_LIMIT} s" if code is None else f"exit code {code}"
        raise GateError(f"{failure} ({how}; the whole output is in {log})")


@contextlib.contextmanager
def process_group(
    command: Sequence[str] | str, *, failure: str, log: IO[bytes], cwd: Path | None, env: Mapping[str, str] | None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a program in a process group of its own; at the end of the body kill what is left of the group.

    It prints into `log`, not into a pipe: a background process that keeps a pipe open would be waited for. Raises
    GateError with `failure` if the program is missing.
    """
    with _missing_program_explained(failure):
        process = subprocess.Popen(
            command, cwd=cwd, env=env, shell=isinstance(command, str),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _print_new(log: Path, at: int, *, to_the_end: bool = False) -> int:
    """Print the whole lines that came since position `at`, indented, and return the position after them."""
    with log.open("rb") as output:
        output.seek(at)
        new = output.read()
    whole = new if to_the_end else new[: new.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        print(f"  | {plain(without_secrets(line))}", flush=True)
    return at + len(whole)
