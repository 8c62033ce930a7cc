"""The suite's environment: inherited variables, and each shard's own."""

import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from gate import workspace

# Where tools and networks are (fact 6), without what moves installations away (aws-cdk#8487).
KEPT = re.compile(
    r"LANG|LANGUAGE|LC_.*|TZ|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|GIT_SSL_CAINFO|NETRC|(?i:(http|https|ftp|all)_proxy)|SAM_CLI_CONTAINER_CONNECTION_TIMEOUT"
    r"|PIP_(?!USER$|TARGET$|PREFIX$|REQUIRE_VIRTUALENV$).*|UV_(?!PUBLISH_).*"
)
FILES = {  # in the caller's HOME, which the suite does not have (fact 28); the newer place wins
    ".pip/pip.conf": "PIP_CONFIG_FILE",
    ".config/pip/pip.conf": "PIP_CONFIG_FILE",
    "Library/Application Support/pip/pip.conf": "PIP_CONFIG_FILE",  # macOS
    ".netrc": "NETRC",
}
held: list[socket.socket] = []


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    found = {"SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "60"}  # as in aws-sam-cli's own CI (fact 26)
    for place, name in FILES.items():
        file = Path.home() / place
        if file.is_file():
            found[name] = str(file)
    found |= {name: value for name, value in environ.items() if KEPT.fullmatch(name)}
    # Emulators are on this machine: no proxy may be asked for them.
    around = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = f"{around},localhost,127.0.0.1".lstrip(",")
    return found | {"no_proxy": hosts, "NO_PROXY": hosts}


def of_shard(python: Path, worktree: Path, name: str, tag: str) -> dict[str, str]:
    """Return the environment of one pytest process, `name` being its emulator's container."""
    for folder in ("home", "tmp"):
        worktree.with_name(folder).mkdir()
    ours = {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": f"{worktree.parent}/home",
        "TMPDIR": f"{worktree.parent}/tmp",
        "PYTHONPATH": f"{Path(__file__).parent}/plugin",
        "SAM_COMPAT_WORKTREE": str(worktree),
        "SAM_COMPAT_RECORDS": f"{worktree.parent}/records.jsonl",
        "SAM_CLI_DEV": "1",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_SKIP_PULL_IMAGE": "1",  # preflight has pulled (fact 26)
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",  # a machine's own role is a credential too
        "FORCE_RUN_DOCKER_TEST": "1",  # else all tests are skipped where CI is set (fact 1)
        "DURABLE_EXECUTIONS_CONTAINER_NAME": name,
        "DURABLE_EXECUTIONS_EMULATOR_PORT": str(free_port()),
        "DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": tag,
    }
    # The functions under test are built again and again from the same packages.
    return {"PIP_CACHE_DIR": f"{workspace.CACHE}/pip"} | inherited(os.environ) | ours


def free_port() -> int:
    # It stays bound: no other program gets it, and Docker, with SO_REUSEADDR too, can listen.
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    claim.bind(("127.0.0.1", 0))
    port = int(claim.getsockname()[1])
    if sys.platform == "linux":  # elsewhere a bound socket takes what is meant for Docker's
        held.append(claim)
    return port
