"""A copy of the template, a small emulator and a small consumer, all made at test time."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
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

from gate import engine, registry
from gate.cli import GateError
from gate.settings import KNOWN
from gate.workspace import ROOT

pytest_plugins = ["pytester"]
collect_ignore = ["consumer"]
MAKEFILES = "\n".join(
    (ROOT / name).read_text() for name in ("Makefile", "scripts/tools/template.mk")
)
CONSUMER = Path(__file__).parent / "consumer"
REPOSITORY = f"compat.example/durable/emulator-{os.getpid()}"  # two test runs may share an engine
OTHERS = REPOSITORY.rpartition("/")[2]  # begins the names of containers that are not the gate's
IGNORED = shutil.ignore_patterns("__pycache__", ".*_cache")
PATIENCE = 300.0  # seconds; a run that takes longer hangs, on any machine
STARTED: "list[subprocess.Popen[str]]" = []  # by the current test
COPIES: list[Path] = []  # of the template
# The route that the consumer asks for. An empty file `health` means that the image lost it.
HEALTH = """#!/bin/busybox sh
status=404
[ -s /health ] && status=200
echo "- - - [-] \\"$REQUEST_METHOD $REQUEST_URI HTTP/1.1\\" $status -" >&2
printf 'Status: %s -\\r\\n\\r\\n' $status
/bin/busybox cat /health
"""


def git(*arguments: str, cwd: Path) -> str:
    """Run git as some committer, without the user's configuration; return its stdout."""
    environ = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", *arguments]
    return subprocess.check_output(command, cwd=cwd, env=environ, text=True).strip()


def commit_all(folder: Path, message: str = "all") -> str:
    """Commit what is in a folder, made a repository if it is none, and return the commit."""
    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch=develop", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)


def commit_settings(gate: "Gate", **settings: str) -> None:
    """Write settings into a copy's .env.example and commit all of it, as an adopter does."""
    example = gate.root / ".env.example"
    text = example.read_text()
    for name, value in settings.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    example.write_text(text)
    (gate.root / ".gitignore").write_text("/.cache/\n/.compat/\n")
    commit_all(gate.root)


