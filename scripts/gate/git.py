"""Git sources: which commit a ref names, and its files."""

import contextlib
import hashlib
import os
import re
import shutil
import threading
from pathlib import Path

from gate import workspace
from gate.cli import GateError, call, stream, without_secrets
from gate.settings import local

CHECKOUT = threading.Lock()  # `prune` would remove a worktree that is being added
RELEASE = re.compile(r"^refs/tags/v(\d+)\.(\d+)\.(\d+)$", re.MULTILINE)
# What is tested is what was committed: without the user's hooks and line endings.
PLAIN = ("git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false")
COMPLETE = "--depth=2147483647"  # what an earlier shallow fetch left out too
EVERYTHING = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def git(*arguments: str | Path, failure: str, cwd: Path | None = None) -> str:
    return call([*PLAIN, *arguments], failure=failure, cwd=cwd)


def source(value: str) -> str:
    """Return a setting's git source: a URL as it is, a path made absolute."""
    return str(local(value)) if local(value).exists() else value


def listing(url: str, *, setting: str) -> dict[str, str]:
    failure = f"{setting}: {without_secrets(url)} cannot be reached as a git repository"
    lines = git("ls-remote", "--", url, failure=failure).splitlines()
    return {name: commit for commit, name in map(str.split, lines)}


def expand(word: str, refs: dict[str, str], *, setting: str) -> list[str]:
    """Return a word, or what `latest:N` names: the last release of the N newest minor versions."""
    asked = re.fullmatch(r"latest(?::([1-9][0-9]*))?", word)
    if not asked:
        return [word]
    releases = sorted(tuple(map(int, parts)) for parts in RELEASE.findall("\n".join(refs)))
    newest = {release[:2]: release for release in releases}  # the last of each minor version
    if not newest:
        raise GateError(f"{setting}: there is no release tag vN.N.N, so {word} names nothing")
    found = ["v{}.{}.{}".format(*release) for release in reversed(newest.values())]
    return found[: int(asked[1] or 1)]


def resolve(url: str, ref: str, refs: dict[str, str], *, setting: str) -> str:
    """Return the full commit that a branch, tag, commit or "" (HEAD) names, and fetch it."""
    missing = f"{setting}: {without_secrets(url)} has no branch, tag or commit {ref or 'HEAD'}"
    names = (f"refs/tags/{ref}", f"refs/heads/{ref}", ref or "HEAD")
    commit = next((refs[name] for name in names if name in refs), ref)
    if not re.fullmatch("[0-9a-f]{7,64}", commit):
        raise GateError(missing)
    store = _store(url)
    # It may be here; else it alone is fetched; else all, if it is short or no ref points to it.
    for what in ([], ["--depth=1", "--", url, commit], [COMPLETE, "--", url, *EVERYTHING]):
        with contextlib.suppress(GateError):
            if what:
                stream([*PLAIN, store, "fetch", "--quiet", "--no-tags", *what], failure=missing)
            return git(store, "rev-parse", "--verify", f"{commit}^{{commit}}", failure=missing)
    raise GateError(f"{missing}, or it cannot be fetched (see above)")


def worktree(url: str, commit: str, path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    store = _store(url)
    failure = f"{without_secrets(url)}: {commit[:12]} cannot be checked out to {path}"
    with CHECKOUT:
        git(store, "worktree", "prune", failure=failure)
        git(store, "worktree", "add", "--quiet", "--detach", path, commit, failure=failure)
    return path


def _store(url: str) -> str:
    """Return git's option for the bare repository of what was fetched from a URL."""
    store = workspace.CACHE / "git" / hashlib.sha256(url.encode()).hexdigest()[:16]
    if not (store / "HEAD").exists():
        git("init", "--quiet", "--bare", store, failure="git init failed")
    return f"--git-dir={store}"
