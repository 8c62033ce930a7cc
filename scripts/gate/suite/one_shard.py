"""One shard: its pytest process, the evidence of it, and what its tests' results say."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from gate import workspace
from gate.containers.event_monitor import Watch
from gate.containers.images import Image
from gate.settings import Settings
from gate.sources.samcli import Checkout
from gate.suite import environment, junit, process, timeline
from gate.suite.progress import Progress
from gate.suite.shards import Part
from gate.verdict.model import Run, Shard, TestResult

MESSAGE = 2000  # characters of a failure's message that are kept


@dataclass
class Suite:
    """What the shards of a run share. `label` begins the names of their files, `name` is this run's in the engine."""

    settings: Settings
    checkout: Checkout
    image: Image
    label: str
    jobs: int
    name: str
    home: Path
    engine_environ: dict[str, str]
    watch: Watch
    found: Run
    in_one_process: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def worktree(self, slot: int) -> Path:
        """Return the files of aws-sam-cli, written again, for one shard at a time."""
        return self.checkout.export(self.home / f"worktree-{slot}")

    def log(self, kind: str, shard: str) -> Path:
        """Return the file for what a shard's tests (`suite`) or its emulators (`emulator`) print."""
        return workspace.log(self.image.platform, f"{kind}-{self.label}-{shard}")


def run_shard(suite: Suite, part: Part, slot: int, timeout: int, progress: Progress) -> dict[str, TestResult]:
    """Run one shard, note it and what went wrong with it, and return its results by test id."""
    began = time.monotonic()
    xml = workspace.junit(suite.image.platform, f"{suite.label}-{part.name}")
    xml.unlink(missing_ok=True)
    arguments = [*part.test_ids, f"--junitxml={xml}", "-rfE", *(timeline.LIVE if progress.total == 1 else [])]
    ending = run_pytest(suite, part.name, suite.worktree(slot), arguments, timeout, progress)
    results, wrong = junit.read(xml, part.test_ids)
    logs = [shown(suite, part.name, kind) for kind in ("suite", "emulator") if suite.log(kind, part.name).exists()]
    times = {record["finished"]: record for record in ending.records if "finished" in record}
    for test_id, result in results.items():
        result.shard, result.logs, result.message = part.name, logs, " ".join(result.message.split())[:MESSAGE]
        record = times.get(test_id, {})
        result.began, result.ended = float(record.get("began") or 0), float(record.get("ended") or 0)
        result.seconds = float(record.get("seconds") or result.seconds)
    failed = any(result.outcome == "failed" for result in results.values())
    if ending.code is None:
        wrong = [f"{ending} (COMPAT_TIMEOUT is {timeout} s)"]
    elif ending.code != 0 and not (ending.code == 1 and failed):
        wrong = [" and ".join([str(ending), *wrong[:1]])]
    suite.found.problems += [f"shard {part.name} {problem}; see {shown(suite, part.name)}" for problem in wrong]
    suite.found.shards.append(Shard(part.name, round(time.monotonic() - began, 1)))
    return results


def run_pytest(
    suite: Suite, name: str, worktree: Path, arguments: list[str], timeout: int, progress: Progress | None = None
) -> process.Ending:
    """Run pytest in a worktree, in the environment of a shard called `name`."""
    mark, python = f"{suite.name}-{name}", suite.checkout.python
    environ = environment.of_shard(python, worktree, suite.home / name, mark) | suite.engine_environ
    environ |= {"DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": suite.image.reference.rpartition(":")[2]}
    environ |= {"SAM_COMPAT_FAST_START": "0"} if suite.in_one_process else {}
    environ |= {"TZ": "UTC"} if progress and progress.total == 1 else {}  # for timeline.LIVE
    arguments = [f"--rootdir={worktree}", *arguments]  # test ids are below it, wherever a pytest.ini lies
    report = workspace.junit(suite.image.platform, f"{suite.label}-{name}").with_suffix(".jsonl")
    each = process.Process(python, arguments, worktree, environ, mark, report, suite.log("suite", name))
    on_record = progress.show if progress else lambda record: None
    return process.run(each, time.monotonic() + timeout, suite.stop, on_record)


def shown(suite: Suite, name: str, kind: str = "suite") -> str:
    """Return a shard's log as the reader of a report can open it."""
    return workspace.shown(suite.log(kind, name))
