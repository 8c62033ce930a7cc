"""How a script starts and ends, and how it calls other programs."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

LAST_LINES = 20
ROOM = 64 * 1024  # bytes; with less than that something has failed to write, or will
# Seconds in which a second signal asks for what the first one did. make passes SIGTERM on to a script that has got it
# with its group, and GitHub sends SIGTERM 7.5 s after SIGINT: neither may end the cleaning up.
SAME_REQUEST = 10.0


class GateError(Exception):
    """The gate could not be run. The message is one line for a person: the cause, then the remedy.

    `detail` is what a program that failed said last.
    """

    def __init__(self, message: str, detail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.detail = detail


class AbandonedError(BaseException):
    """Nobody waits for this run any more: no error that anything on the way may take as its own."""


def makes() -> list[int]:
    """Return the process id of this one's parent and, where /proc tells, those of the makes above it."""
    found = [os.getppid()]
    while parent := parent_of_make(found[-1]):
        found.append(parent)
    return found[:1] + found[1:-1]  # the last is no make


def parent_of_make(pid: int) -> int:
    """Return the process id of a make's parent; 0 if it is no make, or if there is no /proc to tell."""
    with contextlib.suppress(OSError, ValueError):
        _, name, rest = Path(f"/proc/{pid}/stat").read_text().split(maxsplit=2)
        if name in ("(make)", "(gmake)"):
            return int(rest.split()[1])
    return 0


MAKES = makes()


def waited_for() -> None:
    """Raise AbandonedError once a make that called this script is gone: SIGKILL of it tells nobody else."""
    if "MAKELEVEL" in os.environ and makes() != MAKES:
        raise AbandonedError("make is gone, so nobody waits for a verdict")


def tools_path() -> str:
    """Return PATH with the folder of this Python first: uv is there."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def entry(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with what it returns; 2 after a GateError (one line on stderr), 130 after Ctrl-C.

    SIGTERM, which CI sends when a job is cancelled, and SIGHUP of a terminal that is closed count as Ctrl-C.
    """
    heard = -SAME_REQUEST

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        nonlocal heard
        if time.monotonic() - heard >= SAME_REQUEST:
            heard = time.monotonic()
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)  # a script's background job would ignore it otherwise
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup's
        signal.signal(signal.SIGHUP, interrupt)
    os.umask(0o022)  # containers of other users read what is checked out and built
    try:
        code = main()
    except GateError as error:
        print(*(f"  | {line}" for line in error.detail), f"error: {error}{room()}", sep="\n", file=sys.stderr)
        code = 2
    except AbandonedError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except OSError as error:
        unnamed = "; make room on its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        print(f"error: {error}{room() or unnamed}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Exception:  # a mistake of the gate's own must not look like a red verdict
        traceback.print_exc()
        print("error: this is a mistake of the gate itself: please report it with the lines above", file=sys.stderr)
        code = 2
    sys.exit(code)


def room() -> str:
    """Return which folder's disk is full, as the end of a message that this explains; nothing if none is."""
    root = Path(__file__).resolve().parent.parent
    folders = (root / ".compat", root / ".cache", Path(os.environ.get("TMPDIR") or "/tmp"))
    full = [str(folder) for folder in folders if folder.is_dir() and shutil.disk_usage(folder).free < ROOM]
    return f"; no room is left on the disk of {' and '.join(full)}: make some and run again" if full else ""


def call(
    command: Sequence[str | Path],
    *,
    failure: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    shell: bool = False,
) -> str:
    """Run a program to its end and return what it printed on stdout.

    Into `log` go stdout and stderr together, and the returned text is then both.
    Raises GateError with `failure` and the program's last lines if it cannot be started or does not exit with 0.
    """
    arguments: str | list[str] = str(command[0]) if shell else [str(part) for part in command]
    try:
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=dict(os.environ if env is None else env),
            shell=shell,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if log else subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise GateError(f"{failure}: {error.filename} is not there; install it") from None
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=0.5)
                break
            waited_for()
    except BaseException:  # Ctrl-C: what it started goes too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(out, encoding="utf-8")
    if process.returncode:
        said = (out if log else err).strip().splitlines()[-LAST_LINES:]
        whole = f", all of it in {log}" if log else ""
        raise GateError(f"{failure} (exit code {process.returncode}{whole})", detail=said)
    return out
