"""Git sources: which commit a ref names, and that its files are what was committed."""

from pathlib import Path

import pytest

from gate import git as sources
from gate import workspace
from gate.programs import GateError

from .support.git import commit_all, git

# The four commits of the repository, the oldest first. No ref points to the third one.
COMMITS = ("one", "two", "abandoned", "three")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the tags v1.9.0 of one, v1.10.0 (annotated) of two, v1.11.0rc1 of three."""
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in COMMITS:
        (folder / "file").write_text(f"{name}\n")
        commit_all(folder, name)
    git("tag", "v1.9.0", "HEAD~3", cwd=folder)
    git("tag", "--annotate", "--message=x", "v1.10.0", "HEAD~2", cwd=folder)
    git("tag", "v1.11.0rc1", cwd=folder)
    return folder


def resolve(repository: Path, word: str) -> str:
    """Return the commit that an entry of SAMCLI_REFS names."""
    refs = sources.refs_of(str(repository), setting="SAMCLI_SOURCE")
    (ref,) = sources.expand(word, refs, setting="SAMCLI_REFS")
    url = str(repository)
    commit = sources.commit_of(url, ref, refs, setting="SAMCLI_REFS")
    # It is a commit, not the id of an annotated tag, and can be had.
    assert sources.fetch(url, commit, setting="SAMCLI_REFS") == commit
    return commit


def check_out(repository: Path, word: str) -> Path:
    """Return a worktree with the files of that commit, always the same folder."""
    commit = resolve(repository, word)
    return sources.worktree(
        str(repository), commit, repository.with_name("files")
    )


@pytest.mark.parametrize(
    ("word", "commit"),
    [
        ("develop", "three"),
        ("", "three"),
        ("refs/heads/develop", "three"),
        ("v1.11.0rc1", "three"),
        ("v1.10.0", "two"),
        ("refs/tags/v1.10.0", "two"),
        ("latest", "two"),
        ("v1.9.0", "one"),
    ],
)
def test_a_word_names_a_branch_a_tag_or_the_latest_release(
    repository: Path, word: str, commit: str
) -> None:
    named = resolve(repository, word)
    assert git("log", "-1", "--format=%s", named, cwd=repository) == commit


def test_a_tag_wins_over_a_branch_of_its_name(repository: Path) -> None:
    git("branch", "v1.9.0", "develop", cwd=repository)
    assert resolve(repository, "v1.9.0") == git(
        "rev-parse", "refs/tags/v1.9.0", cwd=repository
    )


@pytest.mark.parametrize("length", [7, 40])
def test_a_word_names_a_commit_that_no_ref_points_to(
    repository: Path, length: int
) -> None:
    commit = git("rev-parse", "HEAD~1", cwd=repository)
    assert resolve(repository, commit[:length]) == commit


def test_a_ref_at_a_commit_is_that_commit_wherever_the_ref_is_now(
    repository: Path,
) -> None:
    """Each job of a run tests the commit that its plan resolved."""
    commit = git("rev-parse", "HEAD~1", cwd=repository)
    assert resolve(repository, f"develop@{commit}") == commit
    assert resolve(repository, f"gone@{commit}") == commit


@pytest.mark.parametrize("word", ["no-such-branch", "0" * 40])
def test_a_word_that_names_nothing_is_an_error(
    repository: Path, word: str
) -> None:
    with pytest.raises(
        GateError, match=f"^SAMCLI_REFS: .* no branch, tag or commit {word}"
    ):
        resolve(repository, word)


def test_a_repository_may_have_sha256_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    folder.mkdir()
    git("init", "--quiet", "--object-format=sha256", cwd=folder)
    commit = commit_all(folder)
    assert resolve(folder, "HEAD") == commit
    assert len(commit) == 64


def test_latest_is_the_newest_release_of_each_minor_version(
    repository: Path,
) -> None:
    for name in (
        "v1.10.2",
        "v1.9.9",
        "v1.8.0",
        "v0.99.0",
        "v2.0.0-rc1",
        "v1.2",
        "1.99.0",
    ):
        git("tag", name, cwd=repository)
    refs = sources.refs_of(str(repository), setting="SAMCLI_SOURCE")
    newest = ["v1.10.2", "v1.9.9", "v1.8.0", "v0.99.0"]
    assert sources.expand("latest", refs, setting="X") == newest[:1]
    assert sources.expand("latest:2", refs, setting="X") == newest[:2]
    assert sources.expand("latest:9", refs, setting="X") == newest


def test_latest_is_an_error_where_there_is_no_release() -> None:
    with pytest.raises(GateError, match=r"X: there is no release tag vN\.N\.N"):
        sources.expand("latest", {"refs/tags/v2.0.0-rc1": "0"}, setting="X")


def test_a_source_that_cannot_be_reached_is_named_without_its_password() -> (
    None
):
    with pytest.raises(
        GateError, match=r"^X: https://localhost:1/x cannot be reached"
    ):
        sources.refs_of("https://me:s3cret@localhost:1/x", setting="X")


def test_files_are_those_of_the_commit_whatever_was_left_there(
    repository: Path,
) -> None:
    path = check_out(repository, "v1.9.0")
    (path / "left").touch()
    check_out(repository, "develop")
    assert (path / "file").read_text() == "three\n"
    assert not (path / "left").exists()


def test_neither_the_users_line_endings_nor_hooks_change_the_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-checkout").write_text(
        "#!/bin/sh\necho changed >file\n"
    )
    (tmp_path / "hooks/post-checkout").chmod(0o755)
    (tmp_path / "gitconfig").write_text(
        f"[core]\nautocrlf=true\nhooksPath={tmp_path}/hooks\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert (
        check_out(repository, "develop") / "file"
    ).read_bytes() == b"three\n"
