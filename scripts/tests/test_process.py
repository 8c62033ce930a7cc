"""The shards of a run: how their pytest processes end, when they begin, and which ports they have."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate.containers import cleanup
from gate.suite import environment, process
from gate.suite.process import Ending
from gate.workspace import PLUGIN, ROOT

SCRIPTS = str(ROOT / "scripts")
PORTS = f"""
import sys
sys.path.insert(0, {SCRIPTS!r})
from gate.suite import environment
print(*(environment.free_port() for _ in range(400)), flush=True)
sys.stdin.read()
"""
THREADS = f"""
import sys, threading
sys.path.insert(0, {SCRIPTS!r})
from gate.containers import cleanup
def start():
    while not over.is_set():
        threading.Thread(target=int).start()
over = threading.Event()
threads = [threading.Thread(target=start) for _ in range(3)]
for thread in threads: thread.start()
try:
    for _ in range(300): cleanup.kill_children()
finally:
    over.set()
"""


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "worktree").mkdir()
    return tmp_path / "worktree"


def run(worktree: Path, tests: str, seconds: float) -> Ending:
    """Run pytest on a file with these tests and return how it ended."""
    (worktree / "test_it.py").write_text(tests)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(worktree.with_name("home")),
        "TMPDIR": str(worktree.with_name("tmp")),
        "PYTHONPATH": str(PLUGIN),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SAM_COMPAT_WORKTREE": str(worktree),
        "SAM_COMPAT_GATE": str(os.getpid()),
        "SAM_COMPAT_REPORT": str(worktree.with_name("report")),
        cleanup.MARK: "none-1/",
    }
    command = [sys.executable, "-m", "pytest", "-p", "sam_compat_plugin", "test_it.py", "-p", "no:cacheprovider"]
    deadline = time.monotonic() + seconds

    def over() -> bool:
        return time.monotonic() > deadline

    return process.run(command, environ, worktree.with_name("log"), over, lambda record: None)


@pytest.mark.parametrize(
    ("tests", "how"),
    [
        ("import time\ndef test_a(): time.sleep(60)\n", "did not end in time, it was in test_it.py::test_a"),
        ("import os\ndef test_a(): os.kill(os.getpid(), 9)\n", "ended by signal 9, it was in test_it.py::test_a"),
        ("this is not Python", "ended with pytest's exit code 2: interrupted"),
        ("def test_a(): assert 0\n", "ended with pytest's exit code 1: tests failed"),
    ],
)
def test_ending_is_described(worktree: Path, tests: str, how: str) -> None:
    assert str(run(worktree, tests, seconds=4 if "sleep" in tests else 60)) == how


def test_threads_that_end_meanwhile_do_not_end_the_clean_up() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_ports_of_two_runs_differ() -> None:
    """Also while nothing listens there yet: an emulator may start much later."""
    other = subprocess.Popen([sys.executable, "-c", PORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    theirs = {int(port) for port in other.stdout.readline().split()}
    ours = {environment.free_port() for _ in range(400)}
    for claim in environment.held:
        claim.close()
    environment.held.clear()
    other.communicate()
    assert (len(theirs), len(ours), theirs & ours) == (400, 400, set())
