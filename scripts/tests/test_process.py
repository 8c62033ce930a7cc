"""A shard's pytest process: its environment, its port, what its plugin reports, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate import workspace
from gate.cli import GateError
from gate.suite import environment, process, runner
from gate.suite.process import Ending, Process
from gate.suite.shards import Part
from gate.workspace import PLUGIN, ROOT

SCRIPTS = str(ROOT / "scripts")
PORTS = f"""
import sys
sys.path.insert(0, {SCRIPTS!r})
from gate.suite import environment
print(*(environment.free_port() for _ in range(400)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "worktree").mkdir()
    return tmp_path / "worktree"


def run(worktree: Path, tests: str, *arguments: str, seconds: float = 60.0) -> tuple[Ending, list[process.Record]]:
    """Run pytest on a file with these tests and return how it ended and the records that came meanwhile."""
    (worktree / "test_it.py").write_text(tests)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(worktree.with_name("home")),
        "TMPDIR": str(worktree.with_name("tmp")),
        "PYTHONPATH": str(PLUGIN),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SAM_COMPAT_WORKTREE": str(worktree),
        "SAM_COMPAT_GATE": str(os.getpid()),
    }
    given, names = ["test_it.py", "-p", "no:cacheprovider", *arguments], (worktree.with_name(n) for n in ("r", "log"))
    shard = Process(Path(sys.executable), given, worktree, environ, "none-1", *names)
    came: list[process.Record] = []
    return process.run(shard, time.monotonic() + seconds, threading.Event(), came.append), came


def test_each_test_is_reported_once_with_the_worst_of_its_phases(worktree: Path) -> None:
    tests = """
import pytest

@pytest.fixture
def breaks():
    yield
    raise AssertionError

def test_good(): pass
def test_breaks_at_its_end(breaks): pass
@pytest.mark.skip
def test_skipped(): pass
"""
    ending, came = run(worktree, tests)
    assert ending.code == 1
    assert ending.each("collected") == [[f"test_it.py::test_{n}" for n in ("good", "breaks_at_its_end", "skipped")]]
    finished = [(record["finished"], record["outcome"]) for record in came if "finished" in record]
    assert finished == [
        ("test_it.py::test_good", "passed"),
        ("test_it.py::test_breaks_at_its_end", "failed"),
        ("test_it.py::test_skipped", "skipped"),
    ]


def test_deselected_tests_are_reported(worktree: Path) -> None:
    ending, _ = run(worktree, "def test_a(): pass\ndef test_b(): pass\n", "-k", "test_a")
    assert ending.each("collected") == [["test_it.py::test_a"]]
    assert ending.each("deselected") == [["test_it.py::test_b"]]


@pytest.mark.parametrize(
    ("tests", "how"),
    [
        ("import time\ndef test_a(): time.sleep(60)\n", "did not end in time, it was in test_it.py::test_a"),
        ("import os\ndef test_a(): os.kill(os.getpid(), 9)\n", "ended by signal 9"),
        ("this is not Python", "ended with pytest's exit code 2: interrupted"),
        ("def test_a(): assert 0\n", "ended with pytest's exit code 1: tests failed"),
    ],
)
def test_ending_is_described(worktree: Path, tests: str, how: str) -> None:
    ending, _ = run(worktree, tests, seconds=4 if "sleep" in tests else 60)
    assert str(ending) == how


def test_shard_that_starts_when_the_gate_is_gone_ends(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    plugin = {"PYTHONPATH": str(PLUGIN), "SAM_COMPAT_REPORT": str(tmp_path / "report"), "SAM_COMPAT_WORKTREE": ""}
    configured = (
        "import sam_compat_plugin, time, types\n"
        "sam_compat_plugin.pytest_configure(types.SimpleNamespace(option=None))\n"
        "time.sleep(60)\n"
    )
    shard = subprocess.run(
        [sys.executable, "-c", configured],
        env=os.environ | plugin | {"SAM_COMPAT_GATE": str(gone.pid)},
        start_new_session=True,
    )
    assert shard.returncode == -signal.SIGKILL


def test_shard_that_has_not_begun_when_the_run_ends_does_not_begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkout of aws-sam-cli takes seconds, and there may be one for each slot."""
    made: list[int] = []

    class Watch:
        @property
        def broken(self) -> str:
            return "it was closed" if made else ""

    def part(_suite: object, _part: object, slot: int, *_: object) -> dict[str, object]:
        made.append(slot)
        time.sleep(0.5)
        return {}

    monkeypatch.setattr(workspace, "DURATIONS", tmp_path / "durations.json")
    monkeypatch.setattr(runner, "run_shard", part)
    suite: Any = SimpleNamespace(watch=Watch(), stop=threading.Event(), jobs=1, label="develop")
    with pytest.raises(GateError, match="Lost the Docker event stream"):
        runner._run_parts(suite, [Part(f"{number}", ("t",), 1.0) for number in range(4)], 60)
    assert made == [0]


# --- the port of its emulator


def test_port_is_held_until_the_run_ends_and_its_emulator_can_listen_there() -> None:
    port = environment.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):  # as docker does, with SO_REUSEADDR
        pass


def test_ports_of_two_runs_differ() -> None:
    """Also while nothing listens there yet: an emulator may start much later."""
    other = subprocess.Popen([sys.executable, "-c", PORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    theirs = {int(port) for port in other.stdout.readline().split()}
    ours = {environment.free_port() for _ in range(400)}
    for claim in environment.held:
        claim.close()
    environment.held.clear()
    other.communicate()
    assert (len(theirs), len(ours), theirs & ours) == (400, 400, set())


# --- its environment


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, "localhost,127.0.0.1"),
        ({"NO_PROXY": "a.example"}, "a.example,localhost,127.0.0.1"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, "b.example,localhost,127.0.0.1"),
    ],
)
def test_no_proxy_is_asked_for_emulators(given: dict[str, str], hosts: str) -> None:
    assert environment.inherited(given) == {"no_proxy": hosts, "NO_PROXY": hosts}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("HTTPS_PROXY", True),
        ("PIP_INDEX_URL", True),
        ("SSL_CERT_FILE", True),
        ("DOCKER_CONFIG", True),
        ("DOCKER_CONTEXT", False),
        ("DOCKER_AUTH_CONFIG", False),
        ("UV_PUBLISH_TOKEN", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("GITHUB_TOKEN", False),
        ("PYTEST_ADDOPTS", False),
        ("DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT", False),
        ("SAM_CLI_POLL_DELAY", False),
    ],
)
def test_only_where_tools_and_networks_are_is_handed_on(name: str, kept: bool) -> None:
    assert (name in environment.inherited({name: "x"})) == kept


def test_own_settings_win_over_the_callers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "FORCE_RUN_DOCKER_TEST", "DURABLE_EXECUTIONS_CONTAINER_NAME"):
        monkeypatch.setenv(name, "the caller's")
    found = environment.of_shard(tmp_path / "venv/bin/python", tmp_path / "w", tmp_path / "home/a-1", "run-a-1")
    assert found["HOME"] == str(tmp_path / "home/a-1")
    assert found["FORCE_RUN_DOCKER_TEST"] == "1"
    assert found["DURABLE_EXECUTIONS_CONTAINER_NAME"] == "sam-compat-run-a-1"
    assert found["PATH"].startswith(f"{tmp_path}/venv/bin{os.pathsep}")
