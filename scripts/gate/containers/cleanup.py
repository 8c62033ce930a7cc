"""Kill the processes and remove the containers of this run, or of one that was killed."""

import contextlib
import ctypes
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import docker

from gate import workspace
from gate.cli import GateError, signals_deferred
from gate.containers import engine
from gate.text import one_line

MARK = "SAM_COMPAT_SHARD"  # in the environment of every process of a shard: <run>-<kind>-<shard>/
SET_CHILD_SUBREAPER = 36  # of Linux's prctl(2): what loses its parent becomes a child of this process
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look for what is left


@contextlib.contextmanager
def cleanup_on_exit(client: docker.DockerClient) -> Iterator[str]:
    """Yield the name of a new run and clean up after it, whatever happens; before it, after one that was killed.

    The caller holds this clone's lock, so nothing else can be using what an earlier run left.
    """
    with contextlib.suppress(GateError, KeyError, TypeError):  # no earlier run, or its note is damaged
        earlier = workspace.read_json(workspace.RUN, remedy="")
        if earlier["clone"] == str(workspace.CACHE):  # else this clone is a copy: that run may go on in the first one
            clean(client, str(earlier["run"]), interrupted=True)
    run, finished, before = secrets.token_hex(4), False, inventory(client)
    with contextlib.suppress(AttributeError):  # macOS
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    workspace.write_json(workspace.RUN, {"run": run, "clone": str(workspace.CACHE)})
    try:
        yield run
        finished = True
    finally:
        with signals_deferred():
            kill_children()
            clean(client, run, interrupted=not finished)
        remove_untagged_and_report_new(client, before)


def clean(client: docker.DockerClient, run: str, *, interrupted: bool) -> None:
    """Kill the processes of a run; remove its volumes, its containers and those that mount something of this clone's.

    Looks again until none is left: a request that was under way when a run was interrupted may still make one.
    """
    kill(f"{run}-")
    with contextlib.suppress(*engine.ERRORS):  # an engine that is gone is reported elsewhere
        for pause in PAUSES:
            time.sleep(pause)
            found = left(client, run)
            if not found and (pause or not interrupted):
                break
            for container in found:
                with contextlib.suppress(*engine.ERRORS):
                    engine.remove_container(client, container)
        for volume in engine.volumes(client):
            if volume.startswith(f"{workspace.PREFIX}{run}-"):
                client.api.remove_volume(volume)
        workspace.RUN.unlink(missing_ok=True)


def inventory(client: docker.DockerClient) -> dict[str, str]:
    """Return what is in the engine, apart from tagged images and the gates' own: a description by id."""
    found = {}
    for container in client.api.containers(all=True):
        found[str(container["Id"])] = f"container {engine.name_of(container)} from {container['Image']}"
    for volume in engine.volumes(client):
        found[volume] = f"volume {volume}"
    for network in client.api.networks():
        found[str(network["Id"])] = f"network {network['Name']}"
    for image in client.api.images(filters={"dangling": True}):
        found[str(image["Id"])] = f"untagged image {image['Id'].removeprefix('sha256:')[:12]}"
    return {each: text for each, text in found.items() if f" {workspace.PREFIX}" not in text}


def remove_untagged_and_report_new(client: docker.DockerClient, before: dict[str, str]) -> None:
    """Remove the untagged images that sam-cli built meanwhile; print what else is new and may be another program's."""
    with contextlib.suppress(*engine.ERRORS):
        for each, text in inventory(client).items():
            if each in before:
                continue
            if text.startswith("untagged image "):
                history = client.api.history(each)  # type: ignore[no-untyped-call]
                if any("rapid" in str(layer.get("CreatedBy")) for layer in history):
                    with contextlib.suppress(*engine.ERRORS):  # a container of another gate uses it
                        client.api.remove_image(each)
            else:
                print(f"note: {one_line(text)} was created during the run and is still there", flush=True)


def left(client: docker.DockerClient, run: str) -> list[str]:
    """Return the ids of the containers of a run, and of those that mount something of this clone's."""
    found, ours = [], (workspace.CACHE, workspace.in_memory())
    for container in client.api.containers(all=True):
        named = engine.name_of(container).startswith(f"{workspace.PREFIX}{run}-")
        mounts = (Path(mount.get("Source", "")) for mount in container.get("Mounts") or [])
        if named or any(source.is_relative_to(top) for source in mounts for top in ours):
            found.append(str(container["Id"]))
    return found


def kill(mark: str) -> None:
    """Kill every process whose mark starts with `mark`: also those that left their process group (Linux only)."""
    wanted = f"{MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(variable.startswith(wanted) for variable in environ.read_bytes().split(b"\0")):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def kill_children() -> None:
    """Kill every process that this one has as a child, and those that become one by that (Linux only).

    When no shard runs any longer, these are what the suite left: also a daemon without our mark in its environment.
    """
    refused = set[int]()
    while children := _children() - refused:
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except OSError:  # another user's
                refused.add(child)


def _children() -> set[int]:
    found = set[int]()
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended meanwhile
            found |= set(map(int, children.read_text().split()))
    return found
