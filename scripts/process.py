"""One pytest process: the environment made for it, its port, its deadline, its end."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import leftovers
from command import GateError

# A run copies it beside its homes: Python's caches of it must not lie in the repository.
PLUGIN = Path(__file__).parent / "insuite"
EXACT = {
    "LANG", "LANGUAGE", "TZ", "SAM_SKIP_PULL_IMAGE",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
}  # fmt: skip
PROXY = re.compile(r"(http|https|ftp|all|no)_proxy", re.IGNORECASE)
PREFIXES = ("LC_", "PIP_", "UV_", "DOCKER_")
# DOCKER_CONTEXT would win over the DOCKER_HOST the suite is handed, and is unknown in its HOME; the others are secrets.
NEVER = re.compile(r"DOCKER_(CONTEXT|AUTH.*|.*PASSWORD|.*TOKEN)|UV_PUBLISH_.*")
# Above what sam-cli picks for its own containers (5000-9000), below what systems hand out for outgoing connections.
PORTS = range(20000, 30000)
claims: list[socket.socket] = []


@dataclass(frozen=True)
class Pytest:
    """A pytest process to run: `mark` is <run>-<shard>, `report` where the plugin tells, `log` what it prints."""

    python: Path
    arguments: tuple[str, ...]
    worktree: Path
    home: Path
    mark: str
    tag: str
    report: Path
    log: Path

    @property
    def tmp(self) -> Path:
        """The folder for temporary files: beside its HOME, which stays empty."""
        return self.home.with_name(f"{self.home.name}-tmp")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of the caller's environment may reach the suite: where tools and networks are, nothing more."""
    return {
        name: value
        for name, value in environ.items()
        if (name in EXACT or PROXY.fullmatch(name) or name.startswith(PREFIXES)) and not NEVER.fullmatch(name)
    }


def not_by_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that lead no proxy to this machine itself, where emulators are, beside what they have."""
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = ",".join(filter(None, (given, "localhost", "127.0.0.1")))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def environment(pytest: Pytest, engine: Mapping[str, str]) -> dict[str, str]:
    """Return the suite's environment: what may be inherited, then what this run sets. `engine` leads to the engine."""
    return {
        # functions under test are built again and again from the same packages
        "PIP_CACHE_DIR": str(pytest.worktree.parent.parent / "pip"),
        **inherited(os.environ),
        **not_by_proxy(os.environ),
        **engine,
        "PATH": os.pathsep.join([str(pytest.python.parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(pytest.home),
        # Here, so that a container that mounts something of it is known as this clone's.
        "TMPDIR": str(pytest.tmp),
        "PYTHONPATH": str(pytest.home.parent / PLUGIN.name),
        "SAM_COMPAT_REPORT": str(pytest.report),
        "SAM_COMPAT_WORKTREE": str(pytest.worktree),
        "SAM_COMPAT_GATE": str(os.getpid()),
        leftovers.MARK: f"{pytest.mark}/",
        "SAM_CLI_DEV": "1",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",  # a machine's own role is a caller's credential too
        "FORCE_RUN_DOCKER_TEST": "1",  # without it, and with CI set, all tests are skipped and pytest exits 0
        "DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": pytest.tag,
        "DURABLE_EXECUTIONS_CONTAINER_NAME": f"{leftovers.PREFIX}{pytest.mark}",
        "DURABLE_EXECUTIONS_EMULATOR_PORT": str(free_port()),
    }


def run(
    pytest: Pytest,
    engine: Mapping[str, str],
    *,
    deadline: float,
    stop: threading.Event,
    tell: Callable[[dict[str, Any]], None],
) -> int | None:
    """Run pytest to its end and return its exit code (negative: the signal that ended it), None if it had to be ended.

    It has to be past `deadline`, by the monotonic clock, or once `stop` is set. What its plugin reports goes to
    `tell` meanwhile. Whatever happens, none of its processes is left.
    """
    for folder in (pytest.home, pytest.tmp):
        folder.mkdir(exist_ok=True)
    pytest.log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(pytest.python), "-m", "pytest", "-p", "sam_compat_reporter", *pytest.arguments]
    told = 0
    with pytest.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=pytest.worktree,
            env=environment(pytest, engine),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while True:
                code = process.poll()
                fresh = list(records(pytest.report))[told:]
                told += len(fresh)
                for record in fresh:
                    tell(record)
                if code is not None or time.monotonic() > deadline or stop.is_set():
                    return code
                time.sleep(0.1)
        finally:
            end(process, pytest.mark)


def end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a process group and whatever else carries its mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    leftovers.kill(f"{mark}/")


def records(report: Path) -> Iterator[dict[str, Any]]:
    """Yield what the plugin has told so far; a line that is not whole yet comes next time."""
    if report.exists():
        for line in report.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def free_port() -> int:
    """Return a TCP port that nobody listens on now, and no other shard was given, of this gate or of another one on
    this machine. Raises GateError if there is none.

    An emulator may start to listen much later. Until this process ends, it claims the port for it by holding the UDP
    port of the same number, which leaves the TCP port free.
    """
    for port in random.sample(PORTS, len(PORTS)):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        return port
    raise GateError(f"no free port from {PORTS.start} to {PORTS.stop - 1} for an emulator: end what listens there")
