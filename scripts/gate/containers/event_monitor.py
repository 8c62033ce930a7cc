"""The event monitor: which images of the emulator's repository were started, from the engine's event stream."""

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
SIGTERM_BIT = 1 << (signal.SIGTERM - 1)  # in the masks of /proc


@dataclass
class Watch:
    """What to look for, and what was seen so far.

    The names of this run's containers are <prefix>-<shard>; `log` gives the file for what those of a shard print;
    `hurry`: kill a container that ignores SIGTERM at once. `starts` counts starts by image id for each shard, `crashed`
    names the shard of each container that exited by itself, `unexpected` describes each start of another image of the
    repository. `broken` says why nothing is seen any longer; it is empty while the stream lasts.
    """

    repository: str
    image_id: str
    prefix: str
    log: Callable[[str], Path]
    hurry: bool = True
    starts: dict[str, Counter[str]] = field(default_factory=dict)
    crashed: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    broken: str = ""
    others: set[str] = field(default_factory=set)  # prefixes of the gates that run on this engine
    stopped: set[str] = field(default_factory=set)  # containers that were asked to stop
    logs: dict[str, threading.Thread] = field(default_factory=dict)  # that keep what a container prints
    ended: list[threading.Thread] = field(default_factory=list)  # those of containers that have ended


@contextlib.contextmanager
def monitor(watch: Watch) -> Iterator[None]:
    """Watch the engine from before the body begins until every event that the body caused has been read.

    An own container that ignores SIGTERM is killed at once, where docker would wait ten seconds. Containers of other
    gates that run on this engine, which have names of their own, are ignored. Raises GateError if the event stream does
    not begin or breaks: what was not seen cannot be trusted.
    """
    client = engine.connect()
    # The engine replays only its last 256 events: the stream must be open before the first test.
    wanted = {"type": ["container", "volume"], "event": ["create", "start", "kill", "die", "destroy"]}
    stream = client.api.events(decode=True, filters=wanted)
    marks = {"create": threading.Event(), "destroy": threading.Event()}
    threading.Thread(target=_read, args=(client, stream, watch, marks), daemon=True).start()
    try:
        # The volume's events mark begin and end; while it is there, other gates know that this one runs.
        client.api.create_volume(watch.prefix)
        _wait(marks["create"], watch)
        watch.others.update(name for name in engine.volumes(client) if name.startswith(PREFIX))
        yield
        client.api.remove_volume(watch.prefix)
        _wait(marks["destroy"], watch)
        for log in watch.ended:
            log.join(PATIENCE)
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
        name = engine.name_of(container)
        if container["ImageID"] != watch.image_id and _is_of(client, watch, container["Image"], container["ImageID"]):
            found.append(f"{name} from {container['Image']} ({container['State']})")
    return found


def _wait(mark: threading.Event, watch: Watch) -> None:
    if not mark.wait(PATIENCE):
        watch.broken = watch.broken or "no event came"
    check(watch)


def _read(client: docker.DockerClient, stream: Any, watch: Watch, marks: Mapping[str, threading.Event]) -> None:
    created: dict[str, str] = {}
    try:
        for event in stream:
            action, container, about = event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]
            name = about.get("name", "")
            own = name.removeprefix(f"{watch.prefix}-") if name.startswith(f"{watch.prefix}-") else ""
            if event["Type"] == "volume":
                volume = container
                if action == "create" and volume.startswith(PREFIX):
                    watch.others.add(volume)
                if volume == watch.prefix and action in marks:
                    marks[action].set()
            elif action == "create":
                created[container] = _image_of(client, container)  # it may be gone by the time it has started
            elif action == "start":
                _started(client, watch, (name, own, about.get("image", "")), container, created)
            elif action == "kill" and own:
                watch.stopped.add(container)
                if watch.hurry and about.get("signal") in ("15", "SIGTERM"):
                    _kill_if_it_ignores_sigterm(client, container)
            elif action == "die" and own:
                watch.ended += [watch.logs.pop(container)] if container in watch.logs else []
                watch.crashed += [own] if container not in watch.stopped else []
        watch.broken = "the engine closed it"
    except Exception as error:  # whatever it was: from here on nothing is seen
        watch.broken = type(error).__name__
    finally:
        for mark in marks.values():  # do not wait for what cannot come
            mark.set()


def _started(
    client: docker.DockerClient, watch: Watch, names: tuple[str, str, str], container: str, created: Mapping[str, str]
) -> None:
    name, own, image = names
    image_id = created.get(container) or _image_of(client, container)
    if not own and (LISTING_NAME.fullmatch(name) or any(name.startswith(f"{other}-") for other in list(watch.others))):
        return
    if own:
        watch.starts.setdefault(own, Counter())[image_id or "unknown"] += 1
        watch.logs[container] = _keep_log(client, container, watch.log(own))
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


def _keep_log(client: docker.DockerClient, container: str, log: Path) -> threading.Thread:
    """Append what a container prints to `log`, with the engine's timestamps, until it ends; return the thread."""

    def follow() -> None:
        # Until the container, the engine or the room on the disk is gone: what came before is in the file.
        with contextlib.suppress(OSError, *engine.ERRORS), log.open("ab") as kept:
            for chunk in client.api.logs(container, stream=True, follow=True, timestamps=True):
                kept.write(chunk)
                kept.flush()

    log.parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def _kill_if_it_ignores_sigterm(client: docker.DockerClient, container: str) -> None:
    """Kill a container whose only process has no thread that catches SIGTERM or blocks it (to wait for it).

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
        if first and not children and not masks & SIGTERM_BIT:
            client.api.kill(container)
