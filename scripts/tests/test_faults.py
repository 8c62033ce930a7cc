"""A run under load, interrupted, without its engine or its disk: never green by mistake, and nothing is left."""

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

import docker
import pytest

from gate import workspace
from gate.containers import cleanup, engine

from .conftest import Gate, Judged, Process, commit_all, copy_template, is_running, left_of_runs, missing, until

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("nothing_left")]

SOON = 60.0  # seconds in which a run that was interrupted, or has lost its engine, has ended; measured 2


@pytest.fixture
def hanging(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a hanging test notes that it hangs, and its processes."""
    monkeypatch.setitem(gate.settings, "UV_TEST_FOLDER", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_hangs.py tests/test_steps.py")
    gate.prepare()
    return tmp_path


def start(gate: Gate, folder: Path, *command: str) -> Process:
    """Start a run (default: compat.py) and wait until its test hangs."""
    process = gate.popen(*(command or (sys.executable, "scripts/compat.py")))
    until((folder / "hanging").exists, of=process)
    return process


def alive(folder: Path) -> list[int]:
    """Return which of the hanging test's processes run; a zombie does not."""
    pids = [int(line) for line in (folder / "sleepers").read_text().split()]
    assert len(pids) == 3
    status = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, stat in status if stat.exists() and ") Z " not in stat.read_text()]


def green_again(gate: Gate) -> None:
    found = gate.judged("tests/test_steps.py")
    assert found.green, found.reasons


def test_red_by_timeout_with_nothing_left_running(gate: Gate, hanging: Path) -> None:
    found = gate.judged("tests/test_hangs.py", COMPAT_TIMEOUT="10")
    log = found.reasons[0].rpartition("see ")[2]
    assert found.reasons == [
        "develop: shard hangs-1 did not end in time, it was in tests/test_hangs.py::test_hangs "
        f"(COMPAT_TIMEOUT is 10 s); see {log}",
        "develop: tests/test_hangs.py: no test passed (no results)",
        "develop: Only 0 tests passed; COMPAT_MIN_PASSED requires 1",
    ]
    assert Path(log).name in found.files
    assert alive(hanging) == []


# --- interrupted


@pytest.mark.parametrize(
    ("number", "times", "pause"),
    [(signal.SIGINT, 1, 0), (signal.SIGTERM, 5, 0.1), (signal.SIGHUP, 3, 0)],
    ids=["once", "again and again", "at once"],
)
def test_signal(gate: Gate, hanging: Path, number: signal.Signals, times: int, pause: float) -> None:
    process = start(gate, hanging)
    assert any(folder.exists() for folder in gate.scratch())
    for _ in range(times):
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.killpg(process.pid, number)
        time.sleep(pause)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 130, output
    assert output.splitlines()[-1] == "interrupted"
    assert "Traceback" not in output
    assert [folder for folder in gate.scratch() if folder.exists()] == []
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


