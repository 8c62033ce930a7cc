"""The runner: the tests of one aws-sam-cli against one image, in shards, under the monitor."""

import contextlib
import importlib.metadata
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

from docker import DockerClient

from gate import (
    engine,
    environment,
    git,
    preflight,
    results,
    rules,
    sdk,
    workspace,
)
from gate.model import Image, Run, ShardResult, TestResult, tally
from gate.monitor import Seen, Watch, monitor
from gate.programs import GateError
from gate.results import Record
from gate.samcli import Checkout
from gate.sdk import Wheel
from gate.settings import Settings, load_committed

# Seconds of a test by its file, measured on the real suite with four shards on two cores.
SECONDS = {"test_invoke_durable": 16.0, "test_callback": 19.0}
OTHER_SECONDS = 7.5
# A shard may take this many times its fair share of a slot: every further shard costs some 20 s of
# set-up (FACTS.md#sam-build-cost).
OVERSIZE = 1.5
# Seconds; the clock of an engine in a virtual machine may jump (docker/for-mac#17).
MAX_CLOCK_DRIFT = 2.0
# Seconds between two lines of progress, where they are not rewritten on a terminal.
PROGRESS_INTERVAL = 30.0
TOO_LITTLE_MEMORY = (
    "memory may be short: close other programs, or set COMPAT_JOBS lower"
)
# What a log says, in lower case -> what is at fault, and not the candidate.
MACHINE_FAULTS = {
    # rust-lang/crater#700
    "no space left on device": "the disk is full: free some space",
    "disk quota exceeded": "the disk's quota is full: free some space",
    # rust-lang/crater#484
    "cannot allocate memory": TOO_LITTLE_MEMORY,
    # Of a function under test, as aws-sam-cli prints it.
    "runtime exited with error: signal: killed": TOO_LITTLE_MEMORY,
    # Of a `sam build`, before any emulator is started: pip did not get the packages, in most cases
    # since the index does not answer (alteryx/evalml#1008, pypa/pip#9190).
    "pythonpipbuilder:resolvedependencies - ": (
        "what the functions under test need cannot be installed: "
        "check the network connection and pip's settings"
    ),
    # Of aws-sam-cli, which takes the local image if it cannot pull one (FACTS.md#pulls-its-tag).
    "failed to pull emulator image": (
        "the image's tag was removed during the run, as by `docker image prune`: run it again"
    ),
    # aws/aws-sam-cli#8427
    "minimum supported api version": "this aws-sam-cli is too old for this Docker engine",
}
# pytest's exit code for a collection without tests.
NO_TESTS_COLLECTED = 5
# Python's exit code if it could not write all of its output, as where the log's disk is full.
OUTPUT_LOST = 120


@dataclass(frozen=True)
class Shard:
    """Tests of one file, for one pytest process: a class is set up in each process."""

    name: str
    tests: list[str]


@dataclass(frozen=True)
class Suite:
    """What the shards of a run share. `folder` is where each of them makes its own."""

    settings: Settings
    checkout: Checkout
    watch: Watch
    seen: Seen
    folder: Path
    is_published: bool
    # The SDK of this commit for the functions under test, None for the released one.
    wheel: Wheel | None
    # Where the engine and the packages are, and which SDK the functions get.
    variables: dict[str, str]

    @property
    def ref(self) -> str:
        """Return the ref of aws-sam-cli, as progress names the run."""
        return self.checkout.sam_cli.ref


@dataclass(frozen=True)
class PytestRun:
    """How pytest ended. `exit_code` is None if the gate killed it."""

    exit_code: int | None
    records: list[Record]


@dataclass(frozen=True)
class ShardOutcome:
    """What a shard leaves.

    `problem`: why its results are not complete. `fault`: what of the machine, and not of the
    candidate, can have made tests fail.
    """

    result: ShardResult
    tests: Collection[TestResult]
    versions: dict[str, str]
    problem: str = ""
    fault: str = ""


def jobs(settings: Settings, client: DockerClient) -> int:
    """Return how many shards run at once.

    Two for each core, since a test waits half of its time; one more, so that the last shard does
    not run alone.
    """
    cores = min(os.cpu_count() or 1, client.info()["NCPU"])
    return settings.compat_jobs or 2 * cores + 1


