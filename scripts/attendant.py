"""What the gate does for a run's own containers while the suite runs: keep their logs, and not wait for the deaf."""

import contextlib
import threading
import time
from pathlib import Path

import docker

import engine

GRACE = 2.0  # seconds between a SIGTERM that nobody hears and the SIGKILL that docker would send after ten
SIGTERM_CAUGHT = 1 << 14


def keep_log(client: docker.DockerClient, container: str, log: Path) -> threading.Thread:
    """Append all that a container prints to `log`, from now until it is gone; return the thread that does so."""

    def follow() -> None:
        # the container is gone, or the engine: what came until then is in the file
        with contextlib.suppress(*engine.ERRORS), log.open("ab") as kept:
            for chunk in client.api.logs(container, stream=True, follow=True):
                kept.write(chunk)
                kept.flush()

    log.parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def end_if_deaf(client: docker.DockerClient, container: str) -> None:
    """Kill a container soon if it cannot hear the SIGTERM it was just sent; do nothing if it can, or if unknown.

    The kernel drops a signal for a PID namespace's first process unless that process catches it, so one that does
    not will be killed after docker's ten seconds without having noticed anything. /proc says whether it catches
    SIGTERM; where the engine's processes are not this machine's (Docker Desktop) nothing is known.
    """

    def kill() -> None:
        time.sleep(GRACE)
        with contextlib.suppress(*engine.ERRORS):  # gone already
            client.api.kill(container)

    with contextlib.suppress(*engine.ERRORS):
        if is_deaf(client.api.inspect_container(container)):
            threading.Thread(target=kill, daemon=True).start()


def is_deaf(container: dict[str, object]) -> bool:
    """Return whether the first process of an inspected container is known not to catch SIGTERM."""
    state = container["State"]
    pid, container_id = (state["Pid"] if isinstance(state, dict) else 0), str(container["Id"])
    try:
        if container_id not in Path(f"/proc/{pid}/cgroup").read_text():
            return False  # a process of this machine that happens to have the number
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (OSError, ValueError):
        return False
    namespaces = status["NSpid"].split()
    return namespaces[-1] == "1" and len(namespaces) > 1 and not int(status["SigCgt"], 16) & SIGTERM_CAUGHT
