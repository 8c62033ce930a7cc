"""A run under load, ended from outside, without its engine or its disk: never green by mistake, and nothing left."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

import engine
import leftovers
import state

from .conftest import Gate, commit_all, copy_template, missing, shim, until
from .test_gate import judged

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]

SOON = 60.0  # seconds in which a run that was told to end, or has lost its engine, has ended; measured 2


@pytest.fixture
def hanging(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a hanging test tells where it is; UV_* is what reaches it."""
    monkeypatch.setenv("UV_TEST_FOLDER", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_hangs.py tests/test_steps.py")
    return tmp_path


def alive(folder: Path) -> list[int]:
    """Which of the hanging test's processes run; a zombie does not."""
    pids = [int(line) for line in (folder / "sleepers").read_text().split()]
    assert len(pids) == 2
    status = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, stat in status if stat.exists() and ") Z " not in stat.read_text()]


@pytest.mark.fault("a test hangs", "red")
def test_red_by_timeout_with_nothing_left_running(gate: Gate, hanging: Path) -> None:
    verdict = judged(gate, COMPAT_TIMEOUT="20")
    assert any(
        "did not end within COMPAT_TIMEOUT=20 s, it was in tests/test_hangs.py::test_hangs" in reason
        for reason in verdict["reasons"]
    )
    assert alive(hanging) == []


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    until(path.exists, of=process)


@pytest.mark.parametrize(("times", "pause"), [(1, 0), (3, 0), (5, 0.1)], ids=["once", "at once", "again and again"])
@pytest.mark.parametrize("whom", ["make", "script"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.fault("Ctrl-C, SIGTERM or SIGHUP while the suite runs, once or again and again", "interrupted")
def test_ctrl_c(gate: Gate, hanging: Path, whom: str, number: signal.Signals, times: int, pause: float) -> None:
    if whom == "make":
        process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    else:
        gate.make("image")
        gate.make("samcli")
        process = gate.popen(sys.executable, "scripts/compat.py")
    wait_for(hanging / "hanging", process)
    for _ in range(times):
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.killpg(process.pid, number)
        time.sleep(pause)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode in ((-number, 2) if whom == "make" else (130,)), output
    assert "Traceback" not in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


@pytest.mark.fault("Ctrl-C, where a script runs the gate in the background", "interrupted")
def test_ctrl_c_of_a_background_job(gate: Gate, hanging: Path) -> None:
    """A shell without job control starts it with SIGINT ignored."""
    process = gate.popen("bash", "-c", f"trap '' INT; exec make compat VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 2, output
    assert "interrupted" in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


def test_ctrl_c_while_the_run_cleans_up(
    docker_client: docker.DockerClient, other_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "CACHE", tmp_path)
    remove, interrupts = engine.remove_container, iter([KeyboardInterrupt])

    def interrupted(client: docker.DockerClient, container: str) -> None:
        for interrupt in interrupts:
            raise interrupt
        remove(client, container)

    monkeypatch.setattr(engine, "remove_container", interrupted)
    with pytest.raises(KeyboardInterrupt), leftovers.none(docker_client) as run:
        docker_client.containers.create(other_image, name=f"{leftovers.PREFIX}{run}-steps-1")
    assert not (tmp_path / "run").exists()


def test_container_that_the_engine_was_still_making_when_the_run_was_broken_off(
    docker_client: docker.DockerClient, other_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "CACHE", tmp_path)

    def broken_off(run: str) -> None:
        name = {"name": f"{leftovers.PREFIX}{run}-steps-1"}
        threading.Timer(0.2, docker_client.containers.create, (other_image,), name).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), leftovers.none(docker_client) as run:
        broken_off(run)


@pytest.mark.fault("SIGKILL of make and of all that it started", "no verdict")
def test_sigkill_of_all(gate: Gate, hanging: Path) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SOON)
    assert not (gate.findings / "verdict.json").exists()
    verdict = judged(gate, "tests/test_steps.py")
    assert verdict["green"], verdict["reasons"]
    assert alive(hanging) == []


@pytest.mark.fault(
    "SIGKILL of make and of all that it started, while the candidate's packages are listed", "no verdict"
)
def test_sigkill_while_the_packages_are_listed(
    gate: Gate, docker_client: docker.DockerClient, emulator: Path, tmp_path: Path
) -> None:
    shutil.copytree(emulator, tmp_path / "slow")
    (tmp_path / "slow/pip").write_text("#!/bin/busybox sh\n/bin/busybox sleep 3600\n")
    (tmp_path / "slow/pip").chmod(0o755)
    with (tmp_path / "slow/Dockerfile").open("a") as dockerfile:
        dockerfile.write("COPY pip /bin/pip\n")

    def listings() -> list[str]:
        return [
            name for found in docker_client.api.containers(all=True) for name in found["Names"] if "-packages" in name
        ]

    before = listings()
    process = gate.popen("make", "image", f"VENV={sys.prefix}", EMULATOR_SOURCE=str(tmp_path / "slow"))
    until(lambda: listings() != before, of=process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SOON)
    assert gate.make("image").returncode == 0
    assert listings() == before


@pytest.mark.fault("SIGKILL of make alone, while the suite runs", "error")
def test_sigkill_of_make_alone(gate: Gate, hanging: Path) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    process.kill()
    output, _ = process.communicate(timeout=SOON)  # all that writes there has ended
    assert output.splitlines()[-1] == "error: make is gone, so nobody waits for a verdict"
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []
    verdict = judged(gate, "tests/test_steps.py")
    assert verdict["green"], verdict["reasons"]


@pytest.mark.fault("SIGKILL of make alone, while the candidate is built and aws-sam-cli installed", "error")
def test_sigkill_of_make_alone_before_the_suite(gate: Gate, tmp_path: Path) -> None:
    building = tmp_path / "building"
    process = gate.popen("make", "compat", f"VENV={sys.prefix}", EMULATOR_PREBUILD=f"touch '{building}' && sleep 3600")
    wait_for(building, process)
    process.kill()  # what the make below it started is not told
    verdict = judged(gate)
    assert verdict["green"], verdict["reasons"]
    output, _ = process.communicate(timeout=SOON)
    assert "error: make is gone, so nobody waits for a verdict" in output


@pytest.mark.fault("SIGKILL of make alone, once all tests have passed", "error")
def test_sigkill_of_make_at_the_last_moment(gate: Gate, tmp_path: Path) -> None:
    path = shim(tmp_path, "save --output", "kill -KILL $(ps -o ppid= $PPID)")
    process = gate.popen("make", "compat", f"VENV={sys.prefix}", COMPAT_SAVE_IMAGE="1", PATH=path)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "5/5" in output
    assert output.splitlines()[-1] == "error: make is gone, so nobody waits for a verdict"
    assert not (gate.findings / "verdict.json").exists()
    (gate.findings / "image.half").touch()  # had the kill come a moment earlier
    assert judged(gate)["green"]
    assert list(gate.findings.glob("image.*")) == []


@pytest.mark.fault("a second `make compat` in the same clone", "error")
def test_second_gate_in_one_clone_says_so(gate: Gate, hanging: Path) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    second = gate.make("compat")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=SOON)
    assert second.returncode == 2
    assert "error: another gate is running in this clone" in second.stdout


