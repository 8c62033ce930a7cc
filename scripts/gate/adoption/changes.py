"""What an adoption changes in a host: computed in full first, then written whole or not at all."""

import contextlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from gate.adoption.copies import ADOPTED, SETTINGS, Copy, git
from gate.cli import GateError
from gate.programs import call

IGNORED = ("/.cache/", "/.compat/", "/.env")
VALUE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


@dataclass
class Changes:
    """Texts by file, files to remove, lines to report, and what is in the way."""

    writes: dict[str, str] = field(default_factory=dict)
    removes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)


def between(before: Copy | None, now: Copy, settings: dict[str, str]) -> Changes:
    """Return what turns a host that has the copy `before` into one that has `now`; a first copy gets `settings`."""
    todo, known = Changes(), before.files if before else {}
    for name, source in now.files.items():
        theirs = now.text(name)
        if source == SETTINGS and not before:
            theirs = _with_values(theirs, settings)
        base = before.text(name) if before and name in known else None
        if blocked := [path for path in (now.host / name).parents[: name.count("/")] if _is_no_folder(path)]:
            todo.obstacles.append(f"{blocked[-1].relative_to(now.host)} is not a folder")
        elif not os.path.lexists(now.host / name):
            if base is None:
                todo.writes[name] = theirs
            else:
                todo.notes.append(f"{name} was removed here: it is not copied again")
        elif (ours := _read(now.host / name)) != theirs:
            _update(todo, name, source, (ours, base, theirs))
    for name in sorted(known.keys() - now.files.keys()):
        if before and _read(now.host / name) == before.text(name):
            todo.removes.append(name)
        elif os.path.lexists(now.host / name):
            todo.notes.append(f"{name} is not part of the gate since {now.version}, but was edited here: remove it")
    _record(todo, now)
    todo.obstacles += _uncommitted(now.host, [*todo.writes, *todo.removes])
    return todo


def write(host: Path, todo: Changes) -> None:
    """Write and stage all changes. If that fails, put everything back as it was."""
    names = [*todo.writes, *todo.removes]
    before = {host / name: (host / name).read_bytes() if (host / name).exists() else None for name in names}
    made = {folder for path in before for folder in path.parents if not folder.exists()}
    try:
        for name, text in todo.writes.items():
            (host / name).parent.mkdir(parents=True, exist_ok=True)
            (host / name).write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                (host / name).chmod(0o755)
        for name in todo.removes:
            (host / name).unlink()
        add = ("--literal-pathspecs", "add", "--force", "--all", "--", *names)
        git(*add, cwd=host, failure=f"nothing was written: git add failed in {host}")
    except BaseException:
        for path in (path for path, content in before.items() if content is None):  # first: these take space
            path.unlink(missing_ok=True)
        for path, content in before.items():
            if content is not None and (not path.exists() or path.read_bytes() != content):
                path.write_bytes(content)
        raise
    finally:
        for folder in sorted(made | {(host / name).parent for name in todo.removes}, reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _update(todo: Changes, name: str, source: str, texts: tuple[str | None, str | None, str]) -> None:
    """Add what becomes of a file that is in the host already: its text there, as copied before, as copied now."""
    ours, base, theirs = texts
    if ours is None or base is None:
        todo.obstacles.append(f"{name} exists already" if base is None else f"{name} is not a text file")
        return
    if source == SETTINGS:
        base, theirs = _settings(ours, base, theirs, todo.notes)
    merged = theirs if ours == base else _merge(ours, base, theirs)
    if merged is None:
        todo.obstacles.append(f"{name} was edited here, and the template changed the same lines")
    elif merged != ours:
        todo.writes[name] = merged


def _settings(ours: str, base: str, theirs: str, notes: list[str]) -> tuple[str, str]:
    """Return `base` and `theirs` with the host's values, so that a merge keeps each value that was edited there."""
    own, default, new = (dict(VALUE.findall(text)) for text in (ours, base, theirs))
    edited = {name: value for name, value in own.items() if name in default and value != default[name]}
    for name, value in new.items():
        if name not in default | own:
            notes.append(f"new setting {name}={value}")
        elif name in edited and value not in (default.get(name), edited[name]):
            notes.append(f"{name} keeps the value it has here; the template's default is now {name}={value}")
    dropped = [name for name in own if name in default.keys() - new]
    notes += [f"{name} is not a setting of this version: {name}={own[name]} was dropped" for name in dropped]
    return _with_values(base, own), _with_values(theirs, edited)


def _with_values(text: str, values: dict[str, str]) -> str:
    return VALUE.sub(lambda line: f"{line[1]}={values.get(line[1], line[2])}", text)


def _merge(ours: str, base: str, theirs: str) -> str | None:
    """Return the three-way merge of a file, None if it has conflicts."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for file, text in zip(files, (ours, base, theirs), strict=True):
            file.write_text(text, encoding="utf-8")
        try:
            return call(["git", "merge-file", "-p", "-q", *files], failure="conflict")
        except GateError:
            return None


def _record(todo: Changes, now: Copy) -> None:
    """Add the host's .gitignore, as far as it lacks our lines, and the record of this adoption."""
    ignore, adopted = now.within(".gitignore"), now.within(ADOPTED)
    ours = _read(now.host / ignore)
    if ours is None and os.path.lexists(now.host / ignore):
        todo.obstacles.append(f"{ignore} is not a text file")
    elif missing := [line for line in IGNORED if line not in (ours or "").splitlines()]:
        todo.writes[ignore] = "\n".join([*(ours or "").splitlines(), *missing, ""])
    record = {"version": now.version, "commit": now.commit, "files": now.files}
    if (text := json.dumps(record, indent=2) + "\n") != _read(now.host / adopted):
        todo.writes[adopted] = text


def _uncommitted(host: Path, names: list[str]) -> list[str]:
    status = ("--literal-pathspecs", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--")
    lines = git(*status, *names, cwd=host, failure=f"git status failed in {host}").split("\0") if names else []
    return [f"{line[3:]} has changes that are not committed" for line in lines if line]


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _read(path: Path) -> str | None:
    """Return the text of a file, None for anything else. Line endings are git's, \\n."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
