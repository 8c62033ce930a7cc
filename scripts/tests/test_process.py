"""The port of a shard's emulator."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import process
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