@pytest.mark.parametrize("handler", ["SIG_DFL", "SIG_IGN"], ids=["terminal", "background job"])
def test_ctrl_c_of_make(gate: Gate, hanging: Path, handler: str) -> None:
    """A shell without job control starts a background job with SIGINT ignored."""
    set_up = f"import os, signal, sys; signal.signal(signal.SIGINT, signal.{handler}); os.execvp('make', sys.argv[1:])"
    process = start(gate, hanging, sys.executable, "-c", set_up, "make", "compat")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == (2 if handler == "SIG_IGN" else -signal.SIGINT), output
    assert "interrupted" in output.splitlines()
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the clean-up in this process notes its run."""
    monkeypatch.setattr(workspace, "RUN", tmp_path / "run.json")
    monkeypatch.setattr(workspace, "CACHE", tmp_path)
    return tmp_path / "run.json"


def test_signal_does_not_end_the_clean_up(
    docker_client: docker.DockerClient, other_image: str, apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = engine.remove_container

    def interrupted(client: docker.DockerClient, container: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        remove(client, container)

    def handler(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "remove_container", interrupted)
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(KeyboardInterrupt), cleanup.cleanup_on_exit(docker_client) as run:
            docker_client.containers.create(other_image, name=f"{workspace.PREFIX}{run}-steps-1")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleanup.left(docker_client, run) == []
    assert not apart.exists()


def test_container_that_the_engine_was_still_making_is_removed(
    docker_client: docker.DockerClient, other_image: str, apart: Path
) -> None:
    def interrupted(run: str) -> None:
        name = {"name": f"{workspace.PREFIX}{run}-steps-1"}
        late.append(threading.Timer(0.2, docker_client.containers.create, (other_image,), name))
        late[0].start()
        raise KeyboardInterrupt

    late: list[threading.Timer] = []
    with pytest.raises(KeyboardInterrupt), cleanup.cleanup_on_exit(docker_client) as run:
        interrupted(run)
    late[0].join()
    assert cleanup.left(docker_client, run) == []


# --- killed


def test_run_after_one_that_was_killed_removes_what_that_left(
    gate: Gate, docker_client: docker.DockerClient, hanging: Path
) -> None:
    process = start(gate, hanging)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SOON)
    assert not (gate.findings / "verdict.json").exists()
    left, volumes = set(left_of_runs(docker_client)), set(engine.volumes(docker_client))
    assert left & volumes, "the volume of the run, or this test shows nothing"
    assert left - volumes, "a container of the run, or this test shows nothing"
    green_again(gate)
    assert left_of_runs(docker_client) == []
    (unknown,) = alive(hanging)  # without our mark, and the run that was its last parent is gone
    os.kill(unknown, signal.SIGKILL)


def test_image_after_one_that_was_killed_removes_its_listing_of_packages(
    gate: Gate, docker_client: docker.DockerClient, emulator: Path, tmp_path: Path
) -> None:
    shutil.copytree(emulator, tmp_path / "slow")
    (tmp_path / "slow/pip").write_text("#!/bin/busybox sh\n/bin/busybox sleep 3600\n")
    (tmp_path / "slow/pip").chmod(0o755)
    with (tmp_path / "slow/Dockerfile").open("a") as dockerfile:
        dockerfile.write("COPY pip /bin/pip\n")

    def listings() -> set[str]:
        names = {name for each in docker_client.api.containers(all=True) for name in each["Names"] or []}
        return {name for name in names if name.endswith("-packages")}

    before = listings()
    process = gate.popen(sys.executable, "scripts/image.py", EMULATOR_SOURCE=str(tmp_path / "slow"))
    until(lambda: listings() - before, of=process)
    (mine,) = listings() - before
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SOON)
    assert mine in listings()
    assert gate.make("image").returncode == 0
    assert mine not in listings()


# --- two at a time


@pytest.fixture
def meeting(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which runs meet: the test of one goes on once another one has been there."""
    monkeypatch.setitem(gate.settings, "UV_TEST_FOLDER", str(tmp_path))
    monkeypatch.setitem(gate.settings, "SAMCLI_TESTS", "tests/test_meets.py tests/test_steps.py")
    gate.prepare()
    return tmp_path


@pytest.mark.parametrize("command", [("make", "compat"), (sys.executable, "scripts/compat.py")])
def test_second_run_in_one_clone_is_refused_at_once(gate: Gate, meeting: Path, command: tuple[str, ...]) -> None:
    first = gate.popen(sys.executable, "scripts/compat.py")
    until(lambda: list(meeting.glob("met-*")), of=first)
    began = time.monotonic()
    second = gate.run(*command, SAMCLI_REFS="HEAD", EMULATOR_TAG="pr-second")
    assert time.monotonic() - began < SOON / 2
    assert second.returncode == 2
    refused = "error: another run is working in this clone: wait for it, or use a second clone"
    assert refused in second.stdout.splitlines()
    (meeting / "met-second").touch()
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert gate.verdict()["green"]


