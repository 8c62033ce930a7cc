"""Git sources: which commit a ref names, and that its files are what was committed."""

import shutil
from pathlib import Path

import pytest

from gate import workspace
from gate.cli import GateError
from gate.sources import git as sources
from gate.text import without_secrets

from .conftest import commit_all, git


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(workspace, "FETCH_LOG", tmp_path / "cache/fetch.log")
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
    refs = sources.listing(str(repository), setting="SAMCLI_SOURCE")
    (name,) = sources.expand(ref, refs, setting="SAMCLI_REFS")
    return sources.resolve(str(repository), name, refs, setting="SAMCLI_SOURCE")


def tag(repository: Path, *names: str) -> dict[str, str]:
    for name in names:
        git("tag", "--force", name, cwd=repository)
    return sources.listing(str(repository), setting="SAMCLI_SOURCE")


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


@pytest.mark.parametrize(("name", "value"), [("safe.bareRepository", "explicit"), ("core.attributesFile", "{}")])
def test_configuration_of_the_user_changes_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (tmp_path / "attributes").write_text("* text eol=crlf\n")
    (repository / "lines").write_text("one\ntwo\n")
    commit_all(repository)
    (tmp_path / "user").mkdir()
    git(
        "config", "--file", str(tmp_path / "user/.gitconfig"), name, value.format(tmp_path / "attributes"), cwd=tmp_path
    )
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    export(repository, resolve(repository, "develop"), tmp_path / "files")
    assert (tmp_path / "files/lines").read_bytes() == b"one\ntwo\n"


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


def test_latest_releases_are_one_of_each_minor_version(repository: Path) -> None:
    refs = tag(repository, "v1.10.2", "v1.9.9", "v1.8.0", "v0.99.0", "v2.0.0-rc1", "v1.2", "1.99.0", "v1.11.0dev0")
    assert sources.expand("latest", refs, setting="SAMCLI_REFS") == ["v1.10.2"]
    assert sources.expand("latest:2", refs, setting="SAMCLI_REFS") == ["v1.10.2", "v1.9.9"]
    assert sources.expand("latest:9", refs, setting="SAMCLI_REFS") == ["v1.10.2", "v1.9.9", "v1.8.0", "v0.99.0"]
    assert sources.expand("develop", refs, setting="SAMCLI_REFS") == ["develop"]


def test_tag_wins_over_a_branch_of_its_name(repository: Path) -> None:
    git("branch", "v1.9.0", "develop", cwd=repository)
    assert resolve(repository, "v1.9.0") == git("rev-parse", "HEAD~2", cwd=repository)


@pytest.mark.parametrize("url", ["https://user:secret@localhost:1/x.git", "not-there", "--upload-pack=x"])
def test_unreachable(url: str) -> None:
    with pytest.raises(GateError, match=r"SAMCLI_SOURCE: .* cannot be reached") as caught:
        sources.listing(url, setting="SAMCLI_SOURCE")
    assert "secret" not in f"{caught.value} {caught.value.detail}"


def worktree(repository: Path, commit: str, path: Path) -> None:
    sources.worktree(str(repository), commit, path)


def export(repository: Path, commit: str, path: Path) -> None:
    sources.export(str(repository), commit, path)


WAYS = pytest.mark.parametrize("way", [worktree, export], ids=["worktree", "export"])


@WAYS
def test_files_are_those_of_the_commit_whatever_was_left_there(repository: Path, tmp_path: Path, way: object) -> None:
    assert callable(way)
    path = tmp_path / "files"
    way(repository, resolve(repository, "v1.9.0"), path)
    assert (path / "file").read_text() == "one"
    (path / "file").write_text("changed")
    (path / "left").mkdir()
    (path / "left/over").write_text("x")
    if way is worktree:
        git("update-index", "--skip-worktree", "file", cwd=path)
    way(repository, resolve(repository, "develop"), path)
    names = sorted(entry.name for entry in path.iterdir())
    assert names == ([".git", "file"] if way is worktree else ["file"])
    assert (path / "file").read_text() == "three"


@WAYS
def test_files_are_what_was_committed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: object
) -> None:
    """Not what a user's line endings and hooks, or a replacement in the store, make of it."""
    assert callable(way)
    (repository / "lines").write_bytes(b"one\ntwo\n")
    commit_all(repository)
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-checkout").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks/post-checkout").chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\nautocrlf = true\nhooksPath = {tmp_path}/hooks\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    commit = resolve(repository, "develop")
    (store,) = (workspace.CACHE / "git").iterdir()
    (tmp_path / "evil").write_text("evil")
    evil = git("hash-object", "-w", str(tmp_path / "evil"), cwd=store)
    git("replace", git("rev-parse", f"{commit}:file", cwd=store), evil, cwd=store)
    assert git("show", f"{commit}:file", cwd=store) == "evil"
    way(repository, commit, tmp_path / "files")
    assert (tmp_path / "files/lines").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "files/file").read_text() == "three"


def test_worktree_survives_a_killed_run(repository: Path, tmp_path: Path, cache: Path) -> None:
    commit = resolve(repository, "develop")
    path = tmp_path / "worktree"
    worktree(repository, commit, path)
    Path(git("rev-parse", "--absolute-git-dir", cwd=path), "index.lock").touch()
    worktree(repository, commit, path)
    shutil.rmtree(cache)
    commit = resolve(repository, "develop")
    (next((cache / "git").iterdir()) / "shallow.lock").touch()
    assert resolve(repository, "v1.9.0") != commit
    worktree(repository, commit, path)
    assert (path / "file").read_text() == "three"


@WAYS
def test_checkout_that_fails_leaves_nothing(repository: Path, tmp_path: Path, way: object) -> None:
    assert callable(way)
    commit = resolve(repository, "develop")
    for kept in [*workspace.CACHE.rglob("*.pack"), *workspace.CACHE.rglob("objects/??/*")]:
        kept.unlink()
    with pytest.raises(GateError, match=r"cannot be (checked out|written) to"):
        way(repository, commit, tmp_path / "files")
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_variables_of_a_hook_do_not_turn_git_away(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    worktree(repository, resolve(repository, "develop"), tmp_path / "worktree")
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
    assert without_secrets(url) == plain
