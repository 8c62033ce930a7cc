"""Meets the run of another clone: both have their emulators up at the same time."""

import os
import time
from pathlib import Path


def test_meets(health):
    folder = Path(os.environ["UV_TEST_FOLDER"])
    here = folder / f"met-{os.environ['DURABLE_EXECUTIONS_EMULATOR_PORT']}"
    here.write_text(f"{os.environ['DURABLE_EXECUTIONS_CONTAINER_NAME']} {Path.cwd()}")
    deadline = time.monotonic() + 300
    while len(list(folder.glob("met-*"))) < 2:
        assert time.monotonic() < deadline, "the other one did not come"
        time.sleep(0.1)
    assert health == "ok\n"
