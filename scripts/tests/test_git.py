"""Git sources: which commit a ref names, and that its files are what was committed."""

from pathlib import Path

import pytest

from gate import git as sources
from gate import workspace
from gate.cli import GateError

from .conftest import commit_all, git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four commits on develop; tags v1.9.0, v1.10.0 (annotated) and v1.11.0rc1."""
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    folder.mkdir()
    for content in ("one\n", "two\n", "lost\n", "three\n"):
        (folder / "file").write_text(content)
        commit_all(folder, content)
    git("tag", "v1.9.0", "HEAD~3", cwd=folder)
    git("tag", "--annotate", "--message=x", "v1.10.0", "HEAD~2", cwd=folder)
    git("tag", "v1.11.0rc1", cwd=folder)
    return folder


def resolve(repository: Path, word: str) -> str:
    refs = sources.listing(str(repository), setting="SAMCLI_SOURCE")
    (ref,) = sources.expand(word, refs, setting="SAMCLI_REFS")
    return sources.resolve(str(repository), ref, refs, setting="SAMCLI_REFS")


def check_out(repository: Path, word: str) -> Path:
    commit, path = resolve(repository, word), repository.with_name("files")
    return sources.worktree(str(repository), commit, path)


def test_what_a_word_names(repository: Path) -> None:
    git("branch", "v1.9.0", "develop", cwd=repository)  # a tag wins
    one, two, lost, three = git("rev-list", "--reverse", "develop", cwd=repository).split()
    for word in ("develop", "", "refs/heads/develop", "v1.11.0rc1"):
        assert resolve(repository, word) == three, word
    for word in (lost[:7], lost):  # no ref points to it
        assert resolve(repository, word) == lost, word
    assert [resolve(repository, word) for word in ("v1.10.0", "latest")] == [two, two]
    assert resolve(repository, "v1.9.0") == one
    for word in ("no-such-branch", "0" * 40):
        with pytest.raises(GateError, match=f"^SAMCLI_REFS: .* no branch, tag or commit {word}"):
            resolve(repository, word)


def test_latest_is_the_newest_release_of_each_minor_version(repository: Path) -> None:
    for name in ("v1.10.2", "v1.9.9", "v1.8.0", "v0.99.0", "v2.0.0-rc1", "v1.2", "1.99.0"):
        git("tag", name, cwd=repository)
    refs = sources.listing(str(repository), setting="SAMCLI_SOURCE")
    assert sources.expand("latest", refs, setting="X") == ["v1.10.2"]
    assert sources.expand("latest:2", refs, setting="X") == ["v1.10.2", "v1.9.9"]
    assert sources.expand("latest:9", refs, setting="X")[2:] == ["v1.8.0", "v0.99.0"]
    with pytest.raises(GateError, match=r"X: there is no release tag vN\.N\.N"):
        sources.expand("latest", {"refs/tags/v2.0.0-rc1": "0"}, setting="X")
    with pytest.raises(GateError, match=r"^X: https://localhost:1/x cannot be reached"):
        sources.listing("https://me:s3cret@localhost:1/x", setting="X")


def test_files_are_those_of_the_commit_whatever_was_left_there(repository: Path) -> None:
    path = check_out(repository, "v1.9.0")
    (path / "left").touch()
    check_out(repository, "develop")
    assert ((path / "file").read_text(), (path / "left").exists()) == ("three\n", False)


def test_neither_the_users_line_endings_nor_hooks_change_the_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-checkout").write_text("#!/bin/sh\necho changed >file\n")
    (tmp_path / "hooks/post-checkout").chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\nautocrlf=true\nhooksPath={tmp_path}/hooks\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert (check_out(repository, "develop") / "file").read_bytes() == b"three\n"
