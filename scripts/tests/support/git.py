"""Git repositories of a test: commits by some committer, whatever the user's configuration is."""

import os
import subprocess
from pathlib import Path


def git(*arguments: str, cwd: Path) -> str:
    """Run git as some committer, without the user's configuration; return its stdout."""
    environ = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    command = [
        "git",
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.com",
        *arguments,
    ]
    return subprocess.check_output(
        command, cwd=cwd, env=environ, text=True
    ).strip()


def commit_all(folder: Path, message: str = "all") -> str:
    """Commit everything in a folder and return the commit. The first time, make a repository."""
    if not (folder / ".git").exists():
        git("init", "--quiet", "--initial-branch=develop", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)
    return git("rev-parse", "HEAD", cwd=folder)
