"""A pytest plugin in each shard: records tests, and hides other shards' function containers."""

import json
import os
import time
from pathlib import Path

from docker.models.containers import ContainerCollection

RECORDS = Path(os.environ["SAM_COMPAT_RECORDS"])
WORKTREE = os.environ["SAM_COMPAT_WORKTREE"] + os.sep


def write(**record):
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record | {"at": time.time()}) + "\n")


def pytest_collection_finish(session):
    write(collected=[item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid):
    write(started=nodeid)


def pytest_runtest_logreport(report):
    """Also called for each subtest, with its test's id (fact 7)."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else str(report.longrepr or "")
    if isinstance(report.longrepr, tuple):  # of a skip
        message = report.longrepr[2].removeprefix("Skipped: ")
    write(test=report.nodeid, message=message, when=report.when, outcome=report.outcome)


def pytest_runtest_logfinish(nodeid):
    write(finished=nodeid)


def list_own(self, *args, **kwargs):
    """Of function containers list only those that mount something of this worktree.

    sam-cli's start-lambda tests remove all that came up since their class began: other shards' too.
    """
    listed = list_all(self, *args, **kwargs)
    if "sam.cli.container.type" not in str(kwargs.get("filters")):
        return listed
    return [each for each in listed if WORKTREE in str(each.attrs.get("Mounts"))]


list_all, ContainerCollection.list = ContainerCollection.list, list_own
