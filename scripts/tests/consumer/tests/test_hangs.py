import os
import subprocess
import sys
import time
from pathlib import Path

SLEEPER = "import time; print('asleep', flush=True); time.sleep(3600)"


def test_hangs(health):
    """Never ends, and leaves a process in the group, two outside of it, one of them with no environment, and its
    emulator."""
    for new_session, environ in ((False, None), (True, None), (True, {})):
        sleeper = subprocess.Popen(
            [sys.executable, "-c", SLEEPER], start_new_session=new_session, stdout=subprocess.PIPE, env=environ
        )
        sleeper.stdout.readline()
        with Path(os.environ["UV_TEST_FOLDER"], "sleepers").open("a") as pids:
            pids.write(f"{sleeper.pid}\n")
    Path(os.environ["UV_TEST_FOLDER"], "hanging").touch()
    time.sleep(3600)
