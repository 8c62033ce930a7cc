"""A copy of the template, a small emulator and a small consumer, all made at test time."""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import APIError, DockerException

from gate.cli import GateError
from gate.containers import engine, registry
from gate.settings import KNOWN
from gate.workspace import ROOT

pytest_plugins = ["pytester"]
collect_ignore = ["consumer", "replay/consumer"]
CONSUMER = Path(__file__).parent / "consumer"
REPOSITORY = f"compat.example/durable/emulator-{os.getpid()}"  # two test runs may share an engine
TEMPLATE = ("Makefile", ".env.example", "scripts")
RUNS = Path(tempfile.gettempdir(), f"compat-runs-{os.getpid()}")  # the consumer notes its containers' names there


def git(*arguments: str, cwd: Path) -> str:
    """Run git as a committer whom no machine's configuration can disturb; return its stdout."""
    own = {f"GIT_{role}_{part}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environ = os.environ | own | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_all(folder: Path, message: str = "all") -> str:
    """Commit whatever lies in a folder, made a repository if it is none, and return the commit."""
    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch=develop", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


PATIENCE = 900.0  # seconds; a run that takes longer hangs, on any machine
STARTED: list["Process"] = []  # by the current test


class Process(subprocess.Popen[str]):
    """A run of the gate. One that does not end is killed, with what it printed, so that it fails its own test only."""

    def communicate(self, input: str | None = None, timeout: float | None = PATIENCE) -> tuple[str, str]:
        try:
            return super().communicate(input, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"it did not end within {timeout} s: {super().communicate()[0]}") from None


def is_running(words: str) -> bool:
    """Return whether a process has these words in its command line; a bare machine has neither ps nor pgrep."""
    if not Path("/proc/self").exists():  # macOS
        return words in subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if words.encode() in cmdline.read_bytes().replace(b"\0", b" "):
                return True
    return False


def ends(words: str) -> None:
    """Wait for the process with these words: one that was killed may be there for a moment."""
    deadline = time.monotonic() + 10
    while is_running(words):
        assert time.monotonic() < deadline, f"{words} still runs"
        time.sleep(0.05)


def until(condition: Callable[[], object], *, of: "subprocess.Popen[str]") -> None:
    """Wait until a condition holds, of a run that is going on."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert of.poll() is None, of.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def commit_settings(gate: "Gate", **settings: str) -> None:
    """Write settings into a copy's .env.example, as one that adopts the gate does, and commit all of it."""
    example = gate.root / ".env.example"
    text = example.read_text()
    for name, value in settings.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    example.write_text(text)
    (gate.root / ".gitignore").write_text("/.cache/\n/.compat/\n")
    commit_all(gate.root)


@dataclass
class Judged:
    """What a run printed, its verdict, and the text of every file that it left, by name."""

    output: str = field(repr=False)
    verdict: dict[str, Any] = field(repr=False)
    files: dict[str, str] = field(repr=False)

    @property
    def green(self) -> bool:
        return bool(self.verdict["green"])

    @property
    def reasons(self) -> list[str]:
        return list(self.verdict["reasons"])

    @property
    def run(self) -> dict[str, Any]:
        """The run of the first aws-sam-cli."""
        return dict(self.verdict["runs"][0])

    @property
    def tests(self) -> dict[str, dict[str, Any]]:
        """The first run's tests, by id without the folder `tests/`."""
        return {test["id"].removeprefix("tests/"): test for test in self.run["tests"]}

    def outcomes(self) -> dict[str, str]:
        return {test: about["outcome"] for test, about in self.tests.items()}


@dataclass
class Gate:
    """A copy of the template with settings of its own, driven as a user would."""

    root: Path
    settings: dict[str, str]
    made: dict[str, bytes] = field(default_factory=dict, repr=False)

    def environ(self, **settings: str) -> dict[str, str]:
        # Of the make and the Actions job that run these tests: what they were given must not reach a copy, and a copy
        # must not write into that job's summary and outputs.
        others = ("GITHUB_", "MAKE", "MFLAGS", "PYTHONDONTWRITEBYTECODE", "CALLER_PWD", "BUILT_DIGESTS")
        own = {name for name in os.environ if name in KNOWN or name.startswith(others)}
        inherited = {name: value for name, value in os.environ.items() if name not in own}
        return inherited | {"UV_TEST_RUNS": str(RUNS)} | self.settings | settings

    def make(self, target: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a make target with settings from the environment, its output in .stdout, stderr included."""
        return self.run("make", target, **settings)

    def script(self, name: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a script by itself: its exit codes are 0, 1, 2 and 130, where make knows only 0 and 2."""
        return self.run(sys.executable, f"scripts/{name}", **settings)

    def run(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        with self.popen(*command, **settings) as process:
            try:
                output, _ = process.communicate()
            except BaseException:  # Ctrl-C of the tests themselves
                process.terminate()
                raise
        return subprocess.CompletedProcess(command, process.returncode, output)

    def popen(self, *command: str, **settings: str) -> "Process":
        process = Process(
            command, cwd=self.root, env=self.environ(**settings), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
        )  # fmt: skip
        STARTED.append(process)
        return process

    @property
    def findings(self) -> Path:
        (folder,) = [path for path in (self.root / ".compat").iterdir() if path.is_dir()]
        return folder

    def verdict(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.findings / "verdict.json").read_text())
        return value

    def prepare(self) -> None:
        """Make the candidate and install aws-sam-cli by this gate's own settings, unless they are what is there."""
        for target, there in (("image", ".compat/*/candidate.json"), ("samcli", ".cache/samcli.json")):
            found = next(self.root.glob(there), None)
            if not found or found.read_bytes() != self.made.get(target):
                done = self.make(target)
                assert done.returncode == 0, done.stdout
                self.made[target] = next(self.root.glob(there)).read_bytes()

    def scratch(self) -> list[Path]:
        """Return the folders in which a run may work."""
        return [
            Path("/dev/shm", f"sam-compat-{hashlib.sha256(bytes(self.root)).hexdigest()[:8]}"),
            self.root / ".cache/scratch",
        ]

    def judged(self, tests: str = "", **settings: str) -> Judged:
        """Run compat.py alone; its exit code, its last line and the verdict must agree."""
        self.prepare()
        return self.read(self.script("compat.py", **_of(tests, settings)), red=1)

    def compat(self, tests: str = "", **settings: str) -> Judged:
        """Run `make compat`: image, samcli and compat. Its exit code, its last line and the verdict must agree."""
        return self.read(self.make("compat", **_of(tests, settings)), red=2)

    def read(self, done: "subprocess.CompletedProcess[str]", *, red: int) -> Judged:
        """Return what a run found; `red` is its exit code if that is red. None of its folders is left."""
        assert [folder for folder in self.scratch() if folder.exists()] == []
        assert "Traceback" not in done.stdout, done.stdout
        assert list(self.root.glob(".compat/*/verdict.json")), done.stdout
        verdict = self.verdict()
        assert done.returncode == (0 if verdict["green"] else red), done.stdout
        last = [line for line in done.stdout.splitlines() if not line.startswith("make")][-1]
        assert last.startswith("green: " if verdict["green"] else "red: "), done.stdout
        assert verdict["green"] == (verdict["reasons"] == [])
        for reason in verdict["reasons"]:
            assert reason in done.stdout
        files = [path for path in self.findings.rglob("*") if path.is_file() and path.suffix != ".tar"]
        return Judged(done.stdout, verdict, {path.name: path.read_text(errors="replace") for path in files})


def _of(tests: str, settings: dict[str, str]) -> dict[str, str]:
    return ({"SAMCLI_TESTS": tests, "COMPAT_MIN_PASSED": "1"} if tests else {}) | settings


def copy_template(root: Path) -> Path:
    """Copy what a user copies; file times are kept, so that the venv of this test run, by a link, serves the copy."""
    (root / ".cache").mkdir(parents=True)
    (root / ".cache/.gitignore").write_text("*\n")
    (root / ".cache/venv").symlink_to(sys.prefix)
    for name in TEMPLATE:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, root / name)
    return root


@pytest.fixture
def template(tmp_path: Path) -> Gate:
    """A fresh copy with every default."""
    return Gate(copy_template(tmp_path / "template"), {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skips once."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.getreports("skipped"))
    for reason, number in reasons.items():
        terminalreporter.write_line(f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.DockerClient]:
    """The engine, or a skip with the reason; with COMPAT_REQUIRE_ENGINE=1 a failure."""
    try:
        yield engine.connect()
    except (GateError, DockerException) as error:
        missing(f"no engine: {error}")


def missing(reason: str) -> None:
    if os.environ.get("COMPAT_REQUIRE_ENGINE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def busybox() -> Path:
    """A busybox that runs in an empty image: Debian's busybox-static."""
    found = Path(shutil.which("busybox") or "busybox")
    if not found.is_file() or b"/ld-linux" in (content := found.read_bytes()) or b"/ld-musl" in content:
        missing("no static busybox: install busybox-static")
    return found


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    """The folder of an emulator: an image from scratch whose httpd answers on the port it is started with."""
    folder = tmp_path_factory.mktemp("emulator")
    shutil.copy2(busybox, folder / "busybox")
    (folder / "health").write_text("ok\n")
    (folder / "Dockerfile").write_text(
        "FROM scratch\n"
        "COPY busybox /bin/busybox\n"
        "COPY health /www/health\n"
        'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www", "-p"]\n'
        'CMD ["9014"]\n'
    )
    return folder


@pytest.fixture(scope="session")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository that uses the emulator's image as sam-cli does."""
    folder = tmp_path_factory.mktemp("consumer")
    shutil.copytree(CONSUMER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests/repository.py").write_text(f"REPOSITORY = {REPOSITORY!r}\n")
    outside = tmp_path_factory.mktemp("outside") / "test_outside.py"
    outside.write_text("def test_outside(health):\n    assert health\n")
    (folder / "tests/test_outside.py").symlink_to(outside)
    (folder / "tests/test_again.py").symlink_to("test_steps.py")
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def gate(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient, emulator: Path, consumer: Path
) -> Iterator[Gate]:
    """A copy of the template set up for the small emulator and the small consumer; green with these settings."""
    settings = {
        "EMULATOR_SOURCE": str(emulator),
        "EMULATOR_PREBUILD": "",
        "EMULATOR_REPOSITORY": REPOSITORY,
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_TESTS": "tests/test_steps.py tests/test_callbacks.py",
        "COMPAT_MIN_PASSED": "3",
        "COMPAT_JOBS": "2",
        "COMPAT_BASELINE": "",
    }
    yield Gate(copy_template(tmp_path_factory.mktemp("gate") / "template"), settings)
    untag(docker_client, REPOSITORY)
    RUNS.unlink(missing_ok=True)


def untag(client: docker.DockerClient, repository: str) -> None:
    """Remove the images of a repository. By tag, since another test run's may be the same image."""
    for tag in {tag for image in client.images.list() for tag in image.tags if tag.startswith(f"{repository}:")}:
        with contextlib.suppress(APIError):  # a test that failed may have left a container of it
            client.images.remove(tag, force=True)


@pytest.fixture
def other_image(docker_client: docker.DockerClient, emulator: Path, tmp_path: Path) -> Iterator[str]:
    """Another image of the emulator's repository."""
    shutil.copytree(emulator, tmp_path / "other")
    (tmp_path / "other" / "health").write_text("another one\n")
    reference = f"{REPOSITORY}:other"
    subprocess.run(["docker", "build", "--quiet", "--tag", reference, str(tmp_path / "other")], check=True)
    yield reference
    docker_client.images.remove(reference, force=True)


def shim(folder: Path, when: str, action: str) -> str:
    """Return a PATH on which a docker that is called with `when` takes an action first."""
    real = shutil.which("docker")
    (folder / "bin").mkdir()
    script = folder / "bin/docker"
    script.write_text(f'#!/bin/sh\ncase "$*" in *"{when}"*) {action};; esac\nexec {shlex.quote(str(real))} "$@"\n')
    script.chmod(0o755)
    return f"{folder}/bin{os.pathsep}{os.environ['PATH']}"


@dataclass
class Registry:
    address: str
    process: "subprocess.Popen[bytes]"

    @property
    def repository(self) -> str:
        return f"{self.address}/durable/emulator"

    def holds(self, tag: str) -> registry.Manifest | None:
        return registry.inspect(f"{self.repository}:{tag}")


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry."""
    program = shutil.which("docker-registry")
    if not program:
        missing("no registry program: install docker-registry")
    if subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode:
        missing("no buildx: install its docker plugin")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    (tmp_path / "registry.yml").write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {json.dumps(f'{tmp_path}/registry')}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: 127.0.0.1:{address.partition(':')[2]}}}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen([str(program), "serve", str(tmp_path / "registry.yml")], stdout=log, stderr=log)
    try:
        while True:
            assert process.poll() is None, (tmp_path / "registry.log").read_text()
            try:
                requests.get(f"http://{address}/v2/", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                continue
        yield Registry(address, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def nothing_running() -> Iterator[None]:
    """A run that a failed test has left is no other test's."""
    STARTED.clear()
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def left_of_runs(client: docker.DockerClient) -> list[str]:
    """Return the names of the containers and volumes that are there of the runs that these tests started."""
    noted = RUNS.read_text() if RUNS.exists() else ""
    runs = set(re.findall(r"^(sam-compat-[0-9a-f]{8})-", noted, re.MULTILINE))
    prefixes = (*(f"{run}-" for run in runs), f"{REPOSITORY.rpartition('/')[2]}-")  # the consumer's other names
    containers = [name.lstrip("/") for each in client.api.containers(all=True) for name in each["Names"] or []]
    return [name for name in [*containers, *engine.volumes(client)] if name.startswith(prefixes)]


@pytest.fixture
def nothing_left(docker_client: docker.DockerClient, nothing_running: None) -> Iterator[None]:
    """No container and no volume of a run outlives a test, or fails another one."""
    yield
    left = left_of_runs(docker_client)
    for name in left:
        engine.remove_container(docker_client, name)
        with contextlib.suppress(APIError):  # it is a container
            docker_client.api.remove_volume(name)
    assert left == []
