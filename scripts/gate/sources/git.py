"""Git sources: which commit a ref names, and its files. Git itself does the work."""

import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

from gate import workspace
from gate.cli import GateError
from gate.programs import call, stream
from gate.text import without_secrets

RELEASE = re.compile(r"refs/tags/v(\d+)\.(\d+)\.(\d+)")
# Variables that configure git's network access. Any other one of git's could name another repository (inside a hook),
# hide an edit (GIT_LITERAL_PATHSPECS) or add objects.
KEPT = re.compile(
    "GIT_(CONFIG|SSL|SSH|ASKPASS|PROXY|HTTP|CURL|TRACE|PROTOCOL|ALLOW_PROTOCOL|EXEC_PATH|CEILING|DISCOVERY)"
)
# Ignore the user's configuration: what is tested is what was committed, and git prints what it was asked for.
PLAIN = (
    "-c", "core.autocrlf=false", "-c", f"core.attributesFile={os.devnull}", "-c", f"core.hooksPath={os.devnull}",
    "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "safe.bareRepository=all",
)  # fmt: skip


def git(*arguments: str | Path, failure: str, cwd: Path | None = None, index: Path | None = None) -> str:
    """Run git and return its stdout, stripped. Raises GateError with `failure` and git's last lines."""
    return call(["git", *PLAIN, *arguments], failure=failure, cwd=cwd, env=environment(index)).strip()


def succeeds(*arguments: str | Path, cwd: Path) -> bool:
    """Return whether git exits with 0, for questions that it answers by its exit code."""
    try:
        git(*arguments, failure="no", cwd=cwd)
    except GateError:
        return False
    return True


def environment(index: Path | None = None) -> dict[str, str]:
    """Return the environment of git: the caller's, without what would make it read other files than it is asked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or KEPT.match(name)}
    # Replacements (`git replace`) are not what was committed.
    ours = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ATTR_NOSYSTEM": "1", "LC_ALL": "C"}
    return kept | ours | ({"GIT_INDEX_FILE": str(index)} if index else {})


def listing(url: str, *, setting: str) -> dict[str, str]:
    """Return the refs at a URL with their commits. Raises GateError that names `setting` if it cannot be reached."""
    failure = f"{setting}: {without_secrets(url)} cannot be reached as a git repository"
    lines = git("ls-remote", "--", url, failure=failure).splitlines()
    return {name: commit for commit, name in (line.split("\t") for line in lines)}


def expand(word: str, refs: dict[str, str], *, setting: str) -> list[str]:
    """Return the refs that a word means: `latest` is the newest release tag vN.N.N, `latest:N` the newest release of
    each of the N newest minor versions, newest first; any other word is itself."""
    if word != "latest" and not word.startswith("latest:"):
        return [word]
    releases = sorted(tuple(map(int, m.groups())) for name in refs if (m := RELEASE.fullmatch(name)))
    newest = {release[:2]: release for release in releases}  # the last of each minor version
    found = [f"v{'.'.join(map(str, release))}" for release in reversed(newest.values())]
    if not found:
        raise GateError(f"{setting}: there is no release tag vN.N.N, so {word} names nothing")
    return found[: int(word.partition(":")[2] or 1)]


def resolve(url: str, ref: str, refs: dict[str, str], *, setting: str) -> str:
    """Return the full commit that a branch, a tag, a commit or "" (the remote's HEAD) names, fetched into the cache.

    Raises GateError that names `setting` if `url`, whose refs are given, has no such ref.
    """
    store, plain = _store(url), without_secrets(url)
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref or "HEAD"):
        if name in refs:
            _fetch(store, url, refs[name])
            failure = f"{setting}: {name} is not a commit"
            return git("rev-parse", f"{refs[name]}^{{commit}}", cwd=store, failure=failure)
    if not re.fullmatch(r"[0-9a-f]{7,40}", ref):
        raise GateError(f"{setting}: {plain} has no branch, tag or commit {ref or 'HEAD'}")
    if not _has(store, ref):
        try:
            _fetch(store, url, ref)
        except GateError:  # not every server hands out a commit that no ref points to
            everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            _fetch(store, url, *everything)
    failure = f"{setting}: {plain} has no commit {ref}"
    return git("rev-parse", "--verify", f"{ref}^{{commit}}", cwd=store, failure=failure)


def export(url: str, commit: str, path: Path) -> None:
    """Make `path` hold the files of a commit that `resolve` returned, and nothing else: no .git, no earlier edits.

    A test that runs git there finds no repository, so it cannot change what a later run gets.
    """
    remove(path)
    path.mkdir(parents=True)
    store, index = _store(url), path.with_name(f"{path.name}.index")
    failure = f"{without_secrets(url)}: commit {commit[:12]} cannot be written to {path}"
    try:
        git("read-tree", commit, cwd=store, index=index, failure=failure)
        git(f"--work-tree={path}", "checkout-index", "--all", cwd=store, index=index, failure=failure)
    except BaseException:
        remove(path)
        raise
    finally:
        index.unlink(missing_ok=True)


def worktree(url: str, commit: str, path: Path) -> None:
    """Make `path` a new worktree of a commit that `resolve` returned, for a build that asks git for its version."""
    store, failure = _store(url), f"{without_secrets(url)}: commit {commit[:12]} cannot be checked out to {path}"
    remove(path)
    git("worktree", "prune", cwd=store, failure=failure)
    path.parent.mkdir(parents=True, exist_ok=True)
    git("worktree", "add", "--quiet", "--force", "--detach", path, commit, cwd=store, failure=failure)


def remove(path: Path) -> None:
    """Remove a folder, or move it aside if something in it is another user's. Raises GateError if neither works."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except PermissionError as error:  # a container wrote as root there
        try:
            path.rename(path.with_name(f"{path.name}-of-another-user-{secrets.token_hex(4)}"))
        except OSError:
            raise GateError(f"{error.filename} belongs to another user: remove {path} with sudo") from None


def _store(url: str) -> Path:
    path = workspace.store(hashlib.sha256(url.encode()).hexdigest()[:16])
    if not (path / "HEAD").is_file():
        path.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", "--bare", path, failure="git init failed")
    return path


def _has(store: Path, commit: str) -> bool:
    return succeeds("cat-file", "-e", f"{commit}^{{tree}}", cwd=store)


def _fetch(store: Path, url: str, *what: str) -> None:
    if not _has(store, what[0]):
        (store / "shallow.lock").unlink(missing_ok=True)  # of a fetch that was killed; this clone is locked
        depth = ["--depth=1"] if len(what) == 1 else []
        stream(
            ["git", *PLAIN, "fetch", "--no-tags", *depth, "--", url, *what],
            failure=f"{without_secrets(url)}: fetching {what[0][:12]} failed",
            log=workspace.FETCH_LOG, cwd=store, env=environment(),
        )  # fmt: skip
