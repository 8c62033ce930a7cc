"""A pytest plugin inside the suite: it reports as tests run, and keeps a shard to itself.

It is loaded into aws-sam-cli's own pytest, so it uses the standard library and pytest's hooks alone.
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
RANK = {"passed": 0, "skipped": 1, "failed": 2}

running: dict[str, dict[str, Any]] = {}


def write(**record: Any) -> None:
    if not IN_XDIST_WORKER:
        with REPORT.open("a", encoding="utf-8") as report:
            report.write(json.dumps(record) + "\n")


def pytest_configure(config: Any) -> None:
    if hasattr(config.option, "reruns"):
        config.option.reruns = 0  # pytest-rerunfailures; the gate retries, in a process of its own
    gate = os.getppid() if IN_XDIST_WORKER else int(os.environ["SAM_COMPAT_GATE"])  # it may be gone already
    threading.Thread(target=end_with_the_gate, args=(gate,), daemon=True).start()
    list_own_containers_only()


def pytest_deselected(items: list[Any]) -> None:
    write(deselected=[item.nodeid for item in items])


def pytest_collection_finish(session: Any) -> None:
    for item in session.items:  # not at its set-up: pytest's own skips a marked test before that
        item.user_properties.append(("nodeid", item.nodeid))
    write(collected=[item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid: str) -> None:
    running[nodeid] = {"finished": nodeid, "outcome": "passed", "seconds": 0.0, "began": time.time()}
    write(started=nodeid)


def pytest_runtest_call(item: Any) -> None:
    item.user_properties.append(("called", "yes"))


def pytest_runtest_logreport(report: Any) -> None:
    if test := running.get(report.nodeid):  # a subtest's report has its test's id
        if report.when == "call":  # without the set-up of its class, which is the shard's
            test["seconds"] = max(test["seconds"], report.duration)
        outcome = report.outcome if report.outcome in RANK else "passed"
        test["outcome"] = max(test["outcome"], outcome, key=lambda each: RANK[each])


def pytest_runtest_logfinish(nodeid: str) -> None:
    if test := running.pop(nodeid, None):
        write(**test, ended=time.time())


def end_with_the_gate(gate: int) -> None:
    """Kill this shard's processes when the gate is gone without having been able to do it (SIGKILL)."""
    while os.getppid() == gate:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def list_own_containers_only() -> None:
    """Let a listing of function containers hold only those that have something of this shard's worktree mounted.

    sam-cli's start-lambda tests list them by label and remove, when a class ends, all that came up since it began:
    those of the other shards, and of whatever else uses this engine.
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

    setattr(ContainerCollection, "list", list_own)  # noqa: B010  (a type checker does not allow to assign to a method)
