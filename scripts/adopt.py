"""make adopt INTO=../repo: copy the gate into another git repository, or update it there."""

import os
import re
from pathlib import Path

from gate.adoption import changes, copies, host, report
from gate.adoption.copies import git
from gate.cli import GateError, run_main
from gate.workspace import ROOT


def main() -> int:
    """Compute every change first, then write all of them or none; return 0."""
    root, folder = _repository(), _folder()
    before = copies.recorded(root, folder)
    found = host.find(root, set(before.files if before else ()))
    if before:
        folder = before.folder
    elif folder is None:
        folder = found.folder()
    now = copies.newest(root, folder, before)
    settings = host.settings(found, now.folder)
    todo = changes.between(before, now, {name: value for name, (value, _) in settings.items()})
    if obstacles := list(dict.fromkeys(todo.obstacles)):
        raise GateError(f"nothing was written: {len(obstacles)} files are in the way in {root}", obstacles)
    changes.write(root, todo)
    print(*report.adopted(before, now, todo), *report.warnings(now, found), sep="\n")
    if not before:
        print(*report.first_steps(now, found, settings), sep="\n")
    return 0


def _repository() -> Path:
    """Return the top of the git repository that INTO names."""
    into = os.environ.get("INTO", "")
    if not into:
        raise GateError("INTO is not set: name the repository to copy to, e.g. make adopt INTO=../repo")
    named = Path(into).expanduser() if into.startswith("~/") else Path(into)
    path = Path(os.environ.get("CALLER_PWD") or ROOT, named).resolve()
    if not path.is_dir():
        raise GateError(f"INTO={into}: {path} is not a folder")
    top = _top(path, f"INTO={into}: {path} is not in a git repository: run git init there, or name another folder")
    if _top(ROOT, "the template's history is missing: run make adopt in a git clone of it") != ROOT:
        raise GateError(f"{ROOT} is not the top of a git clone of the template: run make adopt in one")
    if (top / "scripts/adopt.py").exists():
        raise GateError(f"INTO={into}: {top} is the template itself: name the emulator's repository")
    if path != top:
        raise GateError(f"INTO={into}: {path} is a folder in a repository: use INTO={top}")
    return top


def _top(path: Path, failure: str) -> Path:
    return Path(git("rev-parse", "--show-toplevel", cwd=path, failure=failure).removesuffix("\n"))


def _folder() -> str | None:
    """Return FOLDER, the gate's folder in the repository, "" for its top (.); None if it is not set."""
    folder = os.environ.get("FOLDER", "").rstrip("/")
    if folder == ".":
        return ""
    if folder and not re.fullmatch(r"(?!\.\.?(/|$))[\w.-]+(/(?!\.\.?(/|$))[\w.-]+)*", folder, re.ASCII):
        raise GateError(f"FOLDER={folder!r}: must be a relative path of letters, digits, and _ . -")
    return folder or None


if __name__ == "__main__":
    run_main(main)