def run(
    settings: Settings,
    checkout: Checkout,
    image: Image,
    folder: Path,
    tests: Sequence[str] = (),
    *,
    published: bool = False,
    wheel: Wheel | None = None,
) -> Run:
    """Run SAMCLI_TESTS, or some tests by id, against an image; run those that failed again.

    The functions under test get a wheel of the SDK, or without one what the index has.
    """
    began = time.monotonic()
    sam_cli = checkout.sam_cli
    run = Run(
        **vars(sam_cli),
        version=checkout.version,
        set_aside=rules.set_aside(settings.samcli_known_failures),
    )
    label = f"{workspace.file_name(run.ref)}-{run.commit[:7]}"
    label += ".published" if published else ""
    logs = workspace.results_folder(image.platform) / "logs" / label
    logs.mkdir(parents=True)
    name = f"{workspace.CLONE}-{secrets.token_hex(4)}"
    watch = Watch(engine.connect(), image, name, logs)
    variables = environment.pip_variables() | engine.docker_environment()
    constraints = variables.get("PIP_CONSTRAINT", "")
    with monitor(watch) as seen:
        suite = Suite(
            settings=settings,
            checkout=checkout,
            watch=watch,
            seen=seen,
            folder=folder / name,
            is_published=published,
            wheel=wheel,
            variables=variables | sdk.constraint(wheel, constraints),
        )
        test_ids = list(tests) or _collect(suite, run)
        _run_with_retries(suite, run, test_ids)
    run.seconds = round(time.monotonic() - began, 1)
    run.versions["engine"] = watch.client.version()["Version"]
    run.versions["uv"] = importlib.metadata.version("uv")
    run.unexpected = seen.unexpected
    for stranger in seen.strangers:
        run.notes.append(
            f"not of this run, and it cannot have answered: {stranger}"
        )
    if wheel and f"functions' {wheel.name}" not in run.versions:
        run.problems.append(
            f"no shard showed that its functions had {wheel.name}"
        )
    _add_evidence(suite, run)
    return run


def _collect(suite: Suite, run: Run) -> list[str]:
    """Return the ids of the tests in SAMCLI_TESTS; note the files that are missing.

    Raises GateError for a test id that its file does not have, and for a file that only this run
    names: the setting is wrong.
    """
    source = suite.checkout.home / "src"
    files = []
    for entry in suite.settings.samcli_tests:
        file = entry.partition("::")[0]
        if (source / file).is_file():
            files.append(file)
        elif entry in load_committed().samcli_tests:
            run.problems.append(
                f"{entry} does not exist in this aws-sam-cli: was it moved? Name its new path in "
                "SAMCLI_TESTS"
            )
        else:
            raise GateError(
                f"SAMCLI_TESTS: aws-sam-cli {suite.ref} has no file {file}"
            )
    if not files:
        return []
    shard = Shard("collect", list(dict.fromkeys(files)))
    ended = _pytest(suite, shard, "--collect-only", "--quiet")
    collected = [
        test_id
        for record in ended.records
        for test_id in record.get("collected", [])
    ]
    if ended.exit_code not in (0, NO_TESTS_COLLECTED):
        if fault := _machine_fault(suite, shard, ended):
            raise GateError(fault)
        run.problems.append(_ending(suite, shard, ended))
    selected: dict[str, None] = {}
    for entry in suite.settings.samcli_tests:
        of_entry = [
            test_id for test_id in collected if rules.covers(entry, test_id)
        ]
        if "::" in entry and not of_entry and not run.problems:
            raise GateError(
                f"SAMCLI_TESTS: {entry} names no test of aws-sam-cli {suite.ref}"
            )
        selected |= dict.fromkeys(of_entry)
    return list(selected)


