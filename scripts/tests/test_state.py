"""What a clone keeps, and whose it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import state


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that stays."""
    monkeypatch.setattr(state, "CACHE", tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_clone_is_not_claimed_for_a_process_that_is_no_make(
    sleeper: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a make that was killed the parent is one that never ends; MAKELEVEL is inherited by a shell of a make too."""
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setattr(state, "MAKES", [sleeper.pid])
    state.claim()
    assert int((tmp_path / "claim").read_text().split()[0]) == os.getpid()


def test_two_scripts_of_one_make_write_the_same_file(tmp_path: Path) -> None:
    write = "import sys; sys.path.insert(0, sys.argv[1]); import state, pathlib\n"
    write += "for _ in range(2000): state.write(pathlib.Path(sys.argv[2]), '*')"
    command = [sys.executable, "-c", write, str(Path(state.__file__).parent), str(tmp_path / "file")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == ["", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