def test_run_that_outlives_its_make_writes_a_true_verdict(gate: Gate, meeting: Path) -> None:
    process = gate.popen("make", "compat")
    until(lambda: list(meeting.glob("met-*")), of=process)
    process.kill()
    process.wait()
    (meeting / "met-second").touch()
    output, _ = process.communicate(timeout=SOON)  # all that writes there has ended
    assert output.splitlines()[-1] == "green: develop: 4 passed"
    verdict = gate.verdict()
    assert verdict["green"]
    assert [test["outcome"] for test in verdict["runs"][0]["tests"]] == ["passed"] * 4


def meet(one: Gate, other: Gate, folder: Path) -> list[Judged]:
    """Run the gates of two clones at once, with their emulators up at the same time, and return what they found."""
    processes = [gate.popen(sys.executable, "scripts/compat.py") for gate in (one, other)]
    outputs = [process.communicate()[0] for process in processes]
    found = []
    for gate, process, output in zip((one, other), processes, outputs, strict=True):
        result = gate.read(subprocess.CompletedProcess("", process.returncode, output), red=1)
        assert result.run["containers"] == {result.verdict["candidate"]["image_id"]: 2}, output
        assert len(result.tests) == 4
        found.append(result)
    met = {file.name: file.read_text().split() for file in folder.glob("met-*")}  # by port
    assert len(met) == 2
    for private in zip(*met.values(), strict=True):  # names of containers, worktrees
        assert len(set(private)) == 2, private
    return found


