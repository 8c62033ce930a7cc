"""Where a run's worktrees lie, with an engine that can mount them or cannot."""

from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError
from requests import Response

from gate import workspace
from gate.containers.images import Image
from gate.suite import machine, scratch

IMAGE = Image("sha256:1", "sha256:2", "x/emulator:pr-1", "linux/amd64")
JOBS = 4


class Engine:
    """An engine that makes containers, unless `refuses`, and notes what it makes and removes."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses, self.api, self.calls = refuses, self, list[Any]()

    def create_host_config(self, mounts: list[Any]) -> Any:
        (mount,) = mounts
        self.calls.append(("mount", mount["Source"]))

    def create_container(self, image: str, name: str, host_config: Any) -> dict[str, str]:
        if self.refuses:
            answer = Response()
            answer.status_code = 400
            raise APIError("invalid mount config: bind source path does not exist", answer)
        self.calls.append(("made", image))
        return {"Id": name}

    def remove_container(self, name: str, **options: bool) -> None:
        self.calls.append(("removed", name))


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone and a file system in memory, with room."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(workspace, "SCRATCH", tmp_path / "cache/scratch")
    monkeypatch.setattr(workspace, "in_memory", lambda: tmp_path / "memory/sam-compat-1")
    monkeypatch.setattr(machine, "memory_available", lambda: 64e9)
    monkeypatch.setattr(machine, "WORKTREE", 1)
    return tmp_path


def used(client: Engine) -> str:
    """Return in which of the two places the folder is, with a file of it written; check that nothing of it is left."""
    with scratch.folder(client, IMAGE, JOBS) as folder:  # type: ignore[arg-type]
        (folder / "worktree-0").mkdir()
        place = folder.parents[1].name
    assert not folder.parent.exists()
    return place


def test_memory_is_used_where_the_engine_can_mount_it(clone: Path) -> None:
    client = Engine()
    assert used(client) == "memory"
    name = f"{workspace.clone_name()}-mount"
    mount = ("mount", str(clone / "memory/sam-compat-1"))
    assert client.calls == [mount, ("removed", name), ("made", IMAGE.image_id), ("removed", name)]


def test_an_engine_with_other_files_uses_the_disk(clone: Path) -> None:
    assert used(Engine(refuses=True)) == "cache"
    assert list((clone / "memory").iterdir()) == []


@pytest.mark.parametrize("short", ["memory", "file system", "none"])
def test_too_little_memory_uses_the_disk(clone: Path, short: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if short == "memory":
        monkeypatch.setattr(machine, "memory_available", lambda: JOBS * machine.MEMORY)
    elif short == "file system":
        monkeypatch.setattr(machine, "WORKTREE", 1e15)
        monkeypatch.setattr(machine, "memory_available", lambda: float("inf"))
    else:
        (clone / "memory").rmdir()  # macOS
    assert used(Engine()) == "cache"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_another_user_made_there_is_not_used(clone: Path, kind: str) -> None:
    theirs = clone / "memory/sam-compat-1"
    theirs.symlink_to(clone) if kind == "link" else theirs.touch()
    assert used(Engine()) == "cache"
    assert theirs.is_symlink() or theirs.is_file()
    assert clone.is_dir()


@pytest.mark.parametrize("place", ["memory/sam-compat-1", "cache/scratch"])
def test_what_a_killed_run_left_is_removed(clone: Path, place: str) -> None:
    (clone / place / "tmpx/worktree-0").mkdir(parents=True)
    used(Engine())
    assert not (clone / place).exists()


def test_only_this_user_can_enter(clone: Path) -> None:
    with scratch.folder(Engine(), IMAGE, JOBS) as folder:  # type: ignore[arg-type]
        assert folder.parent.stat().st_mode & 0o077 == 0
