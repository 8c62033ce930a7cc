"""Can this machine run the suite at all? One container does once what every test will do."""

import contextlib
import http.client
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker.errors import APIError

from gate import engine, environment, images, workspace
from gate.cli import GateError

BASE_IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"  # of the functions under test
PATIENCE = 12.0  # seconds for the container's answer; an emulated Python needs 2 to start
WORKTREE = 0.4e9  # bytes of a shard's checkout with what `sam build` makes in it (fact 11)
FINCH = Path("/Library/Preferences/com.amazon.samcli.plist")  # forces it (sam-cli#8285)
PROBE = (Path(__file__).parent / "plugin/probe.py").read_text(encoding="utf-8")


@contextlib.contextmanager
def worktrees(client: engine.Client, jobs: int) -> Iterator[Path]:
    """Check the machine; yield a new folder, in memory if it has space and containers see it."""
    if FINCH.exists() and b"finch" in FINCH.read_bytes():
        raise GateError(f"{FINCH} makes aws-sam-cli use Finch: set it to docker")
    _pull_base_image(client)
    prefix = f"{workspace.CLONE}-"
    for left in (*workspace.MEMORY.glob(f"{prefix}*"), *workspace.CACHE.glob(f"{prefix}*")):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
    places = [workspace.CACHE]
    if workspace.MEMORY.is_dir() and shutil.disk_usage(workspace.MEMORY).free > jobs * WORKTREE:
        places.insert(0, workspace.MEMORY)
    for place in places:
        with tempfile.TemporaryDirectory("", prefix, place, ignore_cleanup_errors=True) as folder:
            if _sees(client, folder):
                yield Path(folder)
                return
    why = "is it another machine, a folder that is not shared, or SELinux?"
    raise GateError(f"the engine cannot see {workspace.CACHE}: {why}")


def _pull_base_image(client: engine.Client) -> None:
    if engine.image_id(client, BASE_IMAGE):
        return  # else it is pulled once, not by each shard (fact 26)
    for _ in range(3):
        with contextlib.suppress(GateError):
            images.pull(BASE_IMAGE, "--platform=linux/amd64")
            return
        time.sleep(2)
    remedy = "check the network connection, or `docker login` to the registry"
    raise GateError(f"{BASE_IMAGE} cannot be pulled (see above): {remedy}")


def _sees(client: engine.Client, folder: str) -> bool:
    Path(folder, "probe").touch()
    name, port = f"{workspace.CLONE}-preflight", environment.free_port()
    options: dict[str, Any] = {"ports": {f"{port}/tcp": port}, "detach": True}
    options["volumes"] = [f"{folder}:/worktrees"]
    options["extra_hosts"] = {"host.docker.internal": "host-gateway"}
    engine.remove_container(client, name)
    try:
        container = client.containers.run(
            BASE_IMAGE, ["-c", PROBE, str(port)], entrypoint="python3", name=name, **options
        )
        answer = _answer(port)
        printed = container.logs(tail=1).decode(errors="replace").strip()
    except APIError as error:
        if "ounts denied" in str(error):  # Docker Desktop
            return False
        raise
    finally:
        engine.remove_container(client, name)
    if "exec format error" in printed:  # fact 20
        remedy = "docker run --privileged --rm tonistiigi/binfmt --install amd64"
        raise GateError(f"this engine cannot run the functions under test, x86_64: {remedy}")
    if not answer:
        why = f"is the engine on another machine, or is there a firewall? {printed}"
        raise GateError(f"a container's port {port} does not answer on 127.0.0.1: {why}")
    if answer.startswith("host"):
        failed = f"a container cannot reach this machine by host.docker.internal ({answer[5:]})"
        raise GateError(f"{failed}: is the engine rootless, or is there a firewall?")
    return answer == "ok"


def _answer(port: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/all")
            return connection.getresponse().read().decode().strip()
        time.sleep(0.2)
    return ""
