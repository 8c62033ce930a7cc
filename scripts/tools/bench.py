"""Compare the suite as plain pytest runs it with compat.py, after `make image samcli`.

Prints wall seconds, and CPU seconds of the whole machine: what an engine and its containers use is
not this process's. Meaningful only where nothing else runs.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import engine, images, samcli, workspace
from gate.cli import run_main
from gate.settings import load

# The first columns of /proc/stat. Those that follow are no work (steal), or in these (guest).
COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
WAITING = ("idle", "iowait")


@dataclass(frozen=True)
class Measured:
    """How a command ended, and the seconds that it took."""

    exit_code: int
    wall: float
    cpu: float


def main() -> int:
    """Run the suite both ways and print one line for each."""
    settings = load()
    client = engine.connect()
    candidate = images.load_candidate(engine.platform(client)).image
    checkout = samcli.install_all(settings)[0]
    venv = checkout.home / "venv/bin"
    tag = candidate.reference.rpartition(":")[2]
    environ = engine.docker_environment() | {
        "PATH": f"{venv}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_DEV": "1",
        "FORCE_RUN_DOCKER_TEST": "1",
        "DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": tag,
    }
    plain = measure(
        [f"{venv}/python", "-m", "pytest", *settings.samcli_tests],
        checkout.home / "src",
        environ,
    )
    gate = measure([sys.executable, "scripts/compat.py"], workspace.ROOT, {})
    print(f"\n{'':10}{'exit':>6}{'wall s':>8}{'CPU s':>8}", end="")
    print(f"  ({os.cpu_count()} cores)")
    print(line("pytest", plain))
    print(line("compat.py", gate))
    return 0


def measure(command: list[str], cwd: Path, environ: dict[str, str]) -> Measured:
    """Run a command to its end."""
    began = time.monotonic()
    worked_before = cpu_seconds()
    exit_code = subprocess.call(command, cwd=cwd, env=os.environ | environ)
    return Measured(
        exit_code=exit_code,
        wall=time.monotonic() - began,
        cpu=cpu_seconds() - worked_before,
    )


def cpu_seconds() -> float:
    """Return the seconds that all cores together have worked since boot (Linux)."""
    all_cores = Path("/proc/stat").read_text().splitlines()[0]
    ticks = map(int, all_cores.removeprefix("cpu").split())
    working = 0
    for column, number in zip(COLUMNS, ticks, strict=False):
        if column not in WAITING:
            working += number
    return working / os.sysconf("SC_CLK_TCK")


def line(name: str, measured: Measured) -> str:
    """Return a line of the table."""
    seconds = f"{measured.wall:8.0f}{measured.cpu:8.0f}"
    return f"{name:10}{measured.exit_code:6}{seconds}"


if __name__ == "__main__":
    run_main(main)
