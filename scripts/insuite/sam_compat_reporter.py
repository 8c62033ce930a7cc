"""A pytest plugin inside the suite: it reports as tests finish, and keeps a shard to itself.

It is loaded into aws-sam-cli's own pytest, so it uses the standard library and pytest's hooks alone. What it
reports is for the reader; the verdict rests on the JUnit file.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

REPORT = Path(os.environ["SAM_COMPAT_REPORT"])
WORKTREE = os.environ["SAM_COMPAT_WORKTREE"] + os.sep
IN_XDIST_WORKER = "PYTEST_XDIST_WORKER" in os.environ
RANK = {"passed": 0, "skipped": 1, "failed": 2, "rerun": 3}  # the last by pytest-rerunfailures: it will try again

unfinished: dict[str, dict[str, Any]] = {}


def tell(record: dict[str, Any]) -> None:
    if not IN_XDIST_WORKER:
        with REPORT.open("a", encoding="utf-8") as report:
            report.write(json.dumps(record) + "\n")


def pytest_configure() -> None:
    gate = os.getppid() if IN_XDIST_WORKER else int(os.environ["SAM_COMPAT_GATE"])  # it may be gone already
    threading.Thread(target=end_with_the_gate, args=(gate,), daemon=True).start()
    see_own_containers_only()


def pytest_collection_finish(session: Any) -> None:
    tell({"collected": [item.nodeid for item in session.items]})


def pytest_runtest_logstart(nodeid: str) -> None:
    tell({"started": nodeid})


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "setup":  # of another try, perhaps: older plugins report no teardown of the first
        unfinished.pop(report.nodeid, None)
    if report.outcome == "rerun":
        tell({"rerun": report.nodeid})
    test = unfinished.setdefault(report.nodeid, {"finished": report.nodeid, "outcome": "passed", "seconds": 0.0})
    test["seconds"] += report.duration
    test["outcome"] = max(test["outcome"], report.outcome, key=lambda outcome: RANK[outcome])
    if report.when == "teardown":
        del unfinished[report.nodeid]
        if test["outcome"] != "rerun":
            tell(test)


def end_with_the_gate(gate: int) -> None:
    """End this shard's processes when the gate is gone without having been able to do it (SIGKILL)."""
    while os.getppid() == gate:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def see_own_containers_only() -> None:
    """Let a listing of function containers hold only those that have something of this shard's worktree mounted.

    sam-cli's start-lambda tests list them by label and remove, when a class ends, all that came up since it began:
    those of the other shards, and of whoever else uses this engine.
    """
    try:
        from docker.models.containers import ContainerCollection
    except ImportError:
        return
    list_all = ContainerCollection.list

    def list_own(self: Any, *args: Any, **kwargs: Any) -> list[Any]:
        def own(container: Any) -> bool:
            mounts = container.attrs.get("Mounts") or []
            return any(str(mount.get("Source", "")).startswith(WORKTREE) for mount in mounts)

        listed = list_all(self, *args, **kwargs)
        by_label = "sam.cli.container.type" in str(kwargs.get("filters"))
        return [container for container in listed if own(container)] if by_label else listed

    setattr(ContainerCollection, "list", list_own)  # noqa: B010  (a type checker forbids to assign to a method)