def _run_with_retries(suite: Suite, run: Run, test_ids: list[str]) -> None:
    """Run the tests in shards, then those that failed once more, unless the run is red anyway.

    With the published image failed tests are always run again: otherwise a flaky failure there
    would turn a regression into a pre-existing failure. Raises GateError if tests still fail, and
    it can be the machine's fault.
    """
    slots = jobs(suite.settings, suite.watch.client)
    merged: dict[str, TestResult] = {}
    for attempt in range(1 + suite.settings.compat_reruns):
        shards = split(test_ids, slots, f"retry{attempt}-" if attempt else "")
        preflight.check_space(suite.folder.parent, min(slots, len(shards)))
        print(f"{suite.ref}: {len(test_ids)} tests in {len(shards)} shards")
        fault = ""
        for outcome in _run_shards(suite, shards, slots):
            run.shards.append(outcome.result)
            run.versions |= outcome.versions
            if outcome.problem:
                run.problems.append(outcome.problem)
            fault = fault or outcome.fault
            for test in outcome.tests:
                _mark_retry(test, attempt)
                merged[test.id] = test
        # Not in the order in which they ended: two runs can then be compared.
        run.shards.sort(key=lambda shard: shard.name)
        run.tests = sorted(merged.values(), key=lambda test: test.id)
        test_ids = [test.id for test in run.failed]
        # A quarter failed: to run them again would only cost time.
        is_hopeless = len(test_ids) > max(1, len(merged) / 4)
        may_stop = is_hopeless and not fault and not suite.is_published
        if run.problems or not test_ids or may_stop:
            break
    if fault and (test_ids or run.problems):
        raise GateError(fault)


def _mark_retry(test: TestResult, attempt: int) -> None:
    if not attempt:
        return
    test.flaky = test.outcome == "passed"
    # A skip does not undo a failure.
    if test.outcome == "skipped":
        test.outcome = "failed"
        test.message = f"failed, then skipped: {test.message}"


def split(test_ids: Sequence[str], slots: int, prefix: str = "") -> list[Shard]:
    """Return one shard per file, the longest first.

    A file that is too long for its slot is cut into equal parts.
    """
    by_file = defaultdict[str, list[str]](list)
    for test_id in test_ids:
        by_file[_file_name(test_id)].append(test_id)
    longest = OVERSIZE * _expected_seconds(test_ids) / slots
    parts = []
    for ids in by_file.values():
        pieces = math.ceil(_expected_seconds(ids) / longest)
        size = math.ceil(len(ids) / pieces)
        parts += [
            ids[start : start + size] for start in range(0, len(ids), size)
        ]
    parts.sort(key=_expected_seconds, reverse=True)
    return [
        Shard(
            f"{prefix}{_file_name(ids[0]).removeprefix('test_')}-{number}", ids
        )
        for number, ids in enumerate(parts)
    ]


def _file_name(test_id: str) -> str:
    return Path(test_id.partition("::")[0]).stem


def _expected_seconds(test_ids: Sequence[str]) -> float:
    return sum(
        SECONDS.get(_file_name(test_id), OTHER_SECONDS) for test_id in test_ids
    )


def _run_shards(
    suite: Suite, shards: Sequence[Shard], slots: int
) -> Iterator[ShardOutcome]:
    """Run shards, so many at once, and yield what each of them leaves as soon as it ends."""
    progress = Progress(suite, shards)
    with futures.ThreadPoolExecutor(slots) as pool:
        pending = {pool.submit(_run_shard, suite, shard) for shard in shards}
        try:
            while pending:
                done, pending = futures.wait(
                    pending, progress.interval, futures.FIRST_COMPLETED
                )
                if not done:
                    progress.show()
                for future in done:
                    outcome = future.result()
                    progress.end_shard(outcome)
                    yield outcome
        except BaseException:
            suite.seen.stop_reason = "the run has ended"
            raise


