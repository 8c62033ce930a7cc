"""How a script starts and ends, and how it calls other programs."""

import os
import re
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from docker.errors import DockerException

UV = str(Path(sys.executable).with_name("uv"))  # in the venv of the gate's tools
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, a cancelled job


class GateError(Exception):
    """The gate cannot run. The message is one line: what failed, the value, what to do."""


def _interrupt(*_: object) -> None:
    for number in SIGNALS:  # make passes Ctrl-C on as a second signal, which must not end clean-up
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_main(main: Callable[[], int]) -> NoReturn:
    """Exit with what `main` returns (0 or 1), with 2 after an error, with 130 after Ctrl-C."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    code = 2
    try:
        sys.exit(main())
    except DockerException as error:  # before OSError, which its APIError is too
        message = f"error: the Docker engine refused a request: {error}"
    except (GateError, OSError) as error:  # also those of requests: the engine is gone
        message = f"error: {error}"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    except Exception:  # must not look like a red verdict
        traceback.print_exc()
        message = "error: internal error; please report it with the traceback above"
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(code)


def call(command: Sequence[str | Path], *, failure: str, **options: Any) -> str:
    """Return a program's stdout, stripped. Raises GateError with `failure` and its stderr."""
    options |= {"stdin": subprocess.DEVNULL, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode:
        raise GateError(f"{failure}: {without_secrets(' '.join(done.stderr.split()))}")
    return str(done.stdout.strip())


def stream(command: Sequence[str | Path] | str, *, failure: str, **options: Any) -> None:
    """Print and run a command (a string: by the shell). Raises GateError unless it exits with 0."""
    shell = isinstance(command, str)
    text = command if isinstance(command, str) else shlex.join(map(str, command))
    print(f"+ {without_secrets(text)}")
    done = subprocess.run(command, shell=shell, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        raise GateError(f"{failure} (exit code {done.returncode}, see above)")


def uv_environment() -> dict[str, str]:
    """Return an environment with pip's index: uv does not read pip's settings (uv#1859)."""
    listing = call([sys.executable, "-m", "pip", "config", "list"], failure="pip config failed")
    index = re.search(r"(?m)^\S+\.index-url='(.+)'$", listing)
    return ({"UV_INDEX_URL": index[1]} if index else {}) | os.environ


def without_secrets(text: str) -> str:
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def github_output(**values: str) -> None:
    """Set outputs of a GitHub step (`_` becomes `-`); do nothing elsewhere."""
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.writelines(f"{name.replace('_', '-')}={value}\n" for name, value in values.items())
