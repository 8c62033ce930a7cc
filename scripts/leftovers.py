"""Nothing that a run started outlives it: not its processes, not its containers; if it was killed, the next one."""

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import docker

import engine
import state

MARK = "SAM_COMPAT_SHARD"  # in the environment of every process of a shard: <run>-<shard>/
PREFIX = "sam-compat-"  # of the names of a run's containers: sam-compat-<run>-<shard>


@contextlib.contextmanager
def none(client: docker.DockerClient) -> Iterator[str]:
    """Yield a new run's name and clean up after it, whatever happens; before, clean up after one that was killed.

    The caller holds this clone's lock, so whatever an earlier run of this clone left is nobody's any more.
    """
    journal = state.CACHE / "run"
    if journal.exists():
        earlier, _, clone = journal.read_text().partition("\n")
        if clone == str(state.CACHE):  # else this clone is a copy, and that run may be going on in the first one
            clean(client, earlier)
    run = secrets.token_hex(4)
    journal.write_text(f"{run}\n{state.CACHE}")
    try:
        yield run
    finally:
        try:
            clean(client, run)
        except KeyboardInterrupt:  # a first one ends the run, but not the cleaning up
            clean(client, run)
            raise


def clean(client: docker.DockerClient, run: str) -> None:
    """Kill the processes of a run, remove the containers with its name and those that mount something of .cache/.

    If all of it could be done, forget the run.
    """
    kill(f"{run}-")
    whole = True
    for _ in range(2):  # a request that was under way may still have made one
        try:
            containers = client.api.containers(all=True)
        except engine.ERRORS:
            return  # no engine: what broke it is told elsewhere
        for container in containers:
            named = any(name.startswith(f"/{PREFIX}{run}-") for name in container.get("Names") or [])
            mounts = (Path(mount.get("Source", "")) for mount in container.get("Mounts") or [])
            if named or any(source.is_relative_to(state.CACHE) for source in mounts):
                try:
                    engine.remove_container(client, container["Id"])
                except engine.ERRORS:
                    whole = False
    if whole:
        (state.CACHE / "run").unlink(missing_ok=True)


def kill(mark: str) -> None:
    """Kill every process whose mark starts with `mark`: also those that left their process group (Linux only)."""
    wanted = f"{MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(variable.startswith(wanted) for variable in environ.read_bytes().split(b"\0")):
                os.kill(int(environ.parent.name), signal.SIGKILL)
