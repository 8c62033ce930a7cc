"""A run that is interrupted, or loses its engine: never green by mistake, and nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker
import pytest

from gate import engine, workspace
from gate.workspace import PREFIX

from .support.emulator import OTHERS
from .support.engine_proxy import EngineProxy
from .support.gate import Gate, left_of_runs, output_of, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]
# Seconds until a run has ended that was interrupted or has lost its engine; measured: 2.
SOON = 30.0


@pytest.fixture
def hanging(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder in which a test that never ends notes that it runs."""
    monkeypatch.setitem(gate.settings, "UV_TEST_FOLDER", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_hangs.py")
    gate.prepare()
    return tmp_path


def start(
    gate: Gate, hanging: Path, *command: str, **settings: str
) -> "subprocess.Popen[str]":
    """Start a run, by default of compat.py, and wait until its test hangs."""
    process = gate.start(
        *(command or (sys.executable, "scripts/compat.py")), **settings
    )
    wait_until((hanging / "hanging").exists, of=process)
    return process


def asleep(hanging: Path) -> bool:
    """Return whether the process runs that the hanging test started; a zombie does not."""
    stat = Path("/proc", (hanging / "sleeper").read_text(), "stat")
    return stat.exists() and ") Z " not in stat.read_text()


def assert_nothing_is_left(gate: Gate, hanging: Path) -> None:
    """A run that did not end by itself has no verdict, and leaves no worktree and no process."""
    assert list(gate.results_folder.glob("verdict.json")) == []
    assert gate.worktrees() == []
    assert not asleep(hanging)


def run_to_green(gate: Gate) -> None:
    """Run again, as the next one who uses the clone does."""
    judged = gate.judged("tests/test_steps.py")
    assert judged.green, judged.reasons


def test_a_shard_that_takes_longer_than_compat_timeout_is_ended_and_red(
    gate: Gate, hanging: Path
) -> None:
    judged = gate.judged("tests/test_hangs.py", COMPAT_TIMEOUT="6")
    timeout, no_result, too_few = judged.reasons
    assert timeout.startswith("develop: shard hangs-")
    ending = "did not end within COMPAT_TIMEOUT=6 s in tests/test_hangs.py::test_hangs (see "
    assert ending in timeout
    assert (
        no_result == "develop: tests/test_hangs.py: no test passed (no result)"
    )
    assert too_few.startswith("develop: only 0 tests passed; ")
    assert not asleep(hanging)


def test_a_second_run_in_one_clone_is_refused_and_a_cancelled_job_ends(
    gate: Gate, hanging: Path
) -> None:
    process = start(gate, hanging)
    second = gate.script("compat.py")
    assert second.returncode == 2
    refused = "error: another run is working in this clone: wait for it, or use a second clone"
    assert second.stdout.splitlines() == [refused]
    process.send_signal(signal.SIGTERM)
    output = output_of(process, SOON)
    assert process.returncode == 130, output
    assert output.splitlines()[-1] == "interrupted"
    assert_nothing_is_left(gate, hanging)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_in_make_and_a_closed_terminal_end_the_run(
    gate: Gate, hanging: Path, number: signal.Signals
) -> None:
    process = start(gate, hanging, "make", "compat")
    # As a terminal does.
    os.killpg(process.pid, number)
    output = output_of(process, SOON)
    assert process.returncode in (2, -number), output
    assert "interrupted" in output.splitlines()
    assert "Traceback" not in output
    assert_nothing_is_left(gate, hanging)


def test_a_clean_up_beside_a_run_is_refused_and_the_run_goes_on(
    gate: Gate, hanging: Path
) -> None:
    process = start(gate, hanging)
    clean = gate.make("clean")
    assert clean.returncode == 2
    refused = "error: another run is working in this clone: wait for it, or use a second clone"
    assert clean.stdout.splitlines()[0] == refused
    assert asleep(hanging)
    assert list(gate.results_folder.glob("candidate.json"))
    process.send_signal(signal.SIGTERM)
    output_of(process, SOON)
    assert_nothing_is_left(gate, hanging)


def test_the_run_after_one_that_was_killed_removes_what_that_left(
    gate: Gate,
    docker_client: docker.DockerClient,
    hanging: Path,
    other_image: str,
) -> None:
    # Of another clone's gate.
    name = "sam-compat-00000000-0-steps-1"
    others = docker_client.containers.run(other_image, name=name, detach=True)
    try:
        process = start(gate, hanging)
        os.killpg(process.pid, signal.SIGKILL)
        output_of(process, SOON)
        left = left_of_runs(docker_client)
        assert len(left) == 2, f"a container and a volume, not {left}"
        assert gate.worktrees()
        run_to_green(gate)
        assert left_of_runs(docker_client) == []
        others.reload()
        assert others.status == "running"
    finally:
        others.remove(force=True)
        shard = os.getpgid(int((hanging / "sleeper").read_text()))
        # What a killed gate leaves runs on.
        os.killpg(shard, signal.SIGKILL)


def test_an_engine_that_goes_away_while_the_suite_runs_is_an_error(
    gate: Gate, hanging: Path, engine_proxy: EngineProxy
) -> None:
    process = start(gate, hanging, DOCKER_HOST=engine_proxy.address)
    engine_proxy.cut()
    output = output_of(process, SOON)
    assert process.returncode == 2, output
    assert output.splitlines()[-1].startswith(
        "error: Lost the Docker event stream ("
    ), output
    assert "Traceback" not in output
    assert_nothing_is_left(gate, hanging)
    # It removes what the engine still has.
    run_to_green(gate)


def test_a_volume_that_others_prune_while_the_suite_runs_is_an_error(
    gate: Gate, docker_client: docker.DockerClient, hanging: Path
) -> None:
    """By it the gate knows how long events are its own: what comes later would not be seen."""
    process = start(gate, hanging)
    (volume,) = [
        each
        for each in docker_client.volumes.list()
        if each.name.startswith(f"{gate.clone}-")
    ]
    volume.remove()
    output = output_of(process, SOON)
    assert process.returncode == 2, output
    pruned = "the run's volume was removed, as by `docker volume prune`"
    assert f"error: Lost the Docker event stream ({pruned}): " in output
    assert_nothing_is_left(gate, hanging)


def test_an_engine_that_does_not_see_the_clones_folder_is_an_error(
    gate: Gate, engine_proxy: EngineProxy, tmp_path: Path
) -> None:
    def elsewhere(container: dict[str, Any]) -> None:
        """Make the engine see an empty folder, as one on another machine makes it."""
        container["HostConfig"]["Binds"] = [
            f"{tmp_path}/empty:{bind.partition(':')[2]}"
            for bind in container["HostConfig"]["Binds"]
        ]

    gate.prepare()
    engine_proxy.change = elsewhere
    began = time.monotonic()
    done = gate.script("compat.py", DOCKER_HOST=engine_proxy.address)
    assert time.monotonic() - began < SOON
    assert done.returncode == 2, done.stdout
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"error: the engine cannot see {gate.root}/.cache (")
    assert list(gate.results_folder.glob("verdict.json")) == []
    assert gate.worktrees() == []


