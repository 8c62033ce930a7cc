"""The event monitor: which images were started for a shard, or where one can answer it."""

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, NotFound

from gate import engine, environment
from gate.model import Image, repository_of
from gate.programs import GateError
from gate.workspace import PREFIX

# Seconds for an event that must come: the engine may be busy.
EVENT_TIMEOUT = 120.0
# Seconds that an emulator has after its SIGTERM, which it ignores (FACTS.md#ignores-sigterm).
GRACE = 1.0
# The exit code of a container by SIGKILL.
KILLED = "137"
EVENTS = {
    "event": ["create", "start", "kill", "die", "destroy"],
    "type": ["container", "volume"],
}


@dataclass(frozen=True)
class Watch:
    """What to look for. The containers of a run are named <name>-<shard>."""

    client: DockerClient
    image: Image
    name: str
    # The folder for what the containers print.
    logs: Path

    def log(self, shard: str) -> Path:
        """Return the file of what the emulators of a shard print."""
        return self.logs / f"emulator-{shard}.log"

    def shard_of(self, container_name: str) -> str:
        """Return the shard that a container belongs to, "" for another program's."""
        return container_name.partition(f"{self.name}-")[2]


@dataclass
class Seen:
    """What the engine's events showed.

    `started` counts starts by shard and image id; `crashed`, by shard, containers that exited
    although they had not been stopped; `killed` has the shards where it was by the system, which
    does that where memory is short. `unexpected` describes containers that can have answered a
    shard and are not of the tested image, `strangers` others of its repository. `clock_at_begin`
    and `clock_at_end`: seconds that the engine's clock is ahead of ours. `stop_reason` is set once
    events can no longer be read, or the run was interrupted: every shard then stops.
    """

    started: dict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    crashed: Counter[str] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    clock_at_begin: float = 0.0
    clock_at_end: float = 0.0
    stop_reason: str = ""


@dataclass
class _Container:
    """What is known of a container from the moment when it was created."""

    name: str
    image: str
    shard: str
    image_id: str = "unknown"
    host_ports: set[str] = field(default_factory=set)
    was_stopped: bool = False


@dataclass
class _Reader:
    """The thread that reads events, and the threads that it starts.

    `volume_events` counts those of the run's own volume: its creation and its removal, which must
    not come before the run `is_ending`.
    """

    watch: Watch
    seen: Seen
    containers: dict[str, _Container] = field(default_factory=dict)
    followers: list[threading.Thread] = field(default_factory=list)
    volume_events: int = 0
    is_ending: bool = False


@contextlib.contextmanager
def monitor(watch: Watch) -> Iterator[Seen]:
    """Watch what the body does in the engine, and leave no container or volume of this clone."""
    # Of a run that was killed.
    engine.remove_leftovers(watch.client)
    reader = _Reader(watch, Seen())
    # The engine replays only its last 256 events: listen from before the first test
    # (FACTS.md#last-256-events).
    stream = watch.client.api.events(decode=True, filters=EVENTS)
    threading.Thread(target=_read, args=(reader, stream), daemon=True).start()
    try:
        # A volume's creation marks the begin, its removal the end.
        watch.client.api.create_volume(watch.name)
        _wait_for_volume_event(reader, 1)
        yield reader.seen
        # Before the clean-up, which would hide it.
        _raise_if_lost(reader.seen)
        reader.is_ending = True
        # The volume too, and containers whose log would never end.
        engine.remove_leftovers(watch.client)
        _wait_for_volume_event(reader, 2)
        for follower in reader.followers:
            follower.join(EVENT_TIMEOUT)
    finally:
        # The engine may be gone.
        with contextlib.suppress(DockerException, OSError):
            engine.remove_leftovers(watch.client)


def _wait_for_volume_event(reader: _Reader, number: int) -> None:
    seen = reader.seen
    deadline = time.monotonic() + EVENT_TIMEOUT
    while reader.volume_events < number and not seen.stop_reason:
        if time.monotonic() > deadline:
            seen.stop_reason = "no event came"
        time.sleep(0.05)
    _raise_if_lost(seen)


def _raise_if_lost(seen: Seen) -> None:
    if seen.stop_reason:
        remedy = "run again; if it comes back, restart the engine"
        raise GateError(
            f"Lost the Docker event stream ({seen.stop_reason}): {remedy}"
        )


