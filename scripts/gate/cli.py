"""How a script starts and ends, and what it reports to the workflow that called it."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from docker.errors import DockerException

from gate.programs import GateError, one_line
from gate.workspace import CACHE, ROOT, VERSION

# Ctrl-C; `kill`, or a cancelled job on a machine of one's own; a terminal that was closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What governs git, docker and uv from outside is not meant for the gate. Scripts are also run
# without make, by a hook or by `git bisect`.
NOT_OURS = [
    # A hook's variables make git read another repository (FACTS.md#hook-environment).
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    # The kind of a store follows its remote's (pre-commit/pre-commit#3434).
    "GIT_DEFAULT_HASH",
    # It would build an image for another kind of machine.
    "DOCKER_DEFAULT_PLATFORM",
    # They move pip's installations away (aws/aws-cdk#8487).
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "UV_NO_EDITABLE",
    # What aws-sam-cli and its tests require has no hashes, and can be newer than a cooldown allows
    # (canonical/operator#2616).
    "PIP_REQUIRE_HASHES",
    "PIP_UPLOADED_PRIOR_TO",
    "UV_REQUIRE_HASHES",
    "UV_EXCLUDE_NEWER",
    # Modules of another program's.
    "PYTHONPATH",
    "PYTHONHOME",
]

# Each names a file, pip's constraint several. The gate's programs run in other folders.
NAMES_OF_FILES = [
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NETRC",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "PIP_CONSTRAINT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "UV_CONSTRAINT",
]


def run_main(main: Callable[[], int]) -> NoReturn:
    """Exit with what `main` returns (0 or 1), with 2 after an error, with 130 after a signal."""
    code = 2
    try:
        _listen_to_signals()
        _prepare_environment()
        # A terminal may know fewer characters than a failing test's message has.
        sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
        sys.stderr.reconfigure(errors="replace")  # type: ignore[union-attr]
        sys.exit(main())
    # It stands before OSError, since docker's APIError is both.
    except DockerException as error:
        message = f"error: the Docker engine refused a request: {error}"
    # requests' ConnectionError is an OSError too: the engine has ended.
    except (GateError, OSError) as error:
        message = f"error: {error}"
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            # The error of a write names no file.
            message += f": is the disk of {ROOT} full?"
    except KeyboardInterrupt:
        code = 130
        message = "interrupted"
    # It must not end with Python's exit code 1, which means a red verdict.
    except Exception:
        traceback.print_exc()
        report = "please report it with the traceback above"
        message = f"error: internal error in gate {VERSION}; {report}"
    print(one_line(message), file=sys.stderr)
    sys.exit(code)


def github_output(**values: str) -> None:
    """Set outputs of a GitHub step (`_` becomes `-`); do nothing elsewhere."""
    output = os.environ.get("GITHUB_OUTPUT")
    if not output:
        return
    with Path(output).open("a", encoding="utf-8") as file:
        for name, value in values.items():
            # A second line would be read as another output.
            if "\n" in value or "\r" in value:
                raise GateError(f"{name}: {value!r} has more than one line")
            file.write(f"{name.replace('_', '-')}={value}\n")


def _prepare_environment() -> None:
    """Adapt the caller's environment for git, docker, pip and uv."""
    for name in NOT_OURS:
        os.environ.pop(name, None)
    for name in os.environ.keys() & NAMES_OF_FILES:
        os.environ[name] = _with_absolute_paths(os.environ[name])
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    # A clone of the user's may itself get its files only when they are asked for (git 2.45).
    os.environ.setdefault("GIT_NO_LAZY_FETCH", "0")
    if not os.access(os.environ.get("HOME", "/"), os.W_OK):
        # As of a container's user that has no home (astral-sh/uv#9962).
        os.environ.setdefault("UV_CACHE_DIR", f"{CACHE}/uv")
        os.environ.setdefault("UV_PYTHON_INSTALL_DIR", f"{CACHE}/python")


def _with_absolute_paths(value: str) -> str:
    """Return what a variable holds, with a path from the root for each file that is there."""
    # Path.is_file raises for one that may not be read, up to Python 3.12.
    words = [value] if os.path.isfile(value) else value.split()  # noqa: PTH113
    return " ".join(
        os.path.abspath(word) if os.path.isfile(word) else word  # noqa: PTH100, PTH113
        for word in words
    )


def _listen_to_signals() -> None:
    for number in SIGNALS:
        # nohup ignores SIGHUP on purpose: the run is meant to outlive its terminal.
        if (
            signal.getsignal(number) is not signal.SIG_IGN
            or number == signal.SIGINT
        ):
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    # make passes Ctrl-C on as a second signal, which must not end the clean-up.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
