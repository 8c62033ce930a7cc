"""Which of SAMCLI_TESTS an aws-sam-cli has, and on which machine they can run."""

import re
import shutil
import subprocess
from pathlib import Path

import docker

from gate import workspace
from gate.cli import GateError
from gate.containers import engine
from gate.containers.images import Image
from gate.verdict.rules import SHARED_TAG

# Measured on the real suite, two cores: pytest, two `sam`, the emulator and a function; what `sam build` copies and the
# functions' packages.
MEMORY_PER_JOB, DISK_PER_JOB = 0.8e9, 0.6e9
DURABLE = "tests/integration/**/test_*durable*.py"


def select(checkout: Path, tests: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the entries of SAMCLI_TESTS that name a file of the checkout, and a problem for each other one.

    A link out of the checkout is not a file of it; two names of one file count once.
    """
    present, problems = [], []
    named: dict[Path, str] = {}
    for test in tests:
        path = test.partition("::")[0]
        file = (checkout / path).resolve()
        if not file.is_file() or not file.is_relative_to(checkout.resolve()):
            problems.append(f"{path} does not exist in this aws-sam-cli: was it moved?")
        elif named.setdefault(file, path) != path:
            problems.append(f"{path} and {named[file]} in SAMCLI_TESTS are the same file: name it once")
        else:
            present.append(test)
    return present, problems


def uncovered(checkout: Path, tests: tuple[str, ...]) -> list[str]:
    """Return the durable test files of the checkout that SAMCLI_TESTS leaves out."""
    durable = {str(path.relative_to(checkout)) for path in checkout.glob(DURABLE)}
    return sorted(durable - {test.partition("::")[0] for test in tests})


def check_engine(client: docker.DockerClient, candidate: Image) -> None:
    """Raise GateError unless the candidate is what sam-cli would use now and this engine can run its functions."""
    if engine.image_id(client, candidate.reference) != candidate.image_id:
        raise GateError(f"{candidate.reference} no longer names the candidate: run `make image`. {SHARED_TAG}")
    if not candidate.platform.endswith("/amd64") and not _emulates_amd64():
        raise GateError(
            "the functions under test are x86_64 and this engine cannot run them: "
            "set up QEMU for amd64 (docker run --privileged --rm tonistiigi/binfmt --install amd64)"
        )


def warn_if_short(jobs: int) -> None:
    """Print what a run needs and what there is, where memory or disk may not be enough."""
    memory, disk = memory_available(), shutil.disk_usage(workspace.CACHE).free
    if memory < jobs * MEMORY_PER_JOB:
        print(
            f"warning: {jobs} shards need {_gb(jobs * MEMORY_PER_JOB)} of memory, {_gb(memory)} is available",
            flush=True,
        )
    if disk < jobs * DISK_PER_JOB:
        print(f"warning: {jobs} shards need {_gb(jobs * DISK_PER_JOB)} of disk, {_gb(disk)} is free", flush=True)


def memory_available() -> float:
    """Return the bytes of memory that are available; without /proc/meminfo (macOS) more than any machine has."""
    try:
        found = re.search(r"^MemAvailable: +([0-9]+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 1e15


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _emulates_amd64() -> bool:
    """Return whether the engine can run amd64 containers; yes if there is no buildx to ask."""
    asked = subprocess.run(["docker", "buildx", "inspect", "default"], capture_output=True, text=True)
    return asked.returncode != 0 or "linux/amd64" in asked.stdout