def _read(reader: _Reader, stream: Any) -> None:
    seen = reader.seen
    try:
        for event in stream:
            if event["Type"] == "container":
                _container_event(reader, event["Action"], event["Actor"])
            elif event["Actor"]["ID"] == reader.watch.name:
                ahead = event["timeNano"] / 1e9 - time.time()
                seen.clock_at_end = ahead
                if not reader.volume_events:
                    seen.clock_at_begin = ahead
                reader.volume_events += 1
                # What comes after the end is of another run, such as the comparison.
                if reader.volume_events == 2:
                    if not reader.is_ending:
                        # ansible/ansible-dev-tools#789
                        pruned = "the run's volume was removed, as by `docker volume prune`"
                        seen.stop_reason = pruned
                    return
        seen.stop_reason = "the engine closed it"
    # Any error ends the monitoring, and then the run.
    except Exception as error:
        seen.stop_reason = f"{type(error).__name__}: {error}"


def _container_event(
    reader: _Reader, action: str, actor: dict[str, Any]
) -> None:
    container_id = actor["ID"]
    attributes = actor["Attributes"]
    name = attributes.get("name", "")
    image = attributes.get("image", "")
    new = _Container(name, image, reader.watch.shard_of(name))
    container = reader.containers.setdefault(container_id, new)
    if action == "create":
        _created(reader, container_id, container)
    elif action == "start":
        _started(reader, container_id, container)
    elif action == "kill" and container.shard:
        container.was_stopped = True
        if attributes.get("signal") in ("15", "SIGTERM"):
            threading.Timer(
                GRACE, _kill, (reader.watch.client, container_id)
            ).start()
    elif action == "die" and container.shard and not container.was_stopped:
        reader.seen.crashed[container.shard] += 1
        if attributes.get("exitCode") == KILLED:
            reader.seen.killed.add(container.shard)


def _created(reader: _Reader, container_id: str, container: _Container) -> None:
    """Look a new container up now: a short-lived one may be gone when its start event is read."""
    with contextlib.suppress(NotFound):
        found = reader.watch.client.api.inspect_container(container_id)
        container.image_id = found["Image"]
        bindings = (found["HostConfig"].get("PortBindings") or {}).values()
        container.host_ports = {
            binding["HostPort"]
            for hosts in bindings
            for binding in hosts or []
            if binding
        }


def _started(reader: _Reader, container_id: str, container: _Container) -> None:
    watch = reader.watch
    seen = reader.seen
    description = (
        f"{container.name} from {container.image} ({container.image_id})"
    )
    if container.shard:
        seen.started[container.shard][container.image_id] += 1
        arguments = (watch, container_id, container.shard)
        follower = threading.Thread(target=_follow, args=arguments, daemon=True)
        reader.followers.append(follower)
        follower.start()
        if container.image_id != watch.image.image_id:
            seen.unexpected.append(description)
    elif container.image_id == watch.image.image_id:
        # Not another image, and no evidence for a shard either.
        return
    elif container.host_ports & set(map(str, environment.RESERVED)):
        seen.unexpected.append(f"{description}, on a shard's port")
    elif not container.name.startswith(PREFIX) and _is_of_repository(
        watch, container
    ):
        # Somebody else uses the emulator on this engine: it cannot have answered.
        seen.strangers.append(description)


def _is_of_repository(watch: Watch, container: _Container) -> bool:
    names = [container.image]
    # It was started by id.
    if container.image.startswith("sha256:"):
        with contextlib.suppress(NotFound):
            names = watch.client.images.get(container.image).tags
    return repository_of(watch.image.reference) in map(repository_of, names)


def _follow(watch: Watch, container_id: str, shard: str) -> None:
    """Keep what a container prints, with the engine's timestamps, until it ends.

    It may be removed meanwhile, or the engine lost: then what was read is what there is.
    """
    with (
        contextlib.suppress(Exception),
        watch.log(shard).open("ab", buffering=0) as file,
    ):
        logs = watch.client.api.logs(
            container_id, stream=True, follow=True, timestamps=True
        )
        file.writelines(logs)


def _kill(client: DockerClient, container_id: str) -> None:
    # It may have ended.
    with contextlib.suppress(DockerException, OSError):
        client.api.kill(container_id)
