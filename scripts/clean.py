"""make clean: remove checkouts, venvs and results, unless a run is working in this clone. Standard library only."""

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IN_MEMORY = Path("/dev/shm", f"sam-compat-{hashlib.sha256(bytes(ROOT)).hexdigest()[:8]}")  # see workspace.in_memory


def main() -> int:
    """Return 0 if all folders are gone, 2 if a run is working here or something cannot be removed."""
    lock = ROOT / ".cache/lock"
    folder = lock.parent
    try:
        if lock.exists():
            fcntl.flock(os.open(lock, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
        for folder in (ROOT / ".compat", *IN_MEMORY.parent.glob(f"{IN_MEMORY.name}*"), lock.parent):  # the lock last
            if os.path.lexists(folder):
                shutil.rmtree(folder)
    except BlockingIOError:
        message = "a run is working in this clone: wait for it, then clean"
    except PermissionError as error:
        message = f"{error.filename}: permission denied: a container may have written it; use sudo"
    except OSError as error:
        message = f"{error.filename or folder} cannot be removed: {error.strerror or error}"
    else:
        return 0
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
