"""One shard: run its pytest, and make results and problems of what it leaves."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gate import workspace
from gate.containers.event_monitor import Watch
from gate.containers.images import Image
from gate.settings import Settings
from gate.sources.samcli import Checkout
from gate.suite import environment, junit, process, timeline
from gate.suite.process import TIMES, Ending, Record
from gate.suite.progress import Progress
from gate.verdict.model import Run, Shard, TestResult
from gate.verdict.rules import covers

MESSAGE = 2000  # characters of a failure's message that are kept
GUESS = 8.0  # seconds that a test takes, until one of its shard has ended
Results = dict[str, TestResult]


@dataclass(eq=False)
class Suite:
    """Tests of one aws-sam-cli with one image (`kind`: candidate or baseline), and what their shards share.

    `run_id` is part of all names in the engine, `folder` holds the worktrees, `engine_environ` names the engine. Shards
    note in `run` what they find; `stop` ends them early.
    """

    settings: Settings
    checkout: Checkout
    image: Image
    run_id: str
    folder: Path
    engine_environ: dict[str, str]
    run: Run
    stop: threading.Event
    kind: str = "candidate"
    hurry: bool = True
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1), init=False)

    def __post_init__(self) -> None:
        """Set the names, the progress and the watch."""
        self.name = f"{self.run_id}-{self.kind}"  # in the names of containers
        # In the names of files, where a dot cannot be a shard's.
        self.label = self.checkout.slug + ("" if self.kind == "candidate" else f".{self.kind}")
        self.progress = Progress(self.label)
        self.watch = Watch(
            self.image.repository,
            self.image.image_id,
            prefix=f"{workspace.PREFIX}{self.name}",
            log=lambda shard: self.log("emulator", shard),
            hurry=self.hurry,
        )

    def unused(self, stem: str) -> str:
        """Return a name that no other shard of the suite has."""
        return f"{stem}-{next(self.numbers)}"

    def log(self, kind: str, shard: str) -> Path:
        """Return the file for what a shard's tests (`suite`) or its emulators (`emulator`) print."""
        return workspace.log(self.image.platform, f"{kind}-{self.label}-{shard}")


@dataclass(eq=False)
class Part:
    """What one shard is asked to run: tests of one file, in a worktree that no other shard uses meanwhile.

    While it runs, `left` are the ids without a result so far, `took` the seconds of the others, and `since` is when it
    last reported (monotonic). `asked`: it was asked to hand over tests and has not answered yet.
    """

    suite: Suite
    name: str
    file: str
    tests: list[str] = field(default_factory=list)
    slot: int = 0
    left: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    since: float = 0.0
    asked: bool = False

    @property
    def xml(self) -> Path:
        """Its JUnit file."""
        return workspace.junit(self.suite.image.platform, f"{self.suite.label}-{self.name}")

    @property
    def request(self) -> Path:
        """The file that names the first test that it should hand over; the plugin reads and removes it."""
        return self.xml.with_suffix(".hand-over")

    def note(self, record: Record) -> None:
        """Note what the plugin reports."""
        self.left, self.since = record.get("collected", self.left), time.monotonic()
        if "finished" in record:
            self.took.append(record["seconds"])
        if "handed_over" in record:
            self.asked = False
        gone = {record.get("finished"), *record.get("handed_over", [])}
        self.left = [test_id for test_id in self.left if test_id not in gone]

    def seconds_per_test(self) -> float:
        """Return the seconds that one of its tests takes, the one that runs included once it takes longer."""
        usual = sum(self.took) / len(self.took) if self.took else GUESS
        running = time.monotonic() - self.since
        return usual if running < usual else (sum(self.took) + running) / (len(self.took) + 1)

    def seconds_left(self) -> float:
        """Return the seconds until its tests should have ended."""
        return self.seconds_per_test() * len(self.left)


