import shutil
from pathlib import Path

import pytest

import gitrepo
import state
from command import GateError

from .conftest import commit_all, git


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits on develop; tags v1.9.0, v1.10.0 (annotated), v1.11.0rc1 and nightly."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for content in ("one", "two", "three"):
        (folder / "file").write_text(content)
        commit_all(folder, content)
    git("tag", "v1.9.0", "HEAD~2", cwd=folder)
    git("tag", "--annotate", "--message=x", "v1.10.0", "HEAD~1", cwd=folder)
    git("tag", "v1.11.0rc1", cwd=folder)
    git("tag", "nightly", cwd=folder)
    return folder


def resolve(repository: Path, ref: str) -> str:
    return gitrepo.resolve(str(repository), ref, setting="SAMCLI_SOURCE")


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        ("develop", "HEAD"),
        ("", "HEAD"),
        ("refs/heads/develop", "HEAD"),
        ("v1.9.0", "HEAD~2"),
        ("v1.10.0", "HEAD~1"),
        ("latest", "HEAD~1"),
        ("nightly", "HEAD"),
    ],
)
def test_resolve(repository: Path, ref: str, names: str) -> None:
    assert resolve(repository, ref) == git("rev-parse", names, cwd=repository)


@pytest.mark.parametrize("digits", [40, 12, 7])
def test_resolve_a_commit_that_no_ref_points_to(repository: Path, digits: int) -> None:
    git("tag", "--delete", "v1.9.0", cwd=repository)
    commit = git("rev-parse", "HEAD~2", cwd=repository)
    assert resolve(repository, commit[:digits]) == commit


@pytest.mark.parametrize("ref", ["no-such-branch", "v9.9.9", "0123456789abcdef0123456789abcdef01234567"])
def test_no_such_ref(repository: Path, ref: str) -> None:
    with pytest.raises(GateError, match=f"SAMCLI_SOURCE: .* has no (branch, tag or )?commit {ref}"):
        resolve(repository, ref)


def test_no_release(repository: Path) -> None:
    git("tag", "--delete", "v1.9.0", "v1.10.0", cwd=repository)
    with pytest.raises(GateError, match="no release tag"):
        resolve(repository, "latest")


@pytest.mark.parametrize("url", ["https://user:secret@localhost:1/x.git", "not-there"])
def test_unreachable(url: str) -> None:
    with pytest.raises(GateError, match="cannot be reached") as caught:
        gitrepo.resolve(url, "develop", setting="SAMCLI_SOURCE")
    assert "secret" not in str(caught.value)


def test_checkout_is_clean_again(repository: Path, tmp_path: Path) -> None:
    first, last = resolve(repository, "v1.9.0"), resolve(repository, "develop")
    path = tmp_path / "worktree"
    gitrepo.checkout(str(repository), first, path)
    assert (path / "file").read_text() == "one"
    (path / "file").write_text("changed")
    (path / "left").mkdir()
    (path / "left/over").write_text("x")
    gitrepo.checkout(str(repository), last, path)
    assert sorted(entry.name for entry in path.iterdir()) == [".git", "file"]
    assert (path / "file").read_text() == "three"


def test_checkout_is_what_was_committed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what a user's line endings and hooks make of it."""
    (repository / "lines").write_bytes(b"one\ntwo\n")
    commit_all(repository)
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-checkout").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks/post-checkout").chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\nautocrlf = true\nhooksPath = {tmp_path}/hooks\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    gitrepo.checkout(str(repository), resolve(repository, "develop"), tmp_path / "worktree")
    assert (tmp_path / "worktree/lines").read_bytes() == b"one\ntwo\n"


def test_checkout_survives_a_killed_run(repository: Path, tmp_path: Path, cache: Path) -> None:
    commit = resolve(repository, "develop")
    path = tmp_path / "worktree"
    gitrepo.checkout(str(repository), commit, path)
    Path(git("rev-parse", "--absolute-git-dir", cwd=path), "index.lock").touch()
    gitrepo.checkout(str(repository), commit, path)
    shutil.rmtree(cache)
    commit = resolve(repository, "develop")
    (next((cache / "git").iterdir()) / "shallow.lock").touch()
    assert resolve(repository, "v1.9.0") != commit
    gitrepo.checkout(str(repository), commit, path)
    assert (path / "file").read_text() == "three"


def test_checkout_that_fails_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    commit = resolve(repository, "develop")
    for packed in (state.CACHE / "git").rglob("*.pack"):
        packed.unlink()
    for loose in (state.CACHE / "git").rglob("objects/??/*"):
        loose.unlink()
    with pytest.raises(GateError, match="cannot be checked out"):
        gitrepo.checkout(str(repository), commit, tmp_path / "worktree")
    assert not (tmp_path / "worktree").exists()


def test_a_hook_does_not_turn_git_away(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere/index"))
    commit = resolve(repository, "develop")
    gitrepo.checkout(str(repository), commit, tmp_path / "worktree")
    assert (tmp_path / "worktree/file").read_text() == "three"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user:token@host/x.git", "https://host/x.git"),
        ("https://token@host:8443/x.git", "https://host:8443/x.git"),
        ("https://host/a@b.git", "https://host/a@b.git"),
        ("git@host:x.git", "git@host:x.git"),
    ],
)
def test_without_secrets(url: str, plain: str) -> None:
    assert gitrepo.without_secrets(url) == plain
