"""The environment of a shard's processes, with a port and a container name of its own."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from gate import workspace
from gate.containers.cleanup import MARK

EXACT = {
    "LANG", "LANGUAGE", "TZ", "SAM_SKIP_PULL_IMAGE",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
}  # fmt: skip
PROXY = re.compile(r"(http|https|ftp|all|no)_proxy", re.IGNORECASE)
PREFIXES = ("LC_", "PIP_", "UV_", "DOCKER_")
# DOCKER_CONTEXT would win over the DOCKER_HOST the suite is given, and is unknown in its HOME; the others are secrets.
NEVER = re.compile(r"DOCKER_(CONTEXT|AUTH.*|.*PASSWORD|.*TOKEN)|UV_PUBLISH_.*")
held: list[socket.socket] = []


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of the caller's environment may reach the suite: where tools and networks are, nothing more."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in EXACT or PROXY.fullmatch(name) or name.startswith(PREFIXES)) and not NEVER.fullmatch(name)
    }
    # Emulators are on this machine: no proxy may be asked for them.
    around = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = ",".join(filter(None, (around, "localhost", "127.0.0.1")))
    return kept | {"no_proxy": hosts, "NO_PROXY": hosts}


def of_shard(python: Path, worktree: Path, home: Path, mark: str, report: Path) -> dict[str, str]:
    """Return the environment of one pytest process: what is inherited, then what this run sets.

    `home` is its empty HOME, `mark` <run>-<shard>: the end of its emulator's container name;
    the plugin writes `report`.
    """
    return {
        # Functions under test are built again and again from the same packages.
        "PIP_CACHE_DIR": str(workspace.PIP_CACHE),
        **inherited(os.environ),
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        # Here, so that a container that mounts something of it is known as this clone's.
        "TMPDIR": str(home.with_name(f"{home.name}-tmp")),
        "PYTHONPATH": str(home.parent / workspace.PLUGIN.name),
        "PYTHONDONTWRITEBYTECODE": "1",  # a later run compares the venv with what was installed
        "GIT_CEILING_DIRECTORIES": str(worktree.parent),  # the repository around .cache/ is not the suite's
        "SAM_COMPAT_WORKTREE": str(worktree),
        "SAM_COMPAT_REPORT": str(report),
        "SAM_COMPAT_GATE": str(os.getpid()),
        MARK: f"{mark}/",
        "SAM_CLI_DEV": "1",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",  # a machine's own role is a caller's credential too
        "FORCE_RUN_DOCKER_TEST": "1",  # else, where CI is set, all tests are skipped and pytest exits with 0
        "DURABLE_EXECUTIONS_CONTAINER_NAME": f"{workspace.PREFIX}{mark}",
        "DURABLE_EXECUTIONS_EMULATOR_PORT": str(free_port()),
    }


def free_port() -> int:
    """Return a TCP port for an emulator that may start much later.

    The port stays bound, without listening, until this process ends: the system gives it to no other program, and
    Docker, which also sets SO_REUSEADDR, can still listen on it.
    """
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    claim.bind(("127.0.0.1", 0))
    held.append(claim)
    return int(claim.getsockname()[1])