@pytest.mark.fault("a second `make compat` with other settings, while the candidate of the first is built", "error")
def test_second_gate_does_not_touch_what_the_first_one_made(gate: Gate, tmp_path: Path) -> None:
    building = tmp_path / "building"
    gate.make("samcli")
    first = gate.popen("make", "compat", f"VENV={sys.prefix}", EMULATOR_PREBUILD=f"touch '{building}' && sleep 10")
    wait_for(building, first)
    second = gate.make("compat", SAMCLI_REFS="HEAD")
    assert second.stdout.count("error: another gate is running in this clone") == 2, "image and samcli"
    assert first.communicate()[0].splitlines()[-1].startswith("green: ")


@pytest.mark.fault("two `make compat` in one clone begin at the same moment", "error")
def test_of_two_gates_at_the_same_moment_one_runs(gate: Gate) -> None:
    slow = {"EMULATOR_PREBUILD": "sleep 7"}
    both = [gate.popen("make", "compat", f"VENV={sys.prefix}", **slow) for _ in range(2)]
    last = [process.communicate()[0] for process in both]
    assert sorted(output.splitlines()[-1].startswith("green: ") for output in last) == [False, True], last


def meet(one: Gate, other: Gate, folder: Path) -> list[dict[str, Any]]:
    """Run the gates of two clones at once, with their emulators up at the same time, and return their verdicts."""
    for gate in (one, other):
        assert gate.make("samcli").returncode == 0  # which may take longer than they wait for each other
    common = {
        "UV_TEST_FOLDER": str(folder),
        "SAMCLI_TESTS": "tests/test_meets.py tests/test_steps.py",
        "COMPAT_MIN_PASSED": "1",
    }
    processes = [gate.popen("make", "compat", f"VENV={sys.prefix}", **common) for gate in (one, other)]
    outputs = [process.communicate()[0] for process in processes]
    verdicts = []
    for gate, process, output in zip((one, other), processes, outputs, strict=True):
        assert (gate.findings / "verdict.json").exists(), output
        verdict = gate.verdict()
        assert process.returncode == (0 if verdict["green"] else 2), output
        assert verdict["runs"][0]["containers"] == {verdict["candidate"]["image_id"]: 2}, output
        assert len(verdict["runs"][0]["tests"]) == 4
        verdicts.append(verdict)
    met = {file.name: file.read_text().split() for file in folder.glob("met-*")}  # by port
    assert len(met) == 2
    for private in zip(*met.values(), strict=True):  # names of containers, worktrees
        assert len(set(private)) == 2, private
    return verdicts


