"""Trees of files: a fingerprint, and a search for a name."""

import hashlib
import os
from pathlib import Path


def fingerprint(home: Path) -> str:
    """Return a hash of name, size and change time of every file in src/ and venv/. No program can set a change time."""
    lines = []
    for top in (home / "src", home / "venv"):
        for folder, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(files):
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118  (40,000 files: pathlib takes twice as long)
                lines.append(f"{folder}/{name} {found.st_size} {found.st_ctime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def names(folder: Path, repository: str) -> bool:
    """Return whether a Python file below a folder names the emulator's repository."""
    wanted = repository.encode()
    return any(wanted in file.read_bytes() for file in sorted(folder.rglob("*.py")) if file.is_file())
