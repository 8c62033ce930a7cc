"""This machine and its engine: whether they can run the suite, and how many shards at once."""

import os
import re
import shutil
from pathlib import Path

import docker

from gate import workspace
from gate.cli import GateError
from gate.containers import engine
from gate.containers.images import Image
from gate.programs import call
from gate.settings import Settings
from gate.verdict.rules import SHARED_TAG

# Bytes that one shard needs, measured on the real suite: memory for pytest, two `sam`, the emulator and a function;
# disk for what `sam build` copies and for the functions' packages. Its worktree, 0.32 GB, may be in memory.
MEMORY, DISK, WORKTREE = 0.8e9, 0.6e9, 0.4e9


def check_engine(client: docker.DockerClient, candidate: Image) -> None:
    """Raise GateError unless the candidate is what sam-cli would use now and this engine can run its functions."""
    if engine.image_id(client, candidate.reference) != candidate.image_id:
        raise GateError(f"{candidate.reference} no longer names the candidate: run `make image`. {SHARED_TAG}")
    if not candidate.platform.endswith("/amd64") and not _emulates_amd64():
        raise GateError(
            "the functions under test are x86_64 and this engine cannot run them: "
            "set up QEMU for amd64 (docker run --privileged --rm tonistiigi/binfmt --install amd64)"
        )


def jobs(settings: Settings) -> int:
    """Return how many shards run at once: COMPAT_JOBS, or twice the cores, since a test waits half of its time, and no
    more than there is memory for."""
    by_memory = int(memory_available() // MEMORY) or 1
    return settings.compat_jobs or min(2 * (os.cpu_count() or 1), by_memory)


def slots(jobs: int) -> int:
    """Return how many run at once with the baseline's among them: half as many more, if there is memory for them."""
    return max(jobs, min(jobs + jobs // 2, int(memory_available() // (MEMORY + WORKTREE))))


def warn_if_short(settings: Settings) -> None:
    """Print what a run needs and what there is, where memory or disk may not be enough."""
    number, free = jobs(settings), shutil.disk_usage(workspace.CACHE).free
    for kind, needed, there in (("memory", MEMORY, memory_available()), ("disk", DISK, free)):
        if there < number * needed:
            needs = f"{number} shards need {number * needed / 1e9:.1f} GB of {kind}"
            print(f"warning: {needs}, {there / 1e9:.1f} GB is free", flush=True)


def memory_available() -> float:
    """Return the bytes of memory that are available; without /proc/meminfo (macOS) more than any machine has."""
    try:
        found = re.search(r"^MemAvailable: +([0-9]+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 1e15


def _emulates_amd64() -> bool:
    """Return whether the engine can run amd64 containers; yes if buildx cannot answer."""
    try:
        return "linux/amd64" in call(["docker", "buildx", "inspect", "default"], failure="buildx cannot answer")
    except GateError:
        return True