def run_shard(part: Part, on_record: Callable[[Part, Record], None]) -> Results:
    """Run one shard and note it and its problems in the run; return its results by test id.

    Tests that it handed over have none; those that aws-sam-cli's own configuration deselects are skipped.
    """
    suite, began = part.suite, time.monotonic()
    if suite.stop.is_set():
        return {}
    part.xml.unlink(missing_ok=True)
    ending = _run_pytest(part, lambda record: on_record(part, record))
    part.request.unlink(missing_ok=True)  # it may have ended before it could answer
    handed_over, deselected = set(ending.ids("handed_over")), ending.ids("deselected")
    kept = [test_id for test_id in ending.ids("collected") if test_id not in handed_over]
    results, wrong = junit.read(part.xml, kept)
    # Where pytest was ended (pytest-timeout does that) there is no such file, and what had failed has failed.
    failed = [record["finished"] for record in ending.records if record.get("outcome") == "failed"]
    results |= {each: TestResult(each, "failed") for each in failed if each in kept and each not in results}
    logs = [log_shown(part, kind) for kind in ("suite", "emulator") if suite.log(kind, part.name).exists()]
    records = {record["finished"]: record for record in ending.records if "finished" in record}
    for test_id, result in results.items():
        result.shard, result.logs, result.message = part.name, logs, " ".join(result.message.split())[:MESSAGE]
        if record := records.get(test_id):
            result.seconds, result.began, result.ended = (float(record[name]) for name in TIMES)
    suite.run.problems += [
        f"shard {part.name} {problem}; see {log_shown(part)}" for problem in _problems(part, ending, results, wrong)
    ]
    suite.run.shards.append(Shard(part.name, round(time.monotonic() - began, 1)))
    why = "deselected by aws-sam-cli's configuration"
    return {test_id: TestResult(test_id, "skipped", message=why) for test_id in deselected} | results


def _problems(part: Part, ending: Ending, results: Results, wrong: list[str]) -> list[str]:
    """Return what went wrong with a shard, as phrases about it; `wrong` is what is wrong with its JUnit file."""
    if ending.code is None:
        return [f"{ending} (COMPAT_TIMEOUT is {part.suite.settings.compat_timeout} s)"]
    reported = {*ending.ids("collected"), *ending.ids("deselected")}
    missing = [test for test in part.tests if not any(covers(test, each) for each in reported)]
    wrong += [f"did not collect {test}" for test in missing[:1]]
    failed = any(result.outcome == "failed" for result in results.values())
    as_reported = ending.code == 0 or (ending.code == 1 and failed) or (ending.code == 5 and ending.ids("deselected"))
    if as_reported and not ending.unfinished:
        return wrong
    return [" and ".join([str(ending), *wrong[:1]])]


def _run_pytest(part: Part, on_record: process.OnRecord) -> Ending:
    suite, python, report = part.suite, part.suite.checkout.python, part.xml.with_suffix(".jsonl")
    mark, worktree = f"{suite.name}-{part.name}", suite.checkout.export(suite.folder / f"worktree-{part.slot}")
    environ = environment.of_shard(python, worktree, suite.folder / mark, mark, report) | suite.engine_environ
    environ |= {"DURABLE_EXECUTIONS_EMULATOR_IMAGE_TAG": suite.image.reference.rpartition(":")[2]}
    environ |= {} if suite.hurry else {"SAM_COMPAT_FAST_START": "0"}
    command = [str(python), "-m", "pytest", "-p", "sam_compat_plugin", *part.tests]
    # Test ids are below the rootdir, wherever a pytest.ini lies.
    command += [f"--rootdir={worktree}", f"--junitxml={part.xml}", "-rfE"]
    if len(suite.settings.samcli_tests) == 1 and "::" in suite.settings.samcli_tests[0]:  # it may name one test
        command += timeline.LIVE
        environ |= {"TZ": "UTC"}  # of its stamps
    deadline = time.monotonic() + suite.settings.compat_timeout

    def over() -> bool:
        return suite.stop.is_set() or time.monotonic() > deadline

    return process.run(command, environ, suite.log("suite", part.name), over, on_record)


def log_shown(part: Part, kind: str = "suite") -> str:
    """Return a shard's log as the reader of a report can open it."""
    return workspace.shown(part.suite.log(kind, part.name))
