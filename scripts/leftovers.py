"""Nothing that a run started outlives it: not its processes, not its containers; if it was killed, the next one."""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import docker

import engine
import state

MARK = "SAM_COMPAT_SHARD"  # in the environment of every process of a shard: <run>-<shard>/
PREFIX = "sam-compat-"  # of the names of a run's containers: sam-compat-<run>-<shard>
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look for what is left


@contextlib.contextmanager
def none(client: docker.DockerClient) -> Iterator[str]:
    """Yield a new run's name and clean up after it, whatever happens."""
    run = secrets.token_hex(4)
    (state.CACHE / "run").write_text(f"{run}\n{state.CACHE}")
    whole = False
    try:
        yield run
        whole = True
    finally:
        try:
            clean(client, run, broken_off=not whole)
        except KeyboardInterrupt:  # a first one ends the run, but not the cleaning up
            clean(client, run)
            raise


def clean_earlier(client: docker.DockerClient) -> None:
    """Clean up after a run of this clone that was killed.

    The caller holds this clone's lock, so whatever an earlier run left is nobody's any more.
    """
    journal = state.CACHE / "run"
    if journal.exists():
        earlier, _, clone = journal.read_text().partition("\n")
        if clone == str(state.CACHE):  # else this clone is a copy, and that run may be going on in the first one
            clean(client, earlier)


def clean(client: docker.DockerClient, run: str, *, broken_off: bool = True) -> None:
    """Kill the processes of a run, remove the containers with its name and those that mount something of .cache/.

    Looks again until none is left: a request that was under way when a run was broken off may still make one, and one
    that another request removes may take its time. Then forgets the run.
    """
    kill(f"{run}-")
    with contextlib.suppress(*engine.ERRORS):  # no engine: what broke it is told elsewhere
        for pause in LOOKS:
            time.sleep(pause)
            found = left(client, run)
            if not found and (pause or not broken_off):
                (state.CACHE / "run").unlink(missing_ok=True)
                return
            for container in found:
                with contextlib.suppress(*engine.ERRORS):
                    engine.remove_container(client, container)


def left(client: docker.DockerClient, run: str) -> list[str]:
    """Return the ids of the containers that are there of a run."""
    found = []
    for container in client.api.containers(all=True):
        named = any(name.startswith(f"/{PREFIX}{run}-") for name in container.get("Names") or [])
        mounts = (Path(mount.get("Source", "")) for mount in container.get("Mounts") or [])
        if named or any(source.is_relative_to(state.CACHE) for source in mounts):
            found.append(str(container["Id"]))
    return found


def kill(mark: str) -> None:
    """Kill every process whose mark starts with `mark`: also those that left their process group (Linux only)."""
    wanted = f"{MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(variable.startswith(wanted) for variable in environ.read_bytes().split(b"\0")):
                os.kill(int(environ.parent.name), signal.SIGKILL)
