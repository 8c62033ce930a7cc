"""How a script starts and ends: errors, exit codes, signals, outputs of a job."""

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from gate.text import plain

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