def output_of(process: "subprocess.Popen[str]", patience: float = PATIENCE) -> str:
    """Return what a run printed. One that does not end is killed and fails its test."""
    try:
        return process.communicate(timeout=patience)[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def until(condition: Callable[[], object], *, of: "subprocess.Popen[str]") -> None:
    """Wait until a condition holds, of a run that is going on."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert of.poll() is None, of.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ends(words: str) -> None:
    """Wait until no process has these words in its command line: one may just have been killed."""
    deadline, running = time.monotonic() + 10, True
    while running:
        assert time.monotonic() < deadline, f"{words} still runs"
        time.sleep(0.05)
        running = False
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                running = running or words in cmdline.read_text().replace("\0", " ")


@dataclass
class Judged:
    """What a run printed, and its verdict."""

    output: str = field(repr=False)
    verdict: dict[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        """Take the run of the first aws-sam-cli, and its tests by id without `tests/`."""
        self.green: bool = self.verdict["green"]
        self.reasons: list[str] = self.verdict["reasons"]
        self.run: dict[str, Any] = self.verdict["runs"][0]
        self.tests = {test["id"].removeprefix("tests/"): test for test in self.run["tests"]}


@dataclass
class Gate:
    """A copy of the template with settings of its own, driven as a user would."""

    root: Path
    settings: dict[str, str]
    made: bytes = b""

    def environ(self, **settings: str) -> dict[str, str]:
        """Return this process's environment without what make, a job or a user set in it."""
        others = ("GITHUB_", "MAKE", "MFLAGS", "PYTHONDONTWRITEBYTECODE")
        own = {name for name in os.environ if name in KNOWN or name.startswith(others)}
        inherited = {name: value for name, value in os.environ.items() if name not in own}
        return inherited | self.settings | settings

    def make(self, target: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a make target with settings from the environment; .stdout has stderr too."""
        return self.run("make", target, **settings)

    def script(self, name: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a script by itself: make makes its exit code 1 a 2."""
        return self.run(sys.executable, f"scripts/{name}", **settings)

    def run(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        with self.popen(*command, **settings) as process:
            output = output_of(process)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def popen(self, *command: str, **settings: str) -> "subprocess.Popen[str]":
        options: dict[str, Any] = {"cwd": self.root, "env": self.environ(**settings), "text": True}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        STARTED.append(subprocess.Popen(command, start_new_session=True, **options))
        return STARTED[-1]

    @property
    def findings(self) -> Path:
        (folder,) = [path for path in (self.root / ".compat").iterdir() if path.is_dir()]
        return folder

    @property
    def clone(self) -> str:
        """What begins the names of all that this copy makes, outside of it too."""
        place = f"{platform.node()}:{self.root}"
        return f"sam-compat-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    def worktrees(self) -> list[Path]:
        """Return the folders of worktrees that are there."""
        places = (Path("/dev/shm"), self.root / ".cache")
        return [folder for place in places for folder in place.glob(f"{self.clone}-*")]

    def verdict(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.findings / "verdict.json").read_text())
        return value

    def prepare(self) -> None:
        """Make the candidate and install aws-sam-cli by this gate's settings, if not yet done."""
        found = next(self.root.glob(".compat/*/candidate.json"), None)
        if not found or found.read_bytes() != self.made:
            for target in ("image", "samcli"):
                done = self.make(target)
                assert done.returncode == 0, done.stdout
            self.made = next(self.root.glob(".compat/*/candidate.json")).read_bytes()

    def judged(self, tests: str, **settings: str) -> Judged:
        """Run compat.py alone; its exit code, its last line and the verdict must agree."""
        self.prepare()
        return self.read(self.script("compat.py", SAMCLI_TESTS=tests, **settings), red=1)

    def compat(self, tests: str, **settings: str) -> Judged:
        """Run `make compat`; its exit code, its last line and the verdict must agree."""
        return self.read(self.make("compat", SAMCLI_TESTS=tests, **settings), red=2)

    def read(self, done: "subprocess.CompletedProcess[str]", *, red: int) -> Judged:
        """Return what a run found; `red` is its exit code if that is red."""
        assert self.worktrees() == []
        assert "Traceback" not in done.stdout, done.stdout
        assert list(self.root.glob(".compat/*/verdict.json")), done.stdout
        verdict = self.verdict()
        assert done.returncode == (0 if verdict["green"] else red), done.stdout
        last = [line for line in done.stdout.splitlines() if not line.startswith("make")][-1]
        assert last.startswith("green: " if verdict["green"] else "red: "), done.stdout
        assert verdict["green"] == (verdict["reasons"] == [])
        for reason in verdict["reasons"]:
            assert reason in done.stdout
        return Judged(done.stdout, verdict)


def copy_template(root: Path) -> Path:
    """Copy what a user copies. File times are kept, so that this test run's venv serves it too."""
    (root / ".cache").mkdir(parents=True)
    (root / ".cache/venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=IGNORED)
    for name in ("Makefile", ".env.example", ".gitignore"):
        shutil.copy2(ROOT / name, root / name)
    COPIES.append(root)
    return root


@pytest.fixture
def template(tmp_path: Path) -> Gate:
    """A fresh copy with every default."""
    return Gate(copy_template(tmp_path / "template"), {})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: several processes share the modules."""
    for mark in ("engine", "replay"):
        items.sort(key=lambda item: item.get_closest_marker(mark) is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skips once."""
    skipped = terminalreporter.getreports("skipped")
    for reason, number in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.write_line(f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}")


def missing(reason: str) -> None:
    """Skip, or fail with REQUIRE_ENGINE=1."""
    if os.environ.get("REQUIRE_ENGINE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.DockerClient]:
    try:
        client = engine.connect()
    except (GateError, DockerException) as error:
        missing(f"no engine: {error}")
    yield client
    untag(client, REPOSITORY)


@pytest.fixture(scope="session")
def busybox() -> Path:
    """A busybox that runs in an empty image: Debian's busybox-static."""
    found = shutil.which("busybox")
    if not found or re.search(rb"/ld-(linux|musl)", Path(found).read_bytes()):
        missing("no static busybox: install busybox-static")
    return Path(str(found))


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    """The folder of an emulator: an image that answers on the port it is started with."""
    folder = tmp_path_factory.mktemp("emulator")
    shutil.copy2(busybox, folder / "busybox")
    (folder / "health").write_text("ok\n")
    (folder / "answer").write_text(HEALTH)
    (folder / "answer").chmod(0o755)
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nLABEL tests={REPOSITORY}\n"  # no id is that of another test run's image
        "COPY busybox /bin/busybox\n"
        "COPY answer /www/cgi-bin/health\n"
        "COPY health /health\n"
        'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www", "-p"]\n'
        'CMD ["9014"]\n'
    )
    return folder


@pytest.fixture(scope="session")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository that uses the emulator's image as sam-cli does."""
    folder = tmp_path_factory.mktemp("consumer")
    shutil.copytree(CONSUMER, folder, dirs_exist_ok=True, ignore=IGNORED)
    (folder / "tests/repository.py").write_text(f"REPOSITORY = {REPOSITORY!r}\n")
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def gate(
    tmp_path_factory: pytest.TempPathFactory, docker_client: Any, emulator: Path, consumer: Path
) -> Gate:
    """A copy set up for the small emulator and consumer; green with these settings."""
    settings = {
        "EMULATOR_SOURCE": str(emulator),
        "EMULATOR_PREBUILD": "",
        "EMULATOR_REPOSITORY": REPOSITORY,
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_TESTS": "tests/test_steps.py tests/test_callbacks.py",
        "COMPAT_MIN_PASSED": "1",
        "COMPAT_JOBS": "2",
        "COMPAT_BASELINE": "",
    }
    return Gate(copy_template(tmp_path_factory.mktemp("gate") / "template"), settings)


def untag(client: docker.DockerClient, repository: str) -> None:
    """Remove a repository's images by tag: another test run's may be the same image."""
    for image in client.images.list():
        for tag in image.tags:
            if tag.startswith(f"{repository}:"):
                with contextlib.suppress(APIError):  # a container of a failed test uses it
                    client.images.remove(tag, force=True)


@pytest.fixture(scope="session")
def other_image(
    docker_client: docker.DockerClient, emulator: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Another image of the emulator's repository."""
    folder = tmp_path_factory.mktemp("other") / "emulator"
    shutil.copytree(emulator, folder)
    (folder / "health").write_text("another one\n")
    return build(folder, "other")


def build(folder: Path, tag: str) -> str:
    """Build an image of the emulator's repository and return its name."""
    reference = f"{REPOSITORY}:{tag}"
    subprocess.run(["docker", "build", "--quiet", "--tag", reference, str(folder)], check=True)
    return reference


def shim(folder: Path, when: str, action: str) -> str:
    """Return a PATH on which a docker that is called with `when` takes an action first."""
    real = shlex.quote(str(shutil.which("docker")))
    (folder / "bin").mkdir()
    script = folder / "bin/docker"
    script.write_text(f'#!/bin/sh\ncase "$*" in *"{when}"*) {action};; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    return f"{folder}/bin{os.pathsep}{os.environ['PATH']}"


class Way:
    """A way to the engine that changes the containers that are asked for, and can be cut."""

    def __init__(self, at: Path) -> None:
        host = engine.environment()["DOCKER_HOST"]
        if not host.startswith("unix://"):
            missing(f"the engine is not at a socket of this machine: {host}")
        self.to, self.address = host.removeprefix("unix://"), f"unix://{at}"
        self.change: Callable[[dict[str, Any]], None] = lambda container: None
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
                    threading.Thread(target=self.hand_on, args=pair, daemon=True).start()

    def hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if re.match(rb"POST \S*/containers/create", data):
                    data = self.changed(data, source)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def changed(self, data: bytes, source: socket.socket) -> bytes:
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.compile(rb"(content-length: *)(\d+)", re.IGNORECASE)
        (whole,) = (int(number) for _, number in length.findall(head))
        while len(body) < whole:
            body += source.recv(65536)
        container = json.loads(body)
        self.change(container)
        body = json.dumps(container).encode()
        return length.sub(rb"\g<1>%d" % len(body), head) + b"\r\n\r\n" + body

    def cut(self) -> None:
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def way(docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[Way]:
    found = Way(tmp_path / "engine")
    yield found
    found.cut()


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = {"filesystem": {"rootdirectory": f"{tmp_path}/registry"}, "delete": {"enabled": True}}
    config = {"version": 0.1, "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}}
    (tmp_path / "registry.yml").write_text(json.dumps(config))
    with (tmp_path / "registry.log").open("wb") as log:
        command = [str(program), "serve", str(tmp_path / "registry.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while True:
            assert process.poll() is None, (tmp_path / "registry.log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"http://localhost:{port}/v2/", timeout=5).raise_for_status()
                break
            time.sleep(0.05)
        yield Registry(f"localhost:{port}", process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def nothing_running() -> Iterator[None]:
    """A run that a failed test has left does not disturb another test."""
    STARTED.clear()
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def left_of_runs(client: docker.DockerClient) -> list[str]:
    """Return the names of containers and volumes that these tests' runs have left."""
    prefixes = (*(f"{Gate(root, {}).clone}-" for root in COPIES), f"{OTHERS}-")
    containers = client.api.containers(all=True)
    names = [name.lstrip("/") for each in containers for name in each["Names"] or []]
    names += [volume["Name"] for volume in client.api.volumes()["Volumes"] or []]
    return [name for name in names if name.startswith(prefixes)]


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
