"""A pytest plugin in each shard: records tests, and hides other shards' function containers.

It also records what can break aws-sam-cli besides the emulator: versions of its own dependencies,
and of the SDK that `sam build` installed into the functions under test.
"""

import hashlib
import importlib.metadata
import json
import os
import time
from pathlib import Path

from docker.models.containers import ContainerCollection

RECORDS = Path(os.environ["SAM_COMPAT_RECORDS"])
WORKTREE = os.environ["SAM_COMPAT_WORKTREE"] + os.sep
DEPENDENCIES = ("aws-lambda-builders", "boto3", "docker", "pip", "pytest")
BUILT = (
    "tests/integration/testdata/*/.aws-sam/build/*/*durable*.dist-info/RECORD"
)
functions_packages = {}


def write(**record):
    record["at"] = time.time()
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def pytest_collection_finish(session):
    write(collected=[item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid):
    write(started=nodeid)


def pytest_runtest_logreport(report):
    """Also called for each subtest, with its test's id (FACTS.md#subtests)."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else str(report.longrepr or "")
    # Of a skip.
    if isinstance(report.longrepr, tuple):
        message = report.longrepr[2].removeprefix("Skipped: ")
    write(
        test=report.nodeid,
        message=message,
        when=report.when,
        outcome=report.outcome,
    )
    if report.when == "call":
        write_functions_packages()


def write_functions_packages():
    """Once, while they are there: a class removes what it built in its tear-down.

    A wheel's RECORD has the hashes of all of its files, so its own hash is that of the package.
    """
    if functions_packages:
        return
    for record in Path(WORKTREE).glob(BUILT):
        package = record.parent.name.removesuffix(".dist-info")
        name, _, version = package.partition("-")
        digest = hashlib.sha256(record.read_bytes()).hexdigest()
        functions_packages[name.replace("_", "-")] = [version, digest]
    if functions_packages:
        write(functions_packages=functions_packages)


def pytest_runtest_logfinish(nodeid):
    write(finished=nodeid)


def list_own(self, *args, **kwargs):
    """Of function containers list only those that mount something of this worktree.

    sam-cli's start-lambda tests remove all that came up since their class began: other shards' too.
    """
    listed = list_all(self, *args, **kwargs)
    if "sam.cli.container.type" not in str(kwargs.get("filters")):
        return listed
    return [
        each for each in listed if WORKTREE in str(each.attrs.get("Mounts"))
    ]


def versions():
    found = {}
    for name in DEPENDENCIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# Before aws-sam-cli's own conftest is loaded, which can be broken.
write(versions=versions())
list_all = ContainerCollection.list
ContainerCollection.list = list_own
