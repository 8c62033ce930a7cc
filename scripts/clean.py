"""make clean: remove checkouts, venvs and what was found, unless a run is working here. Standard library only."""

import fcntl
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return 0 if both folders are gone, 2 if a run is working here or something cannot be removed."""
    lock = ROOT / ".cache/lock"
    try:
        if lock.exists():
            with lock.open("w") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for folder in (ROOT / ".cache", ROOT / ".compat"):
            if folder.exists():
                shutil.rmtree(folder)
    except BlockingIOError:
        print("error: a run is working in this clone: wait for it, then clean", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}: a container may have written it; use sudo", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
