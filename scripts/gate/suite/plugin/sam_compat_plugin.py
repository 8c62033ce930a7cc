"""A pytest plugin inside the suite, loaded into aws-sam-cli's own pytest: standard library and pytest's hooks only.

It reports as tests run, hands tests over when the gate asks for some, ends with the gate, and lets sam-cli's tear-down
see the shard's own containers only.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

REPORT = Path(os.environ["SAM_COMPAT_REPORT"])
REQUEST = REPORT.with_suffix(".hand-over")  # names the first test to hand over, when the gate asks for some
WORKTREE = os.environ["SAM_COMPAT_WORKTREE"] + os.sep
RANK = {"passed": 0, "skipped": 1, "failed": 2}

running: dict[str, dict[str, Any]] = {}
sessions: list[Any] = []
lock = threading.Lock()


def write(**record: Any) -> None:
    with REPORT.open("a", encoding="utf-8") as report:
        report.write(json.dumps(record) + "\n")


def pytest_cmdline_main(config: Any) -> None:
    if hasattr(config.option, "numprocesses"):  # pytest-xdist has read it and not begun; the gate splits, into shards
        config.option.dist, config.option.tx = "no", []


def pytest_configure(config: Any) -> None:
    if hasattr(config.option, "reruns"):
        config.option.reruns = 0  # pytest-rerunfailures; the gate retries, in a process of its own
    gate = int(os.environ["SAM_COMPAT_GATE"])  # not getppid(): the gate may be gone already
    threading.Thread(target=serve_the_gate, args=(gate,), daemon=True).start()
    list_own_containers_only()


def pytest_deselected(items: list[Any]) -> None:
    write(deselected=[item.nodeid for item in items])


def pytest_collection_finish(session: Any) -> None:
    sessions.append(session)
    for item in session.items:  # not at its set-up: pytest's own skips a marked test before that
        item.user_properties.append(("nodeid", item.nodeid))
    write(collected=[item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid: str) -> None:
    with lock:
        running[nodeid] = {"finished": nodeid, "outcome": "passed", "seconds": 0.0, "began": time.time()}
        write(started=nodeid)


def pytest_runtest_call(item: Any) -> None:
    item.user_properties.append(("called", "yes"))


def pytest_runtest_logreport(report: Any) -> None:
    if test := running.get(report.nodeid):  # a subtest's report has its test's id
        if report.when == "call":  # without the set-up of its class, which is the shard's
            test["seconds"] = max(test["seconds"], report.duration)
            test["ended"] = time.time()  # its class's tear-down removes what an emulator works on
        outcome = report.outcome if report.outcome in RANK else "passed"
        test["outcome"] = max(test["outcome"], outcome, key=lambda each: RANK[each])


def pytest_runtest_logfinish(nodeid: str) -> None:
    with lock:
        if test := running.pop(nodeid, None):
            write(**{"ended": time.time()} | test)


def serve_the_gate(gate: int) -> None:
    """Hand over tests when the gate asks for some; when the gate was killed, kill this shard's processes."""
    while os.getppid() == gate:
        time.sleep(0.5)
        with lock:
            if running and REQUEST.exists():
                first = REQUEST.read_text(encoding="utf-8", errors="replace")
                REQUEST.unlink()  # before the answer: the next request may follow at once
                hand_over(first)
    os.killpg(0, signal.SIGKILL)


def hand_over(first: str) -> None:
    """Leave out the tests from this one on, and report them; another shard runs them.

    The one that runs and the next one stay: pytest has looked at both, to tear down what they do not share.
    """
    items = sessions[-1].items  # pytest takes its next test from this very list
    ids = [item.nodeid for item in items]
    now = next(iter(running))
    kept = max(ids.index(now) + 2, ids.index(first)) if {now, first} <= set(ids) else len(ids)
    write(handed_over=ids[kept:])  # first: what cannot be reported stays
    del items[kept:]


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
