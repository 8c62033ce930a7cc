"""A shard's pytest process: the port of its emulator, and what its plugin tells."""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import process
import suite
from command import GateError
from config import ROOT

PORTS = range(30500, 30510)  # no gate's own
ANOTHER = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import process
process.PORTS = {PORTS}
print(*(process.free_port() for _ in range(4)), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process, "PORTS", PORTS)
    monkeypatch.setattr(process, "claims", claims := list[socket.socket]())
    yield
    for claim in claims:
        claim.close()


def all_that_are_given() -> list[int]:
    found = []
    with contextlib.suppress(GateError):
        while True:
            found.append(process.free_port())
    assert len(found) == len(set(found))
    return found


def test_a_port_that_is_listened_on_is_not_given() -> None:
    with socket.create_server(("0.0.0.0", PORTS[0])):
        assert set(all_that_are_given()) == set(PORTS[1:])
        with pytest.raises(GateError, match="no free port from 30500 to 30509"):
            process.free_port()


def test_a_port_that_another_gate_was_given_is_its_own_until_it_ends() -> None:
    """Nobody listens there yet: its emulator may start much later."""
    other = subprocess.Popen([sys.executable, "-c", ANOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    theirs = {int(port) for port in other.stdout.readline().split()}
    assert len(theirs) == 4
    ours = all_that_are_given()
    other.communicate()
    assert sorted([*theirs, *ours]) == list(PORTS)
    assert set(all_that_are_given()) == theirs


@pytest.mark.parametrize("teardown", [True, False], ids=["with", "without"])
def test_plugin_tells_once_of_a_test_that_is_tried_again(
    teardown: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytest-rerunfailures reports the teardown of the first try since some version; aws-sam-cli has an older one."""
    monkeypatch.setenv("SAM_COMPAT_REPORT", str(tmp_path / "report"))
    monkeypatch.setenv("SAM_COMPAT_WORKTREE", str(tmp_path))
    monkeypatch.delitem(sys.modules, "sam_compat_reporter", raising=False)
    monkeypatch.syspath_prepend(process.PLUGIN)
    plugin = importlib.import_module("sam_compat_reporter")
    first = [("setup", "passed"), ("call", "rerun"), ("teardown", "passed")]
    second = [("setup", "passed"), ("call", "failed"), ("teardown", "passed")]
    for when, outcome in (first if teardown else first[:2]) + second:
        plugin.pytest_runtest_logreport(SimpleNamespace(nodeid="t", when=when, outcome=outcome, duration=1.0))
    assert list(process.records(tmp_path / "report")) == [
        {"rerun": "t"},
        {"finished": "t", "outcome": "failed", "seconds": 3.0},
    ]


def test_shard_that_starts_when_the_gate_is_gone_ends(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    plugin = {
        "PYTHONPATH": str(process.PLUGIN),
        "SAM_COMPAT_REPORT": str(tmp_path / "report"),
        "SAM_COMPAT_WORKTREE": "",
    }
    configured = "import sam_compat_reporter, time; sam_compat_reporter.pytest_configure(); time.sleep(60)"
    shard = subprocess.run(
        [sys.executable, "-c", configured],
        env=os.environ | plugin | {"SAM_COMPAT_GATE": str(gone.pid)},
        start_new_session=True,
    )
    assert shard.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, "localhost,127.0.0.1"),
        ({"NO_PROXY": "a.example"}, "a.example,localhost,127.0.0.1"),
        ({"NO_PROXY": "a.example", "no_proxy": "b.example"}, "b.example,localhost,127.0.0.1"),
    ],
)
def test_proxy_does_not_lead_to_this_machine(given: dict[str, str], hosts: str) -> None:
    assert process.not_by_proxy(given) == {"no_proxy": hosts, "NO_PROXY": hosts}


def test_shard_that_has_not_begun_when_the_run_ends_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout of aws-sam-cli takes seconds, and there may be one for each slot."""
    made: list[int] = []

    def worktree(slot: int) -> Path:
        made.append(slot)
        time.sleep(0.5)
        return Path()

    def ended() -> None:
        if made:
            raise KeyboardInterrupt

    monkeypatch.setattr(suite, "run", lambda *_: suite.Outcome())
    shared: Any = SimpleNamespace(checkout=SimpleNamespace(worktree=worktree), stop=threading.Event())
    with pytest.raises(KeyboardInterrupt):
        list(suite.run_all(shared, [suite.Shard(f"{number}", ()) for number in range(4)], 4, ended))
    assert len(made) == 1
