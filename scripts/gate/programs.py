"""How the gate calls other programs, and the error it ends with when one of them fails."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# In the venv of the gate's tools.
UV = str(Path(sys.executable).with_name("uv"))
# What to do when a program is missing that the gate itself does not install.
INSTALL = {
    "docker": "install Docker with buildx (in the template, `make engine` does)",
    "git": "install git",
    "gh": "install GitHub's command line program",
}
# pip's settings under the names that uv knows: uv reads none of pip's (astral-sh/uv#1859).
UV_NAMES = {
    "index-url": ["UV_DEFAULT_INDEX"],
    "extra-index-url": ["UV_INDEX"],
    "trusted-host": ["UV_INSECURE_HOST"],
    "cert": ["SSL_CERT_FILE"],
    "proxy": ["HTTPS_PROXY", "HTTP_PROXY"],
}
# Characters of what a failed program printed that are shown.
MAX_REASON_LENGTH = 1000


class GateError(Exception):
    """The gate cannot run. The message is one line: what failed, the value, what to do."""


def call(command: Sequence[str | Path], *, failure: str, **options: Any) -> str:
    """Return a program's stdout, stripped. Raises GateError with `failure` and what it printed."""
    done = run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        **options,
    )
    if done.returncode:
        # WSL's stub of docker prints its reason to stdout (beeware/briefcase#1634).
        printed = done.stderr.strip() or done.stdout.strip()
        # Cut, since git names each of a thousand files that it cannot write.
        reason = one_line(without_secrets(printed))[:MAX_REASON_LENGTH]
        raise GateError(f"{failure}: {reason}")
    return str(done.stdout.strip())


def stream(
    command: Sequence[str | Path] | str, *, failure: str, **options: Any
) -> None:
    """Print and run a command (a string: by the shell). Raises GateError unless it exits with 0."""
    text = (
        command if isinstance(command, str) else shlex.join(map(str, command))
    )
    print(f"+ {without_secrets(text)}")
    done = run(command, shell=isinstance(command, str), **options)
    if done.returncode:
        raise GateError(f"{failure} (exit code {done.returncode}, see above)")


def one_line(text: str) -> str:
    """Return text with a single space for each of its line ends and runs of spaces."""
    return " ".join(text.split())


def without_secrets(text: str) -> str:
    """Return text without the user names and passwords in its URLs."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def uv_environment() -> dict[str, str]:
    """Return an environment in which uv finds packages the way pip does on this machine.

    Certificates are the system's, as for pip: a company's own authority is not among those that
    uv brings along (astral-sh/uv#1474).
    """
    found = {
        "UV_SYSTEM_CERTS": "1",
        "UV_NATIVE_TLS": "1",
        # pip takes the best version of all its indexes.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    for option, value in pip_settings("install").items():
        for name in UV_NAMES.get(option, []):
            found[name] = value
    return found | os.environ


def pip_settings(command: str) -> dict[str, str]:
    """Return what pip's files and variables set for one of its commands, by option."""
    listing = call(
        [sys.executable, "-m", "pip", "config", "list"],
        failure="pip's configuration cannot be read",
    )
    found = {}
    # In pip, later wins.
    for layer in ("global", command, ":env:"):
        settings = rf"(?m)^{layer}\.([a-z-]+)='(.*)'$"
        for option, value in re.findall(settings, listing):
            # pip separates several values by line ends, which its listing shows as \n.
            words = value.replace("\\n", " ").split()
            # `~` is the caller's home: a shard has another.
            found[option] = " ".join(map(os.path.expanduser, words))
    return found


def run(
    command: Sequence[str | Path] | str, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a program without input. Raises GateError with a remedy if it is not installed."""
    program = str(command if isinstance(command, str) else command[0])
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, **options)
    except FileNotFoundError as error:
        # A missing folder to run in is the same error, under the folder's name.
        if error.filename != program or program not in INSTALL:
            raise
        remedy = INSTALL[program]
        raise GateError(
            f"{program} is not installed, or not on PATH: {remedy}"
        ) from None
