"""The event monitor: which images of the emulator's repository were started, and their logs."""

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.errors import DockerException, NotFound

from gate import engine
from gate.cli import GateError
from gate.images import Image, repository_of
from gate.workspace import PREFIX

PATIENCE = 120.0  # seconds for an event that must come: the engine may be busy
GRACE = 1.0  # seconds that an emulator has after its SIGTERM, which it ignores (fact 12)
EVENTS = {"event": ["create", "start", "kill", "die", "destroy"], "type": ["container", "volume"]}


@dataclass
class Watch:
    """What to look for, and what was seen. Containers of this run are named <name>-<shard>.

    `started` counts starts by shard and image id, `crashed` by shard those that ended by
    themselves; `unexpected` describes starts of other images of the repository. `clocks`: seconds
    that the engine's is ahead of ours, at begin and end. `broken`: why the shards must stop.
    """

    image: Image
    name: str
    logs: Path  # the folder for what the containers print
    started: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    crashed: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)
    broken: str = ""
    created: dict[str, str] = field(default_factory=dict)  # image id by container
    stopped: set[str] = field(default_factory=set)  # containers that were asked to stop
    followers: list[threading.Thread] = field(default_factory=list)
    client: engine.Client = field(default_factory=engine.connect)

    def log(self, shard: str) -> Path:
        return self.logs / f"emulator-{shard}.log"


@contextlib.contextmanager
def monitor(watch: Watch) -> Iterator[None]:
    """Watch what the body does in the engine, and leave no container or volume of this clone."""
    engine.remove_leftovers(watch.client)  # of a run that was killed
    # The engine replays only its last 256 events (fact 15): listen from before the first test.
    stream = watch.client.api.events(decode=True, filters=EVENTS)
    threading.Thread(target=_read, args=(watch, stream), daemon=True).start()
    try:
        watch.client.api.create_volume(watch.name)  # its events mark begin and end
        _wait(watch, 1)
        yield
        _wait(watch, 1)  # raises if the events have ended
        engine.remove_leftovers(watch.client)  # the volume too, and containers whose log never ends
        _wait(watch, 2)
        for follower in watch.followers:
            follower.join(PATIENCE)
    finally:
        with contextlib.suppress(DockerException, OSError):  # the engine may be gone
            engine.remove_leftovers(watch.client)


def _wait(watch: Watch, marks: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(watch.clocks) < marks and not watch.broken:
        if time.monotonic() > deadline:
            watch.broken = "no event came"
        time.sleep(0.05)
    if watch.broken:
        remedy = "restart the engine and run again"
        raise GateError(f"Lost the Docker event stream ({watch.broken}): {remedy}")


def _read(watch: Watch, stream: Any) -> None:
    try:
        for event in stream:
            if event["Type"] == "container":
                _container_event(watch, event["Action"], event["Actor"])
            elif event["Actor"]["ID"] == watch.name:
                watch.clocks.append(event["timeNano"] / 1e9 - time.time())
        watch.broken = "the engine closed it"
    except Exception as error:  # any error ends the monitoring
        watch.broken = f"{type(error).__name__}: {error}"


def _container_event(watch: Watch, action: str, actor: dict[str, Any]) -> None:
    container, about = actor["ID"], actor["Attributes"]
    name = about.get("name", "")
    _, own, shard = name.partition(f"{watch.name}-")
    if action == "create":  # it may be gone once it has started
        with contextlib.suppress(NotFound):
            watch.created[container] = watch.client.api.inspect_container(container)["Image"]
    elif action == "start" and (own or not name.startswith(PREFIX)):  # not another clone's gate
        image, image_id = about.get("image", ""), watch.created.get(container, "unknown")
        if own:
            watch.started[shard][image_id] += 1
            follow = (watch, container, shard)
            watch.followers.append(threading.Thread(target=_follow, args=follow, daemon=True))
            watch.followers[-1].start()
        names = [image]
        with contextlib.suppress(NotFound):
            if image.startswith("sha256:"):  # it was started by id
                names = watch.client.images.get(image).tags
        ours = own or repository_of(watch.image.reference) in map(repository_of, names)
        if ours and image_id != watch.image.image_id:
            watch.unexpected.append(f"{name} from {image} ({image_id})")
    elif action == "kill" and own:
        watch.stopped.add(container)
        if about.get("signal") in ("15", "SIGTERM"):
            threading.Timer(GRACE, _kill, (watch, container)).start()
    elif action == "die" and own and container not in watch.stopped:
        watch.crashed[shard] += 1


def _follow(watch: Watch, container: str, shard: str) -> None:
    # With the engine's own timestamps. The container may be removed meanwhile, or the engine lost.
    with contextlib.suppress(Exception), watch.log(shard).open("ab", buffering=0) as file:
        logs = watch.client.api.logs(container, stream=True, follow=True, timestamps=True)
        file.writelines(logs)


def _kill(watch: Watch, container: str) -> None:
    with contextlib.suppress(DockerException, OSError):  # it has ended
        watch.client.api.kill(container)
