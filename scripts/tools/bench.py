"""Compare the suite as plain pytest runs it with compat.py, after `make image samcli`.

Prints wall seconds, and CPU seconds of the whole machine: what an engine and its containers use is
not this process's. Meaningful only where nothing else runs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import engine, images, samcli, workspace
from gate.cli import run_main
from gate.settings import load


def main() -> int:
    settings, client = load(), engine.connect()
    candidate, _ = images.load_candidate(engine.platform(client))
    home = samcli.install_all(settings)[0].home
    ours = {
        "PATH": f"{home}/venv/bin{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_DEV": "1",
        "FORCE_RUN_DOCKER_TEST": "1",
        "DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": candidate.reference.rpartition(":")[2],
    }
    plain = [f"{home}/venv/bin/python", "-m", "pytest", *settings.samcli_tests]
    rows = [
        measure(plain, home / "src", engine.environment() | ours),
        measure([sys.executable, "scripts/compat.py"], workspace.ROOT, {}),
    ]
    print(f"\n{'':10}{'exit':>6}{'wall s':>8}{'CPU s':>8}  ({os.cpu_count()} cores)")
    for name, (code, wall, cpu) in zip(("pytest", "compat.py"), rows, strict=True):
        print(f"{name:10}{code:6}{wall:8.0f}{cpu:8.0f}")
    return 0


def measure(command: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, float, float]:
    """Run a command; return its exit code, wall seconds and CPU seconds."""
    began, before = time.monotonic(), busy()
    code = subprocess.run(command, cwd=cwd, env=os.environ | env).returncode
    return code, time.monotonic() - began, busy() - before


def busy() -> float:
    """Return the seconds that all cores together have worked since boot (Linux, proc(5))."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run_main(main)
