"""Git sources: which commit a ref names, and its files."""

import contextlib
import hashlib
import os
import re
import shutil
import threading
from pathlib import Path

from gate import workspace
from gate.programs import GateError, call, stream, without_secrets
from gate.settings import path_of

# Only one thread at a time: `git worktree prune` would remove a worktree that another is adding.
ONE_WORKTREE = threading.Lock()
RELEASE_TAG = re.compile(r"^refs/tags/v(\d+)\.(\d+)\.(\d+)$", re.MULTILINE)
# A ref at one commit, as the plan writes it.
PINNED = re.compile(r"(.+)@([0-9a-f]{40}|[0-9a-f]{64})")
# What is tested is what was committed: without the user's hooks and line endings.
AS_COMMITTED = (
    "git",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.autocrlf=false",
)
# git's "infinite" depth: it also completes a repository that was fetched with a smaller one.
FULL_DEPTH = "--depth=2147483647"
ALL_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def git(*arguments: str | Path, failure: str, cwd: Path | None = None) -> str:
    """Return what a git command prints. Raises GateError with `failure` and git's own words."""
    return call([*AS_COMMITTED, *arguments], failure=failure, cwd=cwd)


def tracked(*paths: str) -> list[str]:
    """Return the files that git tracks below some paths of the gate's folder."""
    listed = git(
        "ls-files",
        "--",
        *paths,
        cwd=workspace.ROOT,
        failure="git ls-files failed",
    )
    return listed.splitlines()


def init(store: Path, hashes: str) -> None:
    """Make an empty bare repository with the hashes of what will be fetched from or into it.

    git cannot fetch from one kind into the other (pre-commit/pre-commit#3434).
    """
    git(
        "init",
        "--quiet",
        "--bare",
        f"--object-format={hashes}",
        store,
        failure="git init failed",
    )


def source(value: str) -> str:
    """Return a setting's git source: a URL as it is, a path made absolute."""
    return str(path_of(value)) if path_of(value).exists() else value


def refs_of(url: str, *, setting: str) -> dict[str, str]:
    """Return the commit of each ref in a repository, such as refs/heads/develop, and of HEAD."""
    failure = f"{setting}: {without_secrets(url)} cannot be reached as a git repository"
    commits = {}
    for line in git("ls-remote", "--", url, failure=failure).splitlines():
        commit, name = line.split()
        commits[name] = commit
    return commits


def expand(word: str, refs: dict[str, str], *, setting: str) -> list[str]:
    """Return the refs that a word of SAMCLI_REFS names.

    `latest` is the newest release, `latest:N` the newest release of each of the N newest minor
    versions. Any other word is a ref.
    """
    asked = re.fullmatch(r"latest(?::([1-9][0-9]*))?", word)
    if not asked:
        return [word]
    releases = sorted(
        tuple(map(int, parts)) for parts in RELEASE_TAG.findall("\n".join(refs))
    )
    # The last one of each minor version stays.
    newest = {release[:2]: release for release in releases}
    if not newest:
        raise GateError(
            f"{setting}: there is no release tag vN.N.N, so {word} names nothing"
        )
    names = [
        "v{}.{}.{}".format(*release) for release in reversed(newest.values())
    ]
    return names[: int(asked[1] or 1)]


def commit_of(url: str, ref: str, refs: dict[str, str], *, setting: str) -> str:
    """Return the full commit that a branch, tag, commit, REF@COMMIT or "" (HEAD) names.

    Only what the repository does not list is fetched for that, such as an abbreviated commit.
    """
    pinned = PINNED.fullmatch(ref)
    if pinned:
        return pinned[2]
    names = [
        # With ^{} it is the commit of an annotated tag.
        f"refs/tags/{ref}^{{}}",
        f"refs/tags/{ref}",
        f"refs/heads/{ref}",
        f"{ref}^{{}}",
        ref or "HEAD",
    ]
    for name in names:
        if name in refs:
            return refs[name]
    if not re.fullmatch("[0-9a-f]{7,64}", ref):
        raise GateError(_missing(url, ref, setting))
    return fetch(url, ref, setting=setting)


def _missing(url: str, ref: str, setting: str) -> str:
    source = without_secrets(url)
    return f"{setting}: {source} has no branch, tag or commit {ref or 'HEAD'}"


def fetch(url: str, commit: str, *, setting: str) -> str:
    """Fetch a commit, unless it is here already, and return its full id."""
    store = _git_dir_option(url, commit)
    missing = _missing(url, commit, setting)

    def full_commit() -> str:
        name = f"{commit}^{{commit}}"
        return git(store, "rev-parse", "--verify", name, failure=missing)

    with contextlib.suppress(GateError):
        return full_commit()
    fetching = [*AS_COMMITTED, store, "fetch", "--quiet", "--no-tags"]
    with contextlib.suppress(GateError):
        stream([*fetching, "--depth=1", "--", url, commit], failure=missing)
        return full_commit()
    # Everything, if the id is abbreviated, or if no ref points to it.
    stream(
        [*fetching, FULL_DEPTH, "--", url, *ALL_REFS],
        failure=f"{missing}, or it cannot be fetched: run `make clean` if it is there",
    )
    return full_commit()


def worktree(url: str, commit: str, path: Path) -> Path:
    """Check out a commit that was fetched to a new folder, and return the folder."""
    shutil.rmtree(path, ignore_errors=True)
    store = _git_dir_option(url, commit)
    failure = (
        f"{without_secrets(url)}: {commit[:12]} cannot be checked out to {path}"
    )
    with ONE_WORKTREE:
        git(store, "worktree", "prune", failure=failure)
        git(
            store,
            "worktree",
            "add",
            "--quiet",
            "--detach",
            path,
            commit,
            failure=failure,
        )
    return path


def _git_dir_option(url: str, commit: str) -> str:
    """Return the --git-dir option of the bare repository that caches a URL. Create it if needed."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    store = workspace.CACHE / "git" / name
    if not (store / "HEAD").exists():
        init(store, "sha256" if len(commit) == 64 else "sha1")
    return f"--git-dir={store}"