@pytest.fixture(scope="module")
def clone(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A second clone, with the settings of the first."""
    return Gate(copy_template(tmp_path_factory.mktemp("clone") / "template"), dict(gate.settings))


def test_two_clones_one_green_one_red(gate: Gate, clone: Gate, emulator: Path, meeting: Path) -> None:
    shutil.copytree(emulator, meeting / "broken")
    (meeting / "broken/health").write_text("broken\n")
    second = Gate(clone.root, gate.settings | {"EMULATOR_SOURCE": str(meeting / "broken")})
    second.prepare()
    good, bad = meet(gate, second, meeting)
    assert good.reasons == []
    assert bad.reasons == [
        "develop: 2 of 4 tests failed",
        "develop: tests/test_meets.py: no test passed (1 failed)",
        "develop: Only 2 tests passed; COMPAT_MIN_PASSED requires 3",
    ]
    assert good.verdict["candidate"]["image_id"] != bad.verdict["candidate"]["image_id"]


def test_two_clones_of_one_image(gate: Gate, clone: Gate, emulator: Path, meeting: Path) -> None:
    gates = []
    for copy, root in (("one", gate.root), ("other", clone.root)):
        if copy == "one":
            shutil.copytree(emulator, meeting / copy)
            commit_all(meeting / copy)
        else:
            shutil.copytree(meeting / "one", meeting / copy)
        gates.append(Gate(root, gate.settings | {"EMULATOR_SOURCE": str(meeting / copy)}))
        gates[-1].prepare()
    one, other = meet(gates[0], gates[1], meeting)
    assert (one.reasons, other.reasons) == ([], [])
    assert one.verdict["candidate"]["reference"] == other.verdict["candidate"]["reference"]


def test_copy_of_a_clone_does_not_end_the_run_of_the_first(gate: Gate, clone: Gate, hanging: Path) -> None:
    clone.prepare()
    process = start(gate, hanging)
    shutil.copy(gate.root / ".cache/run.json", clone.root / ".cache")
    green_again(clone)
    assert len(alive(hanging)) == 3
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SOON)
    assert output.splitlines()[-1] == "interrupted"


# --- without the engine


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


def test_engine_that_stops_while_the_image_is_built(gate: Gate, emulator: Path, way: Way, tmp_path: Path) -> None:
    shutil.copytree(emulator, tmp_path / "slow")
    with (tmp_path / "slow/Dockerfile").open("a") as dockerfile:
        dockerfile.write(f'RUN ["/bin/busybox", "sleep", "30.{os.getpid()}"]\n')
    settings = {"EMULATOR_SOURCE": str(tmp_path / "slow"), "DOCKER_HOST": way.address}
    process = gate.popen(sys.executable, "scripts/image.py", **settings)
    until(lambda: is_running(f"sleep 30.{os.getpid()}"), of=process)
    way.cut()
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 2, output
    assert output.splitlines()[-1].startswith("error: docker build failed in "), output
    assert "Traceback" not in output


def test_engine_that_stops_while_the_suite_runs(
    gate: Gate, hanging: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gate.settings, "DOCKER_HOST", way.address)
    process = start(gate, hanging)
    way.cut()
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 2, output
    assert re.search(r"^error: Lost the Docker event stream \(.*\): restart the engine and", output.splitlines()[-1])
    assert "Traceback" not in output
    assert not (gate.findings / "verdict.json").exists()
    assert alive(hanging) == []
    monkeypatch.delitem(gate.settings, "DOCKER_HOST")
    green_again(gate)


# --- without room on the disk


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
    if sudo and not shutil.which("sudo"):
        missing("no disk can be mounted: this is not root, and there is no sudo")
    options = f"size=16m,uid={os.getuid()},gid={os.getgid()},mode=0755"
    done = subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", at], capture_output=True, text=True)
    if done.returncode:
        missing(f"no disk can be mounted: {done.stderr}")
    yield Disk(at)
    subprocess.run([*sudo, "umount", "--lazy", at], check=True)


def no_room(gate: Gate, done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 2, done.stdout
    assert re.search(r"^error: .*No space left on .*; free some and run again$", done.stdout.splitlines()[-1]), (
        done.stdout
    )
    assert "Traceback" not in done.stdout
    assert list((gate.root / ".compat").glob("*/verdict*")) == []
    assert list((gate.root / ".compat").glob("*/summary*")) == []


@pytest.mark.parametrize("pages", [0, 2])
def test_disk_full_from_the_start(gate: Gate, disk: Disk, pages: int) -> None:
    disk.leave(pages)
    no_room(gate, gate.script("image.py"))
    disk.leave(None)
    assert gate.script("image.py").returncode == 0
    assert (disk.at / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("pages", [0, 4])
def test_disk_full_while_the_suite_runs(gate: Gate, disk: Disk, pages: int) -> None:
    gate.prepare()
    disk.leave(pages)
    no_room(gate, gate.script("compat.py"))
    disk.leave(None)
    green_again(gate)


def test_disk_full_when_the_verdict_is_written(gate: Gate, disk: Disk) -> None:
    """The verdict and its summary take the last pages."""
    gate.prepare()
    before = disk.used()
    green_again(gate)
    needed = disk.used() - before
    for short_of in (1, 2):
        shutil.rmtree(gate.findings / "junit")
        kinds = ("verdict.json", "summary.md", "logs/suite-*", "logs/emulator-*")
        for file in (file for kind in kinds for file in gate.findings.glob(kind)):
            file.unlink()
        assert disk.used() == before
        disk.leave(needed - short_of)
        done = gate.script("compat.py", SAMCLI_TESTS="tests/test_steps.py")
        no_room(gate, done)
        assert "[3/3]" in done.stdout
        disk.leave(None)


def test_disk_full_when_the_image_is_saved(gate: Gate, disk: Disk) -> None:
    disk.leave(300)
    done = gate.script("image.py", COMPAT_SAVE_IMAGE="1")
    assert done.returncode == 2
    assert "no space left on device" in done.stdout
    assert "image.tar cannot be written" in done.stdout.splitlines()[-1]
    assert list(gate.findings.glob("image.*")) == []
    disk.leave(None)
    assert gate.script("image.py").returncode == 0  # which removes the tag of what was built