@dataclass
class Progress:
    """Shows that a run lives, from the records that its shards are writing.

    On a terminal one line is rewritten every second; elsewhere a line comes every 30 seconds.
    """

    suite: Suite
    shards: Sequence[Shard]
    began: float = field(default_factory=time.monotonic)
    ended: dict[str, TestResult] = field(default_factory=dict)
    rewrites: bool = field(default_factory=lambda: sys.stdout.isatty())

    @property
    def interval(self) -> float:
        """Return how many seconds pass between two lines."""
        return 1.0 if self.rewrites else PROGRESS_INTERVAL

    def show(self) -> None:
        """Print such as "develop: 17 of 40 passed, 0 failed, 64 s"."""
        tests = dict(self.ended)
        for shard in self.shards:
            folder = self.suite.folder / shard.name
            records = results.records(folder / environment.RECORDS)
            tests |= results.tests(records, shard.name)
        number = Counter(test.outcome for test in tests.values())
        total = sum(len(shard.tests) for shard in self.shards)
        seconds = time.monotonic() - self.began
        self._print(
            f"{self.suite.ref}: {number['passed']} of {total} passed, "
            f"{number['failed']} failed, {seconds:.0f} s",
            end="" if self.rewrites else "\n",
        )

    def end_shard(self, outcome: ShardOutcome) -> None:
        """Print the line of a shard that has ended."""
        self.ended |= {test.id: test for test in outcome.tests}
        outcomes = tally(test.outcome for test in outcome.tests)
        shard = outcome.result
        self._print(
            f"{self.suite.ref}: {shard.name}: {outcomes} in {shard.seconds:.0f} s"
        )

    def _print(self, line: str, end: str = "\n") -> None:
        # To the begin of the line, and nothing after its end.
        start = "\r\x1b[K" if self.rewrites else ""
        print(f"{start}{line}", end=end, flush=True)


def _run_shard(suite: Suite, shard: Shard) -> ShardOutcome:
    began = time.monotonic()
    ended = _pytest(suite, shard)
    tests = results.tests(ended.records, shard.name)
    result = ShardResult(
        name=shard.name,
        seconds=round(time.monotonic() - began, 1),
        logs=[_relative(_log(suite, shard))],
    )
    has_failed = any(test.outcome == "failed" for test in tests.values())
    ended_well = ended.exit_code == 0 or (ended.exit_code == 1 and has_failed)
    missing = len(set(shard.tests) - tests.keys())
    problem = ""
    if missing or not ended_well or results.unfinished(ended.records):
        problem = _ending(suite, shard, ended)
        if missing:
            problem += (
                f"; {missing} of its {len(shard.tests)} tests have no result"
            )
    fault = ""
    if problem or has_failed:
        fault = _machine_fault(suite, shard, ended)
    versions = results.versions(ended.records)
    if suite.wheel and not problem:
        problem = _wheel_fault(suite.wheel, shard, ended)
    return ShardOutcome(result, tests.values(), versions, problem, fault)


def _wheel_fault(wheel: Wheel, shard: Shard, ended: PytestRun) -> str:
    """Return which other SDK the functions of a shard had; "" for the one of this commit.

    A shard whose functions were never built has none.
    """
    packages = results.functions_packages(ended.records)
    if wheel.name not in packages:
        return ""
    version, record = packages[wheel.name]
    if record == wheel.record:
        return ""
    other = f"another {wheel.name} ({version}) than that of this commit"
    return f"shard {shard.name}: its functions had {other} ({wheel.version})"


def _machine_fault(suite: Suite, shard: Shard, ended: PytestRun) -> str:
    """Return what is not the candidate's fault, by the end and the logs of a shard; "" if none."""
    if suite.seen.stop_reason:
        return ""
    log = _log(suite, shard)
    if ended.exit_code == OUTPUT_LOST:
        return f"{suite.ref}: {_relative(log)} cannot be written: is its disk full?"
    if ended.exit_code == -signal.SIGKILL:
        # As by Linux, where memory is short (rust-lang/crater#562).
        return f"{suite.ref}: pytest was killed: {TOO_LITTLE_MEMORY}"
    if shard.name in suite.seen.killed:
        return f"{suite.ref}: an emulator was killed: {TOO_LITTLE_MEMORY}"
    if not suite.folder.exists():
        why = "by another program?"
        if workspace.MEMORY in suite.folder.parents:
            # systemd/systemd#2039
            why = "by logind, when you logged out? Set RemoveIPC=no"
        return f"{suite.ref}: {suite.folder} was removed during the run: {why}"
    for file in (log, suite.watch.log(shard.name)):
        text = (
            file.read_bytes().decode(errors="replace") if file.exists() else ""
        )
        for words, fault in MACHINE_FAULTS.items():
            if words in text.lower():
                return f"{suite.ref}: {fault} (see {_relative(file)})"
    # The gate's plugin records something as soon as pytest loads it.
    if not ended.records and ended.exit_code is not None:
        remedy = "run `make clean`, then `make compat`"
        return f"{suite.checkout.python} cannot run pytest (see {_relative(log)}): {remedy}"
    return ""


