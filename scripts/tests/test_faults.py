"""A run under load, ended from outside, without its engine or its disk: never green by mistake, and nothing left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from .conftest import Gate
from .test_gate import judged

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def hanging(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR in which a hanging test tells where it is."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_hangs.py tests/test_steps.py")
    return tmp_path


def alive(folder: Path) -> list[int]:
    """Which of the hanging test's processes run; a zombie does not."""
    pids = [int(line) for line in (folder / "sleepers").read_text().split()]
    assert len(pids) == 2
    status = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, stat in status if stat.exists() and ") Z " not in stat.read_text()]


def test_red_by_timeout_with_nothing_left_running(gate: Gate, hanging: Path) -> None:
    verdict = judged(gate, COMPAT_TIMEOUT="10")
    assert any(
        "did not end within COMPAT_TIMEOUT=10 s, it was in tests/test_hangs.py::test_hangs" in reason
        for reason in verdict["reasons"]
    )
    assert alive(hanging) == []


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]


@pytest.mark.parametrize("whom", ["make", "script"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c(gate: Gate, hanging: Path, whom: str, number: signal.Signals) -> None:
    if whom == "make":
        process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    else:
        gate.make("image")
        gate.make("samcli")
        process = gate.popen(sys.executable, "scripts/compat.py")
    wait_for(hanging / "hanging", process)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=15)
    assert process.returncode in ((-number, 2) if whom == "make" else (130,)), output
    assert "Traceback" not in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


def test_ctrl_c_of_a_background_job(gate: Gate, hanging: Path) -> None:
    """A shell without job control starts it with SIGINT ignored."""
    process = gate.popen("bash", "-c", f"trap '' INT; exec make compat VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 2, output
    assert "interrupted" in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


def test_killed_gate_leaves_no_verdict_and_the_next_run_works(
    gate: Gate, hanging: Path, docker_client: docker.DockerClient
) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (gate.findings / "verdict.json").exists()
    verdict = judged(gate, "tests/test_steps.py")
    assert verdict["green"], verdict["reasons"]


def test_second_gate_in_one_clone_says_so(gate: Gate, hanging: Path) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    second = gate.make("compat")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=15)
    assert second.returncode == 2
    assert "error: another gate is running in this clone" in second.stdout