@pytest.fixture
def clone(gate: Gate, tmp_path: Path) -> Gate:
    """A second clone with the settings of the first."""
    return Gate(copy_template(tmp_path / "clone"), dict(gate.settings))


@pytest.mark.fault("another clone gates a good candidate at the same time as this one a bad one", "red")
@pytest.mark.fault("another clone gates a bad candidate at the same time", "green")
def test_two_clones_one_green_one_red(gate: Gate, clone: Gate, emulator: Path, tmp_path: Path) -> None:
    shutil.copytree(emulator, tmp_path / "broken")
    (tmp_path / "broken/health").write_text("broken\n")
    clone.settings["EMULATOR_SOURCE"] = str(tmp_path / "broken")
    good, bad = meet(gate, clone, tmp_path)
    assert good["reasons"] == []
    assert bad["reasons"] == [
        "develop: 2 of 4 tests failed",
        "develop: tests/test_meets.py: no test of it passed (1 failed)",
    ]
    assert good["candidate"]["image_id"] != bad["candidate"]["image_id"]


@pytest.mark.fault("another clone gates the same image under the same tag at the same time", "green")
def test_two_clones_of_one_image(gate: Gate, clone: Gate, emulator: Path, tmp_path: Path) -> None:
    shutil.copytree(emulator, tmp_path / "emulator")
    commit_all(tmp_path / "emulator")
    shutil.copytree(tmp_path / "emulator", tmp_path / "same")
    clone.settings["EMULATOR_SOURCE"] = str(tmp_path / "same")
    first = Gate(gate.root, gate.settings | {"EMULATOR_SOURCE": str(tmp_path / "emulator")})
    assert first.make("image").returncode == 0
    one, other = meet(first, clone, tmp_path)
    assert (one["reasons"], other["reasons"]) == ([], [])
    assert one["candidate"]["reference"] == other["candidate"]["reference"]


@pytest.mark.fault("this clone was copied, `.cache/` and all, while another gate ran in it", "green")
def test_copied_clone_does_not_end_the_run_of_the_first(gate: Gate, clone: Gate, hanging: Path) -> None:
    process = gate.popen("make", "compat", f"VENV={sys.prefix}")
    wait_for(hanging / "hanging", process)
    (clone.root / ".cache").mkdir()
    shutil.copy(gate.root / ".cache/run", clone.root / ".cache")
    verdict = judged(clone, "tests/test_steps.py")
    assert verdict["green"], verdict["reasons"]
    assert len(alive(hanging)) == 2
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SOON)
    assert "interrupted" in output


