"""The suite's environment: inherited variables, and each shard's own."""

import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from gate import workspace
from gate.cli import NOT_OURS
from gate.programs import pip_settings

# What the suite inherits: locale, certificates, proxies, package indexes, and where this machine's
# libraries are. No secret of AWS (FACTS.md#inherited-variables); what makes pip install elsewhere
# has gone when the script started.
INHERITED = re.compile(
    r"LANG|LANGUAGE|LC_.*|TZ|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|GIT_SSL_CAINFO|NETRC|(?i:(http|https|ftp|all)_proxy)|SAM_CLI_CONTAINER_CONNECTION_TIMEOUT"
    r"|LD_LIBRARY_PATH|DYLD_.*|PIP_.*|UV_(?!PUBLISH_).*"
)
# What the plugin writes in a shard's folder.
RECORDS = "records.jsonl"
# What `reserve_port` gave away: a socket that is closed reserves nothing.
RESERVED: dict[int, socket.socket] = {}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of the caller's environment and home the suite sees."""
    # As in aws-sam-cli's own CI (FACTS.md#ecr-limits).
    variables = {"SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "60"}
    netrc = Path(environ.get("HOME") or "/") / ".netrc"
    if netrc.is_file():
        variables["NETRC"] = str(netrc)
    variables |= {
        name: value
        for name, value in environ.items()
        if INHERITED.fullmatch(name)
    }
    # Emulators are on this machine: no proxy may be asked for them.
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = f"{direct},localhost,127.0.0.1".lstrip(",")
    return variables | {"no_proxy": hosts, "NO_PROXY": hosts}


def pip_variables() -> dict[str, str]:
    """Return pip's settings as variables: a shard's HOME has no pip.conf (FACTS.md#empty-home)."""
    variables = {
        f"PIP_{option.upper().replace('-', '_')}": value
        # `sam build` runs `pip download`.
        for option, value in pip_settings("download").items()
    }
    return {
        name: value for name, value in variables.items() if name not in NOT_OURS
    }


def prepare_shard(
    python: Path, worktree: Path, name: str, tag: str
) -> dict[str, str]:
    """Make the folders of one pytest process and return its environment.

    `name` is the container name of its emulator, `tag` the one that aws-sam-cli asks for.
    """
    folder = worktree.parent
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    own = {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": f"{folder}/home",
        "TMPDIR": f"{folder}/tmp",
        "PYTHONPATH": f"{Path(__file__).parent}/plugin",
        "SAM_COMPAT_WORKTREE": str(worktree),
        "SAM_COMPAT_RECORDS": str(folder / RECORDS),
        "SAM_CLI_DEV": "1",
        "SAM_CLI_TELEMETRY": "0",
        # Preflight has pulled the base image (FACTS.md#ecr-limits).
        "SAM_SKIP_PULL_IMAGE": "1",
        "AWS_DEFAULT_REGION": "us-east-1",
        # A machine's own role is a credential too.
        "AWS_EC2_METADATA_DISABLED": "true",
        # Where CI is set, all tests would be skipped (FACTS.md#skipped-in-ci).
        "FORCE_RUN_DOCKER_TEST": "1",
        # FACTS.md#attaches-by-name
        "DURABLE_EXECUTIONS_CONTAINER_NAME": name,
        "DURABLE_EXECUTIONS_EMULATOR_PORT": str(reserve_port()),
        "DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": tag,
    }
    # The functions under test are built again and again from the same packages.
    cached = {"PIP_CACHE_DIR": f"{workspace.CACHE}/pip"}
    return cached | inherited(os.environ) | own


def reserve_port() -> int:
    """Return a TCP port for an emulator that may start much later.

    The socket stays bound, so that no other program gets the port. Docker can still listen on it,
    because both set SO_REUSEADDR. On macOS the bound socket itself would receive the connections
    that are meant for Docker's, so there it is closed.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    port = int(reserved.getsockname()[1])
    if sys.platform != "linux":
        reserved.close()
    RESERVED[port] = reserved
    return port