def _ending(suite: Suite, shard: Shard, ended: PytestRun) -> str:
    """Say how a shard's pytest ended, and in which test."""
    how = f"ended with pytest's exit code {ended.exit_code}"
    if suite.seen.stop_reason:
        how = f"was stopped ({suite.seen.stop_reason})"
    elif ended.exit_code is None:
        how = f"did not end within COMPAT_TIMEOUT={suite.settings.compat_timeout} s"
    for test_id in results.unfinished(ended.records)[-1:]:
        how += f" in {test_id}"
    return f"shard {shard.name} {how} (see {_relative(_log(suite, shard))})"


def _log(suite: Suite, shard: Shard) -> Path:
    return suite.watch.logs / f"suite-{shard.name}.log"


def _relative(path: Path) -> str:
    return str(path.relative_to(workspace.ROOT))


def _pytest(suite: Suite, shard: Shard, *options: str) -> PytestRun:
    """Run pytest in a new worktree and return how it ended, and its records.

    It is killed after COMPAT_TIMEOUT, or when the run stops.
    """
    checkout = suite.checkout
    watch = suite.watch
    folder = suite.folder / shard.name
    if suite.seen.stop_reason:
        return PytestRun(None, [])
    # A test class builds into its checkout (FACTS.md#builds-in-checkout).
    tree = git.worktree(
        checkout.source, checkout.sam_cli.commit, folder / "tree"
    )
    tag = watch.image.reference.rpartition(":")[2]
    own = environment.prepare_shard(
        checkout.python, tree, f"{watch.name}-{shard.name}", tag
    )
    # Test ids are below --rootdir, wherever a pytest.ini lies.
    command = [
        str(checkout.python),
        "-m",
        "pytest",
        f"--rootdir={tree}",
        "-p",
        "sam_compat_plugin",
    ]
    command += [*options, *shard.tests]
    with _log(suite, shard).open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=own | suite.variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        exit_code = _wait(suite, process)
    records = results.records(folder / environment.RECORDS)
    shutil.rmtree(folder, ignore_errors=True)
    return PytestRun(exit_code, records)


def _wait(suite: Suite, process: "subprocess.Popen[bytes]") -> int | None:
    """Return a process's exit code, or None if it had to be killed, with all that it started."""
    deadline = time.monotonic() + suite.settings.compat_timeout
    try:
        while process.poll() is None:
            if suite.seen.stop_reason or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        # None if it still runs: then it is killed below.
        return process.returncode
    finally:
        # macOS answers EPERM if only zombies are left in the group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _add_evidence(suite: Suite, run: Run) -> None:
    """Add to each shard which images were started for it, and to each test what they answered."""
    seen = suite.seen
    drift = seen.clock_at_end - seen.clock_at_begin
    can_join = abs(drift) <= MAX_CLOCK_DRIFT
    if not can_join:
        moved = f"the engine's clock moved by {drift:.0f} s"
        run.notes.append(
            f"what the emulator answered is not joined to tests: {moved}"
        )
    for shard in run.shards:
        log = suite.watch.log(shard.name)
        if log.exists():
            shard.logs.append(_relative(log))
        shard.containers = dict(seen.started[shard.name])
        answers = results.answers(log)
        started = shard.containers.get(suite.watch.image.image_id, 0)
        # A test may ask its emulator nothing: then it is enough that one did not crash.
        survived = started > seen.crashed[shard.name]
        shard.answered = survived or bool(started and answers)
        if can_join:
            tests = [test for test in run.tests if test.shard == shard.name]
            _join_answers(tests, answers, seen.clock_at_begin)


def _join_answers(
    tests: list[TestResult], answers: list[results.Answer], clock_ahead: float
) -> None:
    for test in tests:
        statuses = defaultdict[str, set[int]](set)
        for answer in answers:
            if test.began <= answer.at - clock_ahead <= test.ended:
                statuses[answer.route].add(answer.status)
        test.answers = {
            route: sorted(statuses[route]) for route in sorted(statuses)
        }