# --- what a killed run left, and what is somebody else's

CLONE = f"{PREFIX}{os.getpid()}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .cache of a clone that is called CLONE; no other test uses that name."""
    cache = tmp_path / ".cache"
    monkeypatch.setattr(workspace, "CLONE", CLONE)
    monkeypatch.setattr(workspace, "CACHE", cache)
    monkeypatch.setattr(workspace, "MEMORY", tmp_path / "memory")
    return cache


@pytest.mark.parametrize(
    ("name", "mounts", "stays"),
    [
        (f"{CLONE}-1-steps-1", "", False),
        ("function", f".cache/{CLONE}-1/tree", False),
        ("function", f"memory/{CLONE}-1/tree", False),
        # At the top of a repository, .cache is the name of everybody's caches.
        ("users", ".cache/pip", True),
        ("users", ".cache", True),
        ("users", "", True),
        (f"{PREFIX}{os.getpid()}0-1-steps-1", "", True),
    ],
    ids=[
        "an emulator",
        "a function of worktrees in .cache",
        "a function of worktrees in memory",
        "a user's that mounts something of .cache",
        "a user's that mounts .cache",
        "a user's",
        "another clone's",
    ],
)
def test_only_containers_that_a_run_of_this_clone_made_are_removed(
    docker_client: docker.DockerClient,
    other_image: str,
    cache: Path,
    name: str,
    mounts: str,
    *,
    stays: bool,
) -> None:
    own_name = name if name.startswith(PREFIX) else f"{OTHERS}-{name}"
    bind = f"{cache.parent / mounts}:/mounted:rw"
    container = docker_client.containers.run(
        other_image,
        name=own_name,
        detach=True,
        volumes=[bind] if mounts else [],
    )
    try:
        engine.remove_leftovers(docker_client)
        running = docker_client.containers.list(
            filters={"id": container.id or ""}
        )
        assert bool(running) == stays
    finally:
        engine.remove_container(docker_client, own_name)


@pytest.mark.parametrize(
    ("name", "stays"),
    [(f"{CLONE}-1", False), (f"my-{CLONE}-1", True)],
    ids=["a run's", "a user's"],
)
def test_only_volumes_that_a_run_of_this_clone_made_are_removed(
    docker_client: docker.DockerClient, cache: Path, name: str, *, stays: bool
) -> None:
    volume = docker_client.volumes.create(name)
    engine.remove_leftovers(docker_client)
    names = [each.name for each in docker_client.volumes.list()]
    if stays:
        volume.remove()
    assert (name in names) == stays
