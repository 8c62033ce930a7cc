"""Compare the suite in one process, as pytest alone would run it, with the suite in shards.

In one process nothing is made faster: `samdev` checks its imports, files are on the disk, and docker waits its ten
seconds for an emulator that ignores SIGTERM. Prints wall seconds and the CPU seconds of the whole machine meanwhile:
what an engine and its containers use is not this process's. Meaningful only where nothing else runs.
"""

import dataclasses
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import workspace
from gate.cli import run_main
from gate.containers import engine
from gate.settings import load
from gate.sources import samcli
from gate.suite import runner
from gate.verdict import candidate


def main() -> int:
    """Run both ways on what `make image samcli` left, print a row of each, and return 0, whatever the tests say."""
    settings, client = load(), engine.connect()
    rows = []
    with workspace.lock():
        tested = candidate.load(engine.platform(client), settings)
        checkout = samcli.installed(settings)[0]
        alike = dataclasses.replace(settings, compat_reruns=0, compat_baseline="", compat_timeout=3600)
        for name, alone in (("shards", False), ("one process", True)):
            wall, cpu = time.monotonic(), busy()
            found = runner.run(client, alike, checkout, tested, hurry=not alone)
            passed = (
                f"{found.count()['passed']} of {len(found.tests)} passed; {'; '.join(found.problems) or 'no problem'}"
            )
            rows.append((name, time.monotonic() - wall, busy() - cpu, passed))
    print(f"\n{'':12} {'wall s':>8} {'CPU s':>8}  ({os.cpu_count()} cores)")
    for name, wall, cpu, passed in rows:
        print(f"{name:12} {wall:8.0f} {cpu:8.0f}  {passed}")
    print(f"shards / one process: {rows[0][1] / rows[1][1]:.3f}")
    return 0


def busy() -> float:
    """Return the seconds that all cores together have not been idle since boot (Linux; proc(5))."""
    user, nice, system, _idle, _waiting, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run_main(main)
