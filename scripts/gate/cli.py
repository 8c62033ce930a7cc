"""How a script starts and ends, and how it calls other programs."""

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from gate.text import plain, without_secrets

LAST_LINES = 20
CALL_LIMIT = 300  # seconds for a program that only answers a question
STEP_LIMIT = 3600  # seconds for a long step: a build, a fetch, an installation
HEARTBEAT = 30  # seconds of silence after which a long step says that it still runs
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The second where PATH has a folder that this user may not read.
MISSING = (FileNotFoundError, PermissionError)
Command = Sequence[str | Path] | str  # a string is run by the shell


class GateError(Exception):
    """The gate cannot run. The message is one line: what failed, the value, what to do.

    `detail` holds the last lines of the program that failed.
    """

    def __init__(self, message: str, detail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.detail = detail


def run_main(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with what it returns: 0 or 1. Exit with 2 after an error, with 130 after a signal.

    SIGTERM (a cancelled job) and SIGHUP (a closed terminal) count as Ctrl-C. Later signals are ignored, so that none
    can end the clean-up.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    os.umask(0o022)  # containers of other users read what is checked out and built
    try:
        code = main()
    except GateError as error:
        code = _fail(*(f"  | {line}" for line in error.detail), f"error: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a failed write does not name its file
            code = _fail(f"error: No space left on the disk of {error.filename or Path.cwd()}; free some and run again")
        else:
            code = _fail(f"error: {error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt as interruption:
        code = _fail("; ".join(["interrupted", *map(str, interruption.args)])) and 130
    except Exception:  # must not look like a red verdict
        code = _fail(traceback.format_exc(), "error: Internal error; please report it with the traceback above")
    sys.exit(code)


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Let a signal that comes while the body runs take effect after it."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _fail(*lines: str) -> int:
    print(*map(plain, lines), sep="\n", file=sys.stderr)
    return 2


def github_output(**values: str) -> None:
    """Hand values on as outputs of a GitHub step; do nothing elsewhere."""
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.writelines(f"{name.replace('_', '-')}={value}\n" for name, value in values.items())


def tools_path() -> str:
    """Return PATH with the folder of this Python first: uv is there."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def call(
    command: Sequence[str | Path], *, failure: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program that answers a question and return what it printed on stdout.

    Raises GateError with `failure` and the program's last lines unless it exits with 0 within CALL_LIMIT.
    """
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=CALL_LIMIT,
        )  # fmt: skip
    except MISSING as error:
        raise GateError(f"{failure}: {error.filename} was not found: install it") from None
    except subprocess.TimeoutExpired:
        raise GateError(f"{failure}: {command[0]} did not end within {CALL_LIMIT} s") from None
    if done.returncode:
        last = without_secrets(done.stderr).splitlines()[-LAST_LINES:]
        raise GateError(f"{failure} (exit code {done.returncode})", last)
    return done.stdout


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
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, shell=isinstance(command, str),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    except MISSING as error:
        raise GateError(f"{failure}: {error.filename} was not found: install it") from None
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
