"""The monitor: which of an engine's events are of a run, and which of other programs."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate import engine, monitor
from gate.monitor import Watch

from .support.runs import CANDIDATE

NAME = "sam-compat-0-1"
OWN = f"{NAME}-steps-0"


def watch(tmp_path: Path, killed: list[str]) -> Watch:
    """Return the watch of a run in an engine that notes which containers it is to kill."""
    api = SimpleNamespace(
        kill=killed.append,
        inspect_container=lambda _: {
            "Image": CANDIDATE.image_id,
            "HostConfig": {},
        },
        logs=lambda _, **options: [],
    )
    client: Any = SimpleNamespace(api=api)
    return Watch(client, CANDIDATE, NAME, tmp_path)


def of_container(action: str, name: str, **attributes: str) -> dict[str, Any]:
    actor = {"ID": f"id of {name}", "Attributes": {"name": name} | attributes}
    return {"Type": "container", "Action": action, "Actor": actor}


def of_volume(name: str, ahead: float = 0.0) -> dict[str, Any]:
    """Return an event of a volume, now by a clock that is ahead."""
    at = int((time.time() + ahead) * 1e9)
    return {"Type": "volume", "Actor": {"ID": name}, "timeNano": at}


@pytest.mark.parametrize(
    ("name", "signal", "kills"),
    [
        (OWN, "15", True),
        (OWN, "SIGTERM", True),
        (OWN, "9", False),
        ("a users own", "15", False),
    ],
)
def test_only_an_emulator_of_the_run_is_killed_soon_after_its_sigterm(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    signal: str,
    *,
    kills: bool,
) -> None:
    """Another program's container may take its time."""
    monkeypatch.setattr(monitor, "GRACE", 0.0)
    killed: list[str] = []
    reader = monitor._Reader(watch(tmp_path, killed), monitor.Seen())
    events = [of_container("create", name), of_container("start", name)]
    monitor._read(reader, [*events, of_container("kill", name, signal=signal)])
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert killed == ([f"id of {name}"] if kills else [])


@pytest.mark.parametrize(
    ("stopped", "exit_code", "crashed", "killed"),
    [
        (True, "137", 0, set()),
        (False, "1", 1, set()),
        (False, "137", 1, {"steps-0"}),
    ],
    ids=["stopped", "crashed", "killed by the system"],
)
def test_an_emulator_that_ends_crashed_unless_somebody_stopped_it(
    tmp_path: Path,
    exit_code: str,
    crashed: int,
    killed: set[str],
    *,
    stopped: bool,
) -> None:
    reader = monitor._Reader(watch(tmp_path, []), monitor.Seen())
    stops = [of_container("kill", OWN, signal="9")] * stopped
    dies = of_container("die", OWN, exitCode=exit_code)
    monitor._read(reader, [of_container("create", OWN), *stops, dies])
    assert reader.seen.crashed["steps-0"] == crashed
    assert reader.seen.killed == killed


def test_events_are_read_from_the_begin_of_the_runs_own_volume_to_its_end(
    tmp_path: Path,
) -> None:
    """Other programs make and remove volumes too."""
    reader = monitor._Reader(
        watch(tmp_path, []), monitor.Seen(), is_ending=True
    )
    first, second = (
        of_container(action, OWN) for action in ("create", "start")
    )
    others = [of_volume("a users own")] * 2
    begin, end = of_volume(NAME, 60.0), of_volume(NAME, 90.0)
    events = [*others, begin, first, second, *others, end, second]
    monitor._read(reader, events)
    assert reader.seen.started["steps-0"] == {CANDIDATE.image_id: 1}
    assert reader.seen.stop_reason == ""
    clocks = (reader.seen.clock_at_begin, reader.seen.clock_at_end)
    assert [round(ahead) for ahead in clocks] == [60, 90]


def test_what_a_killed_run_left_goes_first_and_the_last_line_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: queue.Queue[dict[str, Any]] = queue.Queue()
    volumes = ["of a run that was killed"]

    def create_volume(name: str) -> None:
        assert volumes == []
        volumes.append(name)
        events.put(of_volume(name))

    def remove_leftovers(_: Any) -> None:
        while volumes:
            events.put(of_volume(volumes.pop()))

    def logs(_: str, **options: bool) -> Iterator[bytes]:
        time.sleep(0.3)
        yield b"the last line\n"

    of_run = watch(tmp_path, [])
    api: Any = of_run.client.api
    api.create_volume, api.logs = create_volume, logs
    api.events = lambda **_: iter(events.get, None)
    monkeypatch.setattr(engine, "remove_leftovers", remove_leftovers)
    with monitor.monitor(of_run):
        for action in ("create", "start"):
            events.put(of_container(action, OWN))
    assert of_run.log("steps-0").read_bytes() == b"the last line\n"
