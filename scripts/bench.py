"""make bench: the suite as pytest alone would run it against the suite in shards, on this machine.

In one process nothing is hurried: an emulator that cannot hear docker's SIGTERM is killed by docker after 10 s.
Prints wall seconds of the set-up and of each suite, and the CPU seconds of the whole machine meanwhile: what an engine
and its containers use is not this process's. Meaningful only where nothing else runs. In one process sam-cli's
start-lambda tests leave a container behind that breaks tests of the next file, also with a good image.
"""

import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import candidate as candidates
import compat
import engine
import image
import samcli
import state
import trial
from command import GateError, entry
from config import load
from suite import Shard

Found = TypeVar("Found")


def main() -> int:
    """Measure set-up, one process and shards, print a row of each, and return 0, whatever the tests say."""
    wall, cpu, _ = measured(lambda: (image.main(), samcli.main()))
    rows = [("set-up", wall, cpu, "")]
    config, client = load(), engine.connect()
    candidate = candidates.load(engine.platform(client), config)
    with state.lock():
        compat.check(client, candidate)
        checkout = samcli.installed(config)[0]
        for name, cut, patient in (("one process", one_process, True), ("shards", trial.cut, False)):
            work = functools.partial(
                trial.run,
                client,
                config,
                checkout,
                image_id=candidate.image_id,
                reference=candidate.reference,
                tests=config.samcli_tests,
                label=f"bench-{name.replace(' ', '-')}",
                cut=cut,
                patient=patient,
            )
            wall, cpu, tried = measured(work)
            rows.append((name, wall, cpu, outcome(tried)))
    print(f"\n{'':12} {'wall s':>8} {'CPU s':>8}  ({os.cpu_count()} cores)")
    for name, wall, cpu, told in rows:
        print(f"{name:12} {wall:8.0f} {cpu:8.0f}  {told}")
    print(f"shards / one process: {rows[2][1] / rows[1][1]:.2f}")
    return 0


def one_process(test_ids: Sequence[str], _jobs: int) -> list[Shard]:
    """Cut nothing: all tests are one shard."""
    return [Shard("all", tuple(test_ids))] if test_ids else []


def outcome(tried: trial.Trial) -> str:
    """Return in words how many tests passed, and what kept others from counting."""
    passed = sum(case.outcome == "passed" for case in tried.cases)
    return f"{passed} of {len(tried.cases)} passed" + "".join(f"; {problem}" for problem in tried.problems)


def measured(work: Callable[[], Found]) -> tuple[float, float, Found]:
    """Return wall seconds and the machine's busy CPU seconds while `work` ran, and what it returned."""
    wall, cpu = time.monotonic(), busy()
    found = work()
    return time.monotonic() - wall, busy() - cpu, found


def busy() -> float:
    """Return the seconds that all cores together have not been idle since boot (Linux; proc(5))."""
    try:
        user, nice, system, _idle, _waiting, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    except OSError:
        raise GateError("CPU seconds are read from /proc/stat, which only Linux has") from None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    entry(main)
