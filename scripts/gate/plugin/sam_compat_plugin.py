"""A pytest plugin in the suite's own processes: standard library and pytest's hooks only."""

import json
import os
import time
from pathlib import Path

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
    about = {"when": report.when, "outcome": report.outcome, "seconds": report.duration}
    write(test=report.nodeid, message=message, **about)


def pytest_runtest_logfinish(nodeid):
    write(finished=nodeid)


def pytest_configure(config):
    """List only those function containers that mount something of this worktree.

    sam-cli's start-lambda tests remove all that came up since their class began: other shards' too.
    """
    try:
        from docker.models.containers import ContainerCollection
    except ImportError:
        return
    list_all = ContainerCollection.list

    def list_own(self, *args, **kwargs):
        listed = list_all(self, *args, **kwargs)
        if "sam.cli.container.type" not in str(kwargs.get("filters")):
            return listed
        return [each for each in listed if WORKTREE in str(each.attrs.get("Mounts"))]

    ContainerCollection.list = list_own
