"""Can this machine run the suite at all? One container does once what every test will do."""

import contextlib
import http.client
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError

from gate import engine, environment, images, workspace
from gate.programs import GateError

# Of the functions under test.
BASE_IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
# Seconds for the container's answer. An emulated Python needs 2 to start.
PROBE_TIMEOUT = 12.0
# One shard's checkout plus everything that `sam build` writes into it (FACTS.md#sam-build-cost).
WORKTREE_BYTES = 0.4e9
# What the containers of a run write beside the worktrees, on the engine's own disk.
ENGINE_BYTES = 0.5e9
# An administrator of a Mac can force Finch with this file (aws/aws-sam-cli#8285).
FINCH_PREFERENCES = Path("/Library/Preferences/com.amazon.samcli.plist")
PROBE = (Path(__file__).parent / "plugin/probe.py").read_text(encoding="utf-8")


@contextlib.contextmanager
def checked_folder(client: DockerClient, jobs: int) -> Iterator[Path]:
    """Check the machine, and lend a new folder for the worktrees of so many shards at once.

    The folder is in memory if there is room and containers can use it, else below .cache/. Raises
    GateError for a machine on which no emulator could pass.
    """
    if (
        FINCH_PREFERENCES.exists()
        and b"finch" in FINCH_PREFERENCES.read_bytes()
    ):
        raise GateError(
            f"{FINCH_PREFERENCES} makes aws-sam-cli use Finch: set it to docker"
        )
    _pull_base_image(client)
    _remove_leftover_folders()
    places = [workspace.CACHE]
    if (
        workspace.MEMORY.is_dir()
        and workspace.free(workspace.MEMORY) > jobs * WORKTREE_BYTES
    ):
        places.insert(0, workspace.MEMORY)
    for place in places:
        with _temporary_folder(place) as folder:
            fault = _fault(client, folder)
            if not fault:
                yield folder
                return
    raise GateError(fault)


def check_space(folder: Path, shards: int) -> None:
    """Raise GateError if the worktrees of so many shards do not fit (rust-lang/crater#700)."""
    # The folder itself is gone when somebody reads this.
    workspace.check_space(
        folder.parent,
        shards * WORKTREE_BYTES,
        what=f"the worktrees (shards at once: {shards})",
        remedy="free some, or set COMPAT_JOBS to a lower number",
    )


def _remove_leftover_folders() -> None:
    """Remove the folders of runs of this clone that were killed."""
    for place in (workspace.MEMORY, workspace.CACHE):
        for folder in place.glob(f"{workspace.CLONE}-*"):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _temporary_folder(place: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{workspace.CLONE}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            # A container's files can belong to root. The verdict stands all the same.
            print(f"{folder} cannot be removed: remove it as root")


def _pull_base_image(client: DockerClient) -> None:
    """Pull the functions' base image once: every shard would (FACTS.md#ecr-limits)."""
    if engine.image_id(client, BASE_IMAGE):
        return
    try:
        images.pull(BASE_IMAGE, "--platform=linux/amd64", attempts=3)
    except GateError as error:
        remedy = (
            "check the network connection, or `docker login` to the registry"
        )
        raise GateError(f"{error}: {remedy}") from None


def _fault(client: DockerClient, folder: Path) -> str:
    """Probe a folder; return why containers cannot use it, or "".

    Raises GateError for a fault that another folder would not change.
    """
    # The folder itself is gone when somebody reads this.
    place = folder.parent
    try:
        answer = _probe(client, folder)
    except APIError as error:
        # Docker Desktop's words for a folder that is not shared.
        if re.search("mounts denied", str(error), re.IGNORECASE):
            return _unseen(place, str(error.explanation))
        raise
    step, _, reason = answer.partition(" ")
    if step == "host":
        raise GateError(
            f"a container cannot reach this machine by host.docker.internal ({reason}): "
            "is the engine rootless, or is there a firewall between its bridge and this machine?"
        )
    if step == "space":
        # rust-lang/crater#700
        raise GateError(
            f"the engine's own disk has {reason}, containers need {ENGINE_BYTES / 1e9:.1f} GB: "
            "free some (`docker system df` shows what is there)"
        )
    if step == "write":
        # colima and Rancher Desktop share some folders without write access (lima-vm/lima#34).
        return f"the engine can read but not write {place} ({reason}): share it with write access"
    return _unseen(place, reason) if step == "read" else ""


def _unseen(place: Path, reason: str) -> str:
    why = "is it another machine, a folder that is not shared, SELinux, or userns-remap?"
    return f"the engine cannot see {place} ({reason}): {why}"


def _probe(client: DockerClient, folder: Path) -> str:
    """Return what a container answers: "ok", or the step that failed and why."""
    (folder / "probe").touch()
    port = environment.reserve_port()
    name = f"{workspace.CLONE}-preflight"
    engine.remove_container(client, name)
    try:
        container = client.containers.run(
            BASE_IMAGE,
            ["-c", PROBE, str(port), f"{ENGINE_BYTES:.0f}"],
            entrypoint="python3",
            name=name,
            ports={f"{port}/tcp": port},
            # The mode that aws-sam-cli asks for, for the emulator's data.
            volumes=[f"{folder}:/worktrees:rw"],
            extra_hosts={"host.docker.internal": "host-gateway"},
            detach=True,
        )
        answer = _answer(port)
        if answer:
            return answer
        printed = container.logs(tail=1).decode(errors="replace").strip()
        raise GateError(_why_no_answer(port, printed))
    finally:
        engine.remove_container(client, name)


def _why_no_answer(port: int, printed: str) -> str:
    if "exec format error" in printed:
        # The functions under test are x86_64 (FACTS.md#amd64-functions).
        remedy = (
            "docker run --privileged --rm tonistiigi/binfmt --install amd64"
        )
        return (
            f"this engine cannot run the functions under test, x86_64: {remedy}"
        )
    why = f"is the engine on another machine, or is there a firewall? {printed}"
    return f"a container's port {port} does not answer on 127.0.0.1: {why}"


def _answer(port: int) -> str:
    """Return what the probe answers, "" for nothing."""
    deadline = time.monotonic() + PROBE_TIMEOUT
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=PROBE_TIMEOUT
        )
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/all")
            return connection.getresponse().read().decode().strip()
        time.sleep(0.2)
    return ""
