"""Git sources: which commit a ref names, and a checkout of it. Git itself does the work."""

import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

import state
from command import GateError, call

RELEASE = re.compile(r"refs/tags/v(\d+)\.(\d+)\.(\d+)")
# Set inside a git hook, where they would turn every call to the hook's own repository.
OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"}


def git(*arguments: str | Path, failure: str, cwd: Path | None = None) -> str:
    """Run git and return its stdout, stripped. Raises GateError with `failure` and git's last lines."""
    environ = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    # Nobody's line endings and hooks: what is tested is what was committed.
    plain = ("-c", "core.autocrlf=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
    return call(
        ["git", *plain, *arguments], failure=failure, cwd=cwd, env=environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    ).strip()


def without_secrets(url: str) -> str:
    """Return a URL without the user and password it may carry."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def resolve(url: str, ref: str, *, setting: str) -> str:
    """Return the full commit that `ref` names at `url`, fetched into the cache.

    `ref` is a branch, a tag, a commit, `latest` (the newest release tag vN.N.N) or empty (the remote's HEAD).
    Raises GateError if the URL cannot be reached or names no such ref; `setting` is blamed.
    """
    store = _store(url)
    plain = without_secrets(url)
    listing = git("ls-remote", "--", url, failure=f"{setting}: {plain} cannot be reached as a git repository")
    refs = {name: commit for commit, name in (line.split("\t") for line in listing.splitlines())}
    if ref == "latest":
        releases = {tuple(map(int, m.groups())): name for name in refs if (m := RELEASE.fullmatch(name))}
        if not releases:
            raise GateError(f"{setting}: {plain} has no release tag vN.N.N, so there is no `latest`")
        ref = releases[max(releases)]
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref or "HEAD"):
        if name in refs:
            _fetch(store, url, refs[name])
            return git("rev-parse", f"{refs[name]}^{{commit}}", cwd=store, failure=f"{setting}: {name} is no commit")
    if not re.fullmatch(r"[0-9a-f]{7,40}", ref):
        raise GateError(f"{setting}: {plain} has no branch, tag or commit {ref or 'HEAD'}")
    if not _has(store, ref):
        heads_and_tags = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        try:
            _fetch(store, url, ref)
        except GateError:  # not every server hands out a commit that no ref points to
            git("fetch", "--quiet", "--", url, *heads_and_tags, cwd=store, failure=f"{setting}: {plain}: fetch failed")
    return git(
        "rev-parse", "--verify", f"{ref}^{{commit}}", cwd=store, failure=f"{setting}: {plain} has no commit {ref}"
    )


def checkout(url: str, commit: str, path: Path, *, keep_ignored: bool = False) -> None:
    """Make `path` a clean checkout of a commit that `resolve` returned; what else lies there is removed, also what git
    ignores unless `keep_ignored`."""
    store = _store(url)
    failure = f"{without_secrets(url)}: commit {commit[:12]} cannot be checked out to {path}"
    if (path / ".git").is_file():
        try:
            git("checkout", "--quiet", "--force", "--detach", commit, cwd=path, failure=failure)
            git("clean", "-ffdq" if keep_ignored else "-ffdxq", cwd=path, failure=failure)
            return
        except GateError:
            pass  # a worktree whose store is gone, or half-made by a run that was killed
    remove(path)
    git("worktree", "prune", cwd=store, failure=failure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        git("worktree", "add", "--quiet", "--force", "--detach", path, commit, cwd=store, failure=failure)
    except BaseException:
        remove(path)
        raise


def remove(path: Path) -> None:
    """Remove a folder, or move it aside if something in it is another user's. Raises GateError if neither works."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except PermissionError as error:  # a container wrote as root there; out of the way will do
        aside = path.with_name(f"{path.name}-of-another-user-{secrets.token_hex(4)}")
        try:
            path.rename(aside)
        except OSError:
            raise GateError(f"{error.filename} belongs to another user: remove {path} with sudo") from None


def _store(url: str) -> Path:
    path = state.CACHE / "git" / hashlib.sha256(url.encode()).hexdigest()[:16]
    if not (path / "HEAD").is_file():
        path.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", "--bare", path, failure="git init failed")
    return path


def _has(store: Path, commit: str) -> bool:
    try:
        git("cat-file", "-e", f"{commit}^{{tree}}", cwd=store, failure="absent")
    except GateError:
        return False
    return True


def _fetch(store: Path, url: str, commit: str) -> None:
    if not _has(store, commit):
        (store / "shallow.lock").unlink(missing_ok=True)  # of a fetch that was killed; this clone is ours alone
        failure = f"{without_secrets(url)}: fetching {commit[:12]} failed"
        git("fetch", "--quiet", "--no-tags", "--depth=1", "--", url, commit, cwd=store, failure=failure)
