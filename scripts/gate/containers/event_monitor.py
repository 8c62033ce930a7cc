"""The event monitor: which images of the emulator's repository really ran, from the engine's own event stream."""

import contextlib
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from gate.cli import GateError
from gate.containers import engine
from gate.containers.images import LISTING_NAME, repository_of
from gate.workspace import PREFIX

PATIENCE = 120.0  # seconds for an event that must come: the engine may be busy
LOST = "Lost the Docker event stream"
SIGTERM = 1 << (signal.SIGTERM - 1)  # its bit in the masks of /proc


@dataclass
class Watch:
    """What to look for, and what was seen so far.

    `run` is part of the names of this run's containers, `log` gives the file for what the container of a shard prints.
    `starts` counts starts by image id, for each shard of this run; `crashed` counts containers of the candidate that
    exited by themselves, with the file of what they printed. `unexpected` describes each start of another image of the
    repository. `broken` says why nothing is seen any longer; it is empty while the stream lasts.
    """

    repository: str
    image_id: str
    run: str
    log: Callable[[str], Path]
    hurry: bool = True
    starts: dict[str, Counter[str]] = field(default_factory=dict)
    crashed: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    broken: str = ""
    gates: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)


@contextlib.contextmanager
def monitor(watch: Watch) -> Iterator[None]:
    """Watch the engine from before the body begins until every event that the body caused has been read.

    An own container that ignores SIGTERM is killed at once, where docker would wait ten seconds. Containers of other
    gates that run on this engine, which have names of their own, are left apart. Raises GateError if the event stream
    does not begin or breaks: what was not seen cannot be trusted.
    """
    client, volume = engine.connect(), f"{PREFIX}{watch.run}"
    # The engine replays only its last 256 events: the stream must be open before the first test.
    wanted = {"type": ["container", "volume"], "event": ["create", "start", "kill", "die", "destroy"]}
    stream = client.api.events(decode=True, filters=wanted)
    marks = {"create": threading.Event(), "destroy": threading.Event()}
    threading.Thread(target=_read, args=(client, stream, watch, marks), daemon=True).start()
    try:
        # The volume's events mark begin and end; while it is there, other gates know that this one runs.
        client.api.create_volume(volume)
        _wait(marks["create"], watch)
        watch.gates |= {name for name in engine.volumes(client) if name.startswith(PREFIX)}
        yield
        client.api.remove_volume(volume)
        _wait(marks["destroy"], watch)
        check(watch)
    finally:
        with contextlib.suppress(Exception):  # the engine may be gone, and with it the stream's socket
            stream.close()


def check(watch: Watch) -> None:
    """Raise GateError if the engine is no longer watched: what runs from then on is not seen."""
    if watch.broken:
        raise GateError(f"{LOST} ({watch.broken}): restart the engine and run again")


def running_before(client: docker.DockerClient, watch: Watch) -> list[str]:
    """Return the containers of another image of the repository that are running or paused now, as name and image."""
    found = []
    for container in client.api.containers():
        name = container["Names"][0].lstrip("/")
        if container["ImageID"] != watch.image_id and _is_of(client, watch, container["Image"], container["ImageID"]):
            found.append(f"{name} from {container['Image']} ({container['State']})")
    return found


def _wait(mark: threading.Event, watch: Watch) -> None:
    if not mark.wait(PATIENCE):
        raise GateError(f"{LOST} ({watch.broken or 'no event came'}): restart the engine and run again")


