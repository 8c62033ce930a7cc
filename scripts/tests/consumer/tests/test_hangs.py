import os
import subprocess
import sys
import time
from pathlib import Path


def test_hangs(health):
    """Never ends; leaves its emulator, and a process in its group."""
    folder = Path(os.environ["UV_TEST_FOLDER"])
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)"]
    )
    (folder / "sleeper").write_text(str(sleeper.pid))
    (folder / "hanging").touch()
    time.sleep(3600)
