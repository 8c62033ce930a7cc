"""The fixtures: a copy of the template, a small emulator and consumer, an engine, a registry."""

import contextlib
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, DockerException

from gate import engine
from gate.programs import GateError

from .support.emulator import REPOSITORY, build, untag, write_emulator
from .support.engine_proxy import EngineProxy
from .support.gate import (
    COPIES,
    IGNORED,
    STARTED,
    Gate,
    copy_template,
    left_of_runs,
)
from .support.git import commit_all
from .support.machine import missing
from .support.registry import Registry, running_registry

collect_ignore = ["consumer"]
CONSUMER = Path(__file__).parent / "consumer"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: several processes share the modules."""
    for mark in ("engine", "replay"):
        items.sort(key=lambda item: item.get_closest_marker(mark) is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skips once."""
    skipped = terminalreporter.getreports("skipped")
    for reason, number in Counter(
        report.longrepr[2] for report in skipped
    ).items():
        terminalreporter.write_line(
            f"SKIPPED [{number}] {reason.removeprefix('Skipped: ')}"
        )


# --- the machine


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.DockerClient]:
    """A client of the engine; what the tests and their copies tagged is removed at the end."""
    try:
        client = engine.connect()
    except (GateError, DockerException) as error:
        missing(f"no engine: {error}")
    yield client
    for repository in (REPOSITORY, *(Gate(root, {}).clone for root in COPIES)):
        untag(client, repository)


@pytest.fixture(scope="session")
def busybox() -> Path:
    """A busybox that runs in an empty image: Debian's busybox-static."""
    program = shutil.which("busybox")
    if not program or re.search(
        rb"/ld-(linux|musl)", Path(program).read_bytes()
    ):
        missing("no static busybox: install busybox-static")
    return Path(program)


@pytest.fixture
def engine_proxy(
    docker_client: docker.DockerClient, tmp_path: Path
) -> Iterator[EngineProxy]:
    """A proxy in front of the engine."""
    proxy = EngineProxy(tmp_path / "engine")
    yield proxy
    proxy.cut()


@pytest.fixture
def local_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on loopback."""
    with running_registry(tmp_path) as registry:
        yield registry


@pytest.fixture
def terminal() -> Iterator[None]:
    """What a test starts can be hung up, also where the tests themselves run under nohup.

    A program inherits which signals are ignored, and not which are handled.
    """
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def nothing_running() -> Iterator[None]:
    """A run that a failed test has left does not disturb another test."""
    STARTED.clear()
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def nothing_left(
    docker_client: docker.DockerClient, nothing_running: None
) -> Iterator[None]:
    """No container and no volume of a run outlives a test, or fails another one."""
    yield
    left = left_of_runs(docker_client)
    for name in left:
        engine.remove_container(docker_client, name)
        with contextlib.suppress(APIError):  # it is a container
            docker_client.api.remove_volume(name)
    assert left == []


# --- the gate and what it gates


@pytest.fixture
def template(tmp_path: Path) -> Gate:
    """A fresh copy with every default."""
    return Gate(copy_template(tmp_path / "template"), {})


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    """The folder of the emulator's source."""
    return write_emulator(tmp_path_factory.mktemp("emulator"), busybox)


@pytest.fixture(scope="session")
def other_image(
    docker_client: docker.DockerClient,
    emulator: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Another image of the emulator's repository."""
    folder = tmp_path_factory.mktemp("other") / "emulator"
    shutil.copytree(emulator, folder)
    (folder / "health").write_text("another one\n")
    return build(folder, "other")


@pytest.fixture(scope="session")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository that uses the emulator's image as aws-sam-cli does."""
    folder = tmp_path_factory.mktemp("consumer")
    shutil.copytree(CONSUMER, folder, dirs_exist_ok=True, ignore=IGNORED)
    (folder / "tests/repository.py").write_text(
        f"REPOSITORY = {REPOSITORY!r}\n"
    )
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def gate(
    tmp_path_factory: pytest.TempPathFactory,
    docker_client: docker.DockerClient,
    emulator: Path,
    consumer: Path,
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
    root = copy_template(tmp_path_factory.mktemp("gate") / "template")
    # What only a run names must exist; what is committed may have been moved by aws-sam-cli.
    example = root / ".env.example"
    committed = f"{settings['SAMCLI_TESTS']} tests/test_moved.py"
    text = example.read_text()
    example.write_text(
        re.sub("(?m)^SAMCLI_TESTS=.*", f"SAMCLI_TESTS={committed}", text)
    )
    return Gate(root, settings)
