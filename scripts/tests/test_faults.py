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

from .conftest import Gate, Way, left_of_runs, output_of, until

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]
SOON = 30.0  # seconds until a run has ended that was interrupted or has lost its engine; measured 2


@pytest.fixture
def hanging(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a test that never ends notes that it runs."""
    monkeypatch.setitem(gate.settings, "UV_TEST_FOLDER", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_hangs.py")
    gate.prepare()
    return tmp_path


def start(gate: Gate, folder: Path, *command: str) -> "subprocess.Popen[str]":
    """Start a run, by default of compat.py, and wait until its test hangs."""
    process = gate.popen(*(command or (sys.executable, "scripts/compat.py")))
    until((folder / "hanging").exists, of=process)
    return process


def asleep(folder: Path) -> bool:
    """Return whether the process runs that the hanging test started; a zombie does not."""
    stat = Path("/proc", (folder / "sleeper").read_text(), "stat")
    return stat.exists() and ") Z " not in stat.read_text()


def ended_without_a_verdict(gate: Gate, hanging: Path) -> None:
    assert list(gate.findings.glob("verdict.json")) == []
    assert gate.worktrees() == []
    assert not asleep(hanging)


def green_again(gate: Gate) -> None:
    found = gate.judged("tests/test_steps.py")
    assert found.green, found.reasons


def test_red_after_compat_timeout(gate: Gate, hanging: Path) -> None:
    found = gate.judged("tests/test_hangs.py", COMPAT_TIMEOUT="6")
    assert len(found.reasons) == 3
    assert found.reasons[0].startswith("develop: shard hangs-")
    ending = "did not end within COMPAT_TIMEOUT=6 s in tests/test_hangs.py::test_hangs (see "
    assert ending in found.reasons[0]
    assert found.reasons[1] == "develop: tests/test_hangs.py: no test passed (no result)"
    assert not asleep(hanging)


def test_second_run_in_one_clone_is_refused_and_a_cancelled_job_ends(
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
    ended_without_a_verdict(gate, hanging)


def test_ctrl_c_of_make(gate: Gate, hanging: Path) -> None:
    process = start(gate, hanging, "make", "compat")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output = output_of(process, SOON)
    assert process.returncode in (2, -signal.SIGINT), output
    assert "interrupted" in output.splitlines()
    assert "Traceback" not in output
    ended_without_a_verdict(gate, hanging)


def test_run_after_one_that_was_killed_removes_what_that_left(
    gate: Gate, docker_client: docker.DockerClient, hanging: Path, other_image: str
) -> None:
    name = "sam-compat-00000000-0-steps-1"  # of another clone's gate
    others = docker_client.containers.run(other_image, name=name, detach=True)
    try:
        process = start(gate, hanging)
        os.killpg(process.pid, signal.SIGKILL)
        output_of(process, SOON)
        assert len(left_of_runs(docker_client)) == 2, "a container and a volume"
        assert gate.worktrees()
        green_again(gate)
        assert left_of_runs(docker_client) == []
        others.reload()
        assert others.status == "running"
    finally:
        others.remove(force=True)
        shard = os.getpgid(int((hanging / "sleeper").read_text()))
        os.killpg(shard, signal.SIGKILL)  # what a killed gate leaves runs on


def test_engine_that_goes_away_while_the_suite_runs(
    gate: Gate, hanging: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setitem(gate.settings, "DOCKER_HOST", way.address)
        process = start(gate, hanging)
        way.cut()
        output = output_of(process, SOON)
    assert process.returncode == 2, output
    assert output.splitlines()[-1].startswith("error: Lost the Docker event stream ("), output
    assert "Traceback" not in output
    ended_without_a_verdict(gate, hanging)
    green_again(gate)  # and removes what the engine still has


def test_engine_without_the_clones_folder(gate: Gate, way: Way, tmp_path: Path) -> None:
    def elsewhere(container: dict[str, Any]) -> None:
        """Make the engine see an empty folder, as one on another machine makes it."""
        binds = container["HostConfig"]["Binds"]
        empty = [f"{tmp_path / 'empty'}:{bind.partition(':')[2]}" for bind in binds]
        container["HostConfig"]["Binds"] = empty

    gate.prepare()
    way.change = elsewhere
    began = time.monotonic()
    done = gate.script("compat.py", DOCKER_HOST=way.address)
    assert time.monotonic() - began < SOON
    assert done.returncode == 2, done.stdout
    why = "is it another machine, a folder that is not shared, or SELinux?"
    assert done.stdout.splitlines() == [f"error: the engine cannot see {gate.root}/.cache: {why}"]
    assert list(gate.findings.glob("verdict.json")) == []
    assert gate.worktrees() == []
