"""How a script starts and ends, and how it calls other programs."""

import contextlib
import os
import re
import shlex
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
CALL_LIMIT = 300  # seconds for a program that only answers a question
STEP_LIMIT = 3600  # seconds for a long step: a build, a fetch, an installation
HEARTBEAT = 30  # seconds of silence after which a long step says that it still runs
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

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
        code = _fail(f"error: {error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt as interruption:
        code = _fail("; ".join(["interrupted", *map(str, interruption.args)])) and 130
    except Exception:  # must not look like a red verdict
        code = _fail(traceback.format_exc(), "error: Internal error; please report it with the traceback above")
    sys.exit(code)


def _fail(*lines: str) -> int:
    print(*map(plain, lines), sep="\n", file=sys.stderr)
    return 2


def plain(text: str) -> str:
    """Return text from elsewhere so that a terminal and the log of a GitHub job print it and do nothing else."""
    text = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n"))
    return re.sub(r"(?m)^(\s*)::", r"\1\\::", text).replace("##[", "##\\[")


def one_line(text: str) -> str:
    """Return text from elsewhere as one line that is safe to print."""
    return plain(" ".join(text.split()))


def without_secrets(text: str) -> str:
    """Return a URL, or text with URLs, without the users and passwords in them."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def github_output(**values: str) -> None:
    """Hand values on as outputs of a GitHub step; do nothing elsewhere."""
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.writelines(f"{name.replace('_', '-')}={value}\n" for name, value in values.items())


def tools_path() -> str:
    """Return PATH with the folder of this Python first: uv is there."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


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
    except FileNotFoundError as error:
        raise GateError(f"{failure}: {error.filename} was not found: install it") from None
    except subprocess.TimeoutExpired:
        raise GateError(f"{failure}: {command[0]} did not end within {CALL_LIMIT} s") from None
    if done.returncode:
        raise GateError(
            f"{failure} (exit code {done.returncode})", without_secrets(done.stderr).splitlines()[-LAST_LINES:]
        )
    return done.stdout


def stream(
    command: Command, *, failure: str, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a long step: print the command and, as it comes, what it prints; append both to `log`.

    Whatever it leaves running in its process group is killed. Raises GateError with `failure` and the log's name
    unless it exits with 0 within STEP_LIMIT.
    """
    shown = f"+ {without_secrets(command if isinstance(command, str) else shlex.join(map(str, command)))}"
    print(plain(shown), flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+b") as output:
        output.write(f"{shown}\n".encode())
        output.flush()
        at, began = output.tell(), time.monotonic()
        arguments = command if isinstance(command, str) else list(map(str, command))
        try:
            # Into the file, not a pipe: a background process that keeps a pipe open would be waited for.
            process = subprocess.Popen(
                arguments, cwd=cwd, env=env, shell=isinstance(command, str),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise GateError(f"{failure}: {error.filename} was not found: install it") from None
        spoke = began
        try:
            while (code := process.poll()) is None and time.monotonic() - began < STEP_LIMIT:
                time.sleep(0.1)
                if (now := _print_new(log, at)) > at:
                    at, spoke = now, time.monotonic()
                elif time.monotonic() - spoke > HEARTBEAT:
                    spoke = time.monotonic()
                    print(f"  | … still running after {spoke - began:.0f} s", flush=True)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _print_new(log, at)
    if code != 0:
        how = f"did not end within {STEP_LIMIT} s" if code is None else f"exit code {code}"
        raise GateError(f"{failure} ({how}; the whole output is in {log})")


def _print_new(log: Path, at: int) -> int:
    """Print the whole lines that came since position `at`, indented, and return the position after them."""
    with log.open("rb") as output:
        output.seek(at)
        whole, newline, _ = output.read().rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        print(f"  | {plain(without_secrets(line))}", flush=True)
    return at + len(whole) + len(newline)