class Way:
    """A way to the engine that can be cut: for a gate at its end the engine is gone then."""

    def __init__(self, to: str, at: Path) -> None:
        self.to, self.address = to, f"unix://{at}"
        self.sockets = [socket.socket(socket.AF_UNIX)]
        self.sockets[0].bind(str(at))
        self.sockets[0].listen(128)
        threading.Thread(target=self.lead, daemon=True).start()

    def lead(self) -> None:
        with contextlib.suppress(OSError):  # it was cut
            while True:
                here, there = self.sockets[0].accept()[0], socket.socket(socket.AF_UNIX)
                self.sockets += [here, there]
                there.connect(self.to)
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self.forward, args=pair, daemon=True).start()

    def forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def way(docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[Way]:
    to = engine.environment()["DOCKER_HOST"]
    if not to.startswith("unix://"):
        missing(f"the engine is not at a socket of this machine: {to}")
    found = Way(to.removeprefix("unix://"), tmp_path / "engine")
    yield found
    found.cut()


@pytest.mark.fault("the engine does not answer any more while the image is built", "error")
def test_engine_that_stops_while_the_image_is_built(gate: Gate, emulator: Path, way: Way, tmp_path: Path) -> None:
    shutil.copytree(emulator, tmp_path / "slow")
    with (tmp_path / "slow/Dockerfile").open("a") as dockerfile:
        dockerfile.write(f'RUN ["/bin/busybox", "sleep", "30.{os.getpid()}"]\n')
    settings = {"EMULATOR_SOURCE": str(tmp_path / "slow"), "DOCKER_HOST": way.address}
    process = gate.popen(sys.executable, "scripts/image.py", **settings)
    sleeps = ["pgrep", "-f", f"sleep 30.{os.getpid()}"]
    until(lambda: subprocess.run(sleeps, stdout=subprocess.DEVNULL).returncode == 0, of=process)
    way.cut()
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 2, output
    assert re.search("^error: .*no Docker engine answers; start it", output.splitlines()[-1]), output
    assert "Traceback" not in output


@pytest.mark.fault("the engine does not answer any more while the suite runs", "error")
def test_engine_that_stops_while_the_suite_runs(gate: Gate, hanging: Path, way: Way) -> None:
    gate.make("image")
    gate.make("samcli")
    process = gate.popen(sys.executable, "scripts/compat.py", DOCKER_HOST=way.address)
    wait_for(hanging / "hanging", process)
    way.cut()
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 2, output
    assert re.search("^error: the engine .*: start the engine and run again$", output.splitlines()[-1]), output
    assert "Traceback" not in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []
    verdict = judged(gate, "tests/test_steps.py")
    assert verdict["green"], verdict["reasons"]


class Disk:
    """A small disk of its own for `.compat/`, with as much room left as a test wants."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def leave(self, pages: int | None) -> None:
        """Leave so many pages, or all there is."""
        filler = self.at / "filler"
        filler.unlink(missing_ok=True)
        free = os.statvfs(self.at).f_bavail
        if pages is not None:
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, (free - pages) * os.sysconf("SC_PAGE_SIZE"))

    def used(self) -> int:
        disk = os.statvfs(self.at)
        return disk.f_blocks - disk.f_bfree


@pytest.fixture
def disk(gate: Gate) -> Iterator[Disk]:
    at = gate.root / ".compat"
    at.mkdir(exist_ok=True)
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    options = f"size=16m,uid={os.getuid()},gid={os.getgid()},mode=0755"
    done = subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", at], capture_output=True, text=True)
    if done.returncode:
        missing(f"no disk can be mounted: {done.stderr}")
    yield Disk(at)
    subprocess.run([*sudo, "umount", "--lazy", at], check=True)


def out_of_room(gate: Gate, output: str) -> None:
    assert re.search(
        r"^error: .*no room is left on the disk of .*[.]compat: make some and run again$", output.splitlines()[-1]
    ), output
    assert "Traceback" not in output
    assert list((gate.root / ".compat").glob("*/verdict*")) == []
    assert list((gate.root / ".compat").glob("*/summary*")) == []


@pytest.mark.parametrize("pages", [0, 1, 2])
@pytest.mark.fault("the disk of `.compat/` is full from the start", "error")
def test_disk_full_from_the_start(gate: Gate, disk: Disk, pages: int) -> None:
    disk.leave(pages)
    done = gate.script("image.py")
    assert done.returncode == 2
    out_of_room(gate, done.stdout)
    disk.leave(None)
    assert judged(gate)["green"]
    assert (disk.at / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("pages", [0, 1, 3, 5])
@pytest.mark.fault("the disk of `.compat/` is full once the suite runs", "error")
def test_disk_full_while_the_suite_runs(gate: Gate, disk: Disk, pages: int) -> None:
    gate.make("image")
    gate.make("samcli")
    disk.leave(pages)
    done = gate.script("compat.py")
    assert done.returncode == 2, done.stdout
    out_of_room(gate, done.stdout)
    disk.leave(None)
    assert judged(gate)["green"]


@pytest.mark.parametrize("short_of", [1, 2])
@pytest.mark.fault("the disk of `.compat/` is full when all tests have passed and the verdict is written", "error")
def test_disk_full_when_the_verdict_is_written(gate: Gate, disk: Disk, short_of: int) -> None:
    """The verdict and its summary take the last two pages."""
    gate.make("image")
    gate.make("samcli")
    before = disk.used()
    assert gate.script("compat.py").returncode == 0
    needed = disk.used() - before
    shutil.rmtree(gate.findings / "junit")
    for file in (
        gate.findings / "verdict.json",
        gate.findings / "summary.md",
        *gate.findings.glob("logs/suite-*"),
        *gate.findings.glob("logs/emulator-*"),
    ):
        file.unlink()
    assert disk.used() == before
    disk.leave(needed - short_of)
    done = gate.script("compat.py")
    assert done.returncode == 2, done.stdout
    out_of_room(gate, done.stdout)
    assert "5/5" in done.stdout
    disk.leave(None)
    assert judged(gate)["green"]


@pytest.mark.fault("the disk of `.compat/` has no room for image.tar", "error")
def test_disk_full_when_the_image_is_saved(gate: Gate, disk: Disk) -> None:
    gate.make("image")
    gate.make("samcli")
    disk.leave(300)
    done = gate.script("compat.py", COMPAT_SAVE_IMAGE="1")
    assert done.returncode == 2
    assert "no space left on device" in done.stdout
    assert "image.tar cannot be written" in done.stdout.splitlines()[-1]
    assert sorted(path.name for path in gate.findings.iterdir()) == ["candidate.json", "junit", "logs"]
    disk.leave(None)
    assert judged(gate)["green"]
