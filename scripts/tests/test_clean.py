"""make clean."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gate import workspace
from gate.workspace import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which a run was."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/clean.py", tmp_path / "scripts")
    for file in (".cache/lock", ".cache/venv/ready", ".compat/linux-amd64/verdict.json", ".env"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def clean(clone: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-S", clone / "scripts/clean.py"], capture_output=True, text=True)


def test_nothing_but_the_users_own_is_left(clone: Path) -> None:
    for _ in range(2):
        done = clean(clone)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(path.name for path in clone.iterdir()) == [".env", "scripts"]


def test_what_a_killed_run_left_in_memory_is_removed(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "ROOT", clone)
    if not workspace.in_memory().parent.is_dir():
        pytest.skip("this system has no /dev/shm")
    aside = workspace.in_memory().with_name(f"{workspace.in_memory().name}-of-another-user-0a")
    for folder in (workspace.in_memory(), aside):
        (folder / "worktree-0").mkdir(parents=True)
    assert clean(clone).returncode == 0
    assert not any(folder.exists() for folder in (workspace.in_memory(), aside))


def test_a_run_that_works_here_keeps_its_files(clone: Path) -> None:
    with (clone / ".cache/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = clean(clone)
    assert done.returncode == 2
    assert done.stderr == "error: a run is working in this clone: wait for it, then clean\n"
    assert (clone / ".cache/venv/ready").exists()
    assert (clone / ".compat/linux-amd64/verdict.json").exists()


def test_what_cannot_be_removed_is_named(clone: Path) -> None:
    (clone / ".compat").rename(clone / "elsewhere")
    (clone / ".compat").symlink_to(clone / "elsewhere")
    done = clean(clone)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {clone}/.compat cannot be removed: ")
    assert done.stderr.count("\n") == 1
    assert (clone / "elsewhere/linux-amd64/verdict.json").exists()
