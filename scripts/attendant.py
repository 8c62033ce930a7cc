"""What the gate does for a run's own containers while the suite runs: keep their logs, and not wait for the deaf."""

import contextlib
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

import engine

GRACE = 2.0  # seconds between a SIGTERM that nobody hears and the SIGKILL that docker would send after ten
SIGTERM = 1 << (signal.SIGTERM - 1)  # its bit in the masks of /proc


def keep_log(client: docker.DockerClient, container: str, log: Path) -> None:
    """Append all that a container prints to `log`, from now until it is gone."""

    def follow() -> None:
        # the container is gone, or the engine, or room on the disk: what came until then is in the file
        with contextlib.suppress(OSError, *engine.ERRORS), log.open("ab") as kept:
            for chunk in client.api.logs(container, stream=True, follow=True):
                kept.write(chunk)
                kept.flush()

    log.parent.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=follow, daemon=True).start()


def end_if_deaf(client: docker.DockerClient, container: str) -> None:
    """Kill a container soon if it cannot hear the SIGTERM it was just sent; do nothing if it can, or if unknown."""

    def kill() -> None:
        time.sleep(GRACE)
        with contextlib.suppress(*engine.ERRORS):  # gone already
            if client.api.inspect_container(container)["State"]["Pid"] == before["State"]["Pid"]:
                client.api.kill(container)

    with contextlib.suppress(*engine.ERRORS):
        before = client.api.inspect_container(container)
        if is_deaf(before):
            threading.Thread(target=kill, daemon=True).start()


def is_deaf(container: Mapping[str, Any]) -> bool:
    """Return whether an inspected container is known not to hear SIGTERM.

    The kernel drops a signal for the first process of a PID namespace if no thread of it catches it, or blocks it to
    wait for it (signal(7), pid_namespaces(7)): docker will then kill it after ten seconds without its having noticed
    anything. A child may have been told by its init, so one that has any is left alone. /proc says all that; where
    the engine's processes are not this machine's (Docker Desktop) nothing is known.
    """
    try:
        process = Path(f"/proc/{container['State']['Pid']}")
        if container["HostConfig"].get("Init") or container["Id"] not in (process / "cgroup").read_text():
            return False  # or a process of this machine that happens to have the number
        if _status(process)["NSpid"].split()[1:] != ["1"]:
            return False
        threads = list((process / "task").iterdir())
        if any((thread / "children").read_text().split() for thread in threads):
            return False
        heard = [int(_status(thread)[mask], 16) for thread in threads for mask in ("SigCgt", "SigBlk")]
        return bool(heard) and not any(mask & SIGTERM for mask in heard)
    except (OSError, ValueError, KeyError):
        return False


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