def _read(client: docker.DockerClient, stream: Any, watch: Watch, marks: Mapping[str, threading.Event]) -> None:
    created: dict[str, str] = {}
    try:
        for event in stream:
            action, container, about = event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]
            name = about.get("name", "")
            own = name.removeprefix(f"{PREFIX}{watch.run}-") if name.startswith(f"{PREFIX}{watch.run}-") else ""
            if event["Type"] == "volume":
                watch.gates |= {container} if action == "create" and container.startswith(PREFIX) else set()
                if container == f"{PREFIX}{watch.run}" and action in marks:
                    marks[action].set()
            elif action == "create":
                created[container] = _image_of(client, container)  # it may be gone by the time it has started
            elif action == "start":
                _started(client, watch, (name, own, about.get("image", "")), container, created)
            elif action == "kill" and own:
                watch.stopped.add(container)
                if watch.hurry and about.get("signal") in ("15", "SIGTERM"):
                    _kill_if_it_ignores_sigterm(client, container)
            elif action == "die" and own and container not in watch.stopped:
                watch.crashed.append(own)
        watch.broken = "the engine closed it"
    except Exception as error:  # whatever it was: from here on nothing is seen
        watch.broken = type(error).__name__


def _started(
    client: docker.DockerClient, watch: Watch, names: tuple[str, str, str], container: str, created: Mapping[str, str]
) -> None:
    name, own, image = names
    image_id = created.get(container) or _image_of(client, container)
    if not own and (LISTING_NAME.fullmatch(name) or any(name.startswith(f"{gate}-") for gate in watch.gates)):
        return
    if own:
        watch.starts.setdefault(own, Counter())[image_id or "unknown"] += 1
        _keep_log(client, container, watch.log(own))
    if image_id != watch.image_id and (own or _is_of(client, watch, image, image_id)):
        watch.unexpected.append(f"{name} from {image} ({image_id or 'gone before its image id could be read'})")


def _image_of(client: docker.DockerClient, container: str) -> str:
    """Return the image id of a container, "" if it is gone: events have the name that it was started with only."""
    with contextlib.suppress(NotFound):
        return str(client.api.inspect_container(container)["Image"])
    return ""


def _is_of(client: docker.DockerClient, watch: Watch, image: str, image_id: str) -> bool:
    """Return whether an image is of the repository: by the name it was started with, or by one of its tags."""
    names = [image]
    with contextlib.suppress(NotFound):
        about = client.images.get(image_id or image).attrs
        names += (about.get("RepoTags") or []) + (about.get("RepoDigests") or [])
    return repository_of(watch.repository) in {repository_of(name) for name in names}


def _keep_log(client: docker.DockerClient, container: str, log: Path) -> None:
    """Append what a container prints to `log`, with the engine's timestamps, until it is gone."""

    def follow() -> None:
        # Until the container, the engine or the room on the disk is gone: what came before is in the file.
        with contextlib.suppress(OSError, *engine.ERRORS), log.open("ab") as kept:
            for chunk in client.api.logs(container, stream=True, follow=True, timestamps=True):
                kept.write(chunk)
                kept.flush()

    log.parent.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=follow, daemon=True).start()


def _kill_if_it_ignores_sigterm(client: docker.DockerClient, container: str) -> None:
    """Kill a container whose only process neither catches SIGTERM nor blocks it, in any thread, to wait for it.

    The kernel drops the signal for such a process (pid_namespaces(7)), so it can never act on it. One with children may
    be an init that hands the signal on: while it waits for signals, /proc shows them as not blocked. Where the engine's
    processes are not this machine's (Docker Desktop), nothing is known and docker waits its ten seconds.
    """
    with contextlib.suppress(OSError, KeyError, *engine.ERRORS):
        process = Path(f"/proc/{client.api.inspect_container(container)['State']['Pid']}")
        first = re.search(r"^NSpid:\s+\d+\s+(?:\d+\s+)*1$", (process / "status").read_text(), re.M)
        masks, children = 0, ""
        for thread in (process / "task").iterdir():
            children += (thread / "children").read_text()
            for mask in re.findall(r"^Sig(?:Blk|Cgt):\s+(\S+)$", (thread / "status").read_text(), re.M):
                masks |= int(mask, 16)
        if first and not children and not masks & SIGTERM:
            client.api.kill(container)
