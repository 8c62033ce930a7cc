"""The witness: which images of the emulator's repository really ran, from the engine's own event stream."""

import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

import attendant
import engine
from command import GateError
from leftovers import PREFIX

PATIENCE = 120.0  # seconds for an event that the engine owes us: it may be busy


@dataclass
class Witness:
    """What was seen so far.

    `containers` counts the starts by image id; `strangers` describes each start of an image of the repository that
    was not the candidate; `broken` says why the witness stopped seeing, and is empty while it sees.
    """

    repository: str
    candidate: str
    run: str
    log: Callable[[str], Path]
    patient: bool
    containers: Counter[str] = field(default_factory=Counter)
    strangers: list[str] = field(default_factory=list)
    broken: str = ""

    def gone(self) -> str:
        """Return what to tell and to do once the witness stopped seeing."""
        return f"{self.broken}, so what runs is not seen any more: start the engine and run again"


@contextlib.contextmanager
def watch(
    *, repository: str, candidate: str, run: str, log: Callable[[str], Path], patient: bool = False
) -> Iterator[Witness]:
    """Watch the engine from before the body begins until all that it caused has been seen.

    `candidate` is the image id that may run, `run` this run's part of its containers' names; `log` says for the
    rest of such a name where to keep what the container prints. Those that cannot hear a SIGTERM are ended soon,
    unless `patient`. Containers of other gates on the same engine, which have names of their own, are left apart.
    Raises GateError if the engine's event stream does not begin, or broke before the end: what was not seen cannot be
    vouched for.
    """
    seen = Witness(repository, candidate, run, log, patient)
    client = engine.connect()
    # The engine replays only its last 256 events: the stream must be open before the first test.
    wanted = {"type": ["container", "volume"], "event": ["create", "start", "kill"]}
    stream = client.api.events(decode=True, filters=wanted)
    marks: dict[str, threading.Event] = {"begin": threading.Event(), "end": threading.Event()}
    thread = threading.Thread(target=_read, args=(client, stream, seen, marks), daemon=True)
    thread.start()
    try:
        _mark(client, seen, "begin", marks)
        yield seen
        _mark(client, seen, "end", marks)
        if seen.broken:
            raise GateError(seen.gone())
    finally:
        with contextlib.suppress(Exception):  # the engine may be gone, and with it the stream's socket
            stream.close()


def _mark(client: docker.DockerClient, seen: Witness, name: str, marks: dict[str, threading.Event]) -> None:
    """Cause an event and wait until it is read: all earlier ones have been read then."""
    volume = f"{PREFIX}{seen.run}-{name}-{secrets.token_hex(4)}"
    try:
        marks[volume] = marks[name]
        client.api.create_volume(volume)
        client.api.remove_volume(volume)
    except engine.ERRORS as error:
        raise GateError(
            f"the engine does not answer any more ({type(error).__name__}): start the engine and run again"
        ) from None
    if not marks[name].wait(PATIENCE):
        raise GateError(seen.gone() if seen.broken else "the engine tells no events: restart the engine and run again")


def _read(client: docker.DockerClient, stream: Any, seen: Witness, marks: dict[str, threading.Event]) -> None:
    created: dict[str, dict[str, Any]] = {}
    try:
        for event in stream:
            actor = event["Actor"]
            if event["Type"] == "volume":
                if mark := marks.get(actor["ID"]):
                    mark.set()
            elif event["Action"] == "create":
                created[actor["ID"]] = _inspect(client, actor)
            elif event["Action"] == "kill":
                own = actor["Attributes"].get("name", "").startswith(f"{PREFIX}{seen.run}-")
                if own and not seen.patient and actor["Attributes"].get("signal") in ("15", "SIGTERM"):
                    attendant.end_if_deaf(client, actor["ID"])
            else:
                _started(client, seen, created.pop(actor["ID"]) if actor["ID"] in created else _inspect(client, actor))
        seen.broken = "the engine is gone or was restarted"
    except Exception as error:  # whatever it was, nothing is seen from here on, and that must be said
        seen.broken = f"the engine's event stream broke ({type(error).__name__})"


def _inspect(client: docker.DockerClient, actor: dict[str, Any]) -> dict[str, Any]:
    """Return name, image name and image id of a container; no id if it is gone already. The event names no id."""
    about = actor["Attributes"]
    found = {"container": actor["ID"], "name": about.get("name", ""), "image": about.get("image", ""), "id": ""}
    with contextlib.suppress(NotFound):
        found["id"] = client.api.inspect_container(actor["ID"])["Image"]
    return found


def _started(client: docker.DockerClient, seen: Witness, container: dict[str, Any]) -> None:
    name, image, image_id = container["name"], container["image"], container["id"]
    own = name.startswith(f"{PREFIX}{seen.run}-")
    if name.startswith(PREFIX) and not own:
        return
    if own:
        attendant.keep_log(client, container["container"], seen.log(name.removeprefix(f"{PREFIX}{seen.run}-")))
    if image_id == seen.candidate:
        seen.containers[image_id] += 1
    elif own or _repository(seen.repository) in _repositories(client, image, image_id):
        seen.containers[image_id or "unknown"] += 1
        seen.strangers.append(f"{name} from {image} ({image_id or 'gone before its image id could be asked'})")


def _repositories(client: docker.DockerClient, image: str, image_id: str) -> set[str]:
    """Return the repositories that a container's image belongs to: by the name it was started with, and by its tags."""
    names = [image]
    with contextlib.suppress(NotFound):
        about = client.images.get(image_id or image).attrs
        names += (about.get("RepoTags") or []) + (about.get("RepoDigests") or [])
    return {_repository(name) for name in names}


def _repository(name: str) -> str:
    """Return an image name without digest, tag and Docker Hub's host, which docker leaves out itself.

    A colon before the last slash is a registry's port.
    """
    name = name.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
