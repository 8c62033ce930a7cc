"""The runner: the tests of one aws-sam-cli against one image, in shards, under the monitor."""

import contextlib
import itertools
import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gate import engine, environment, git, results, workspace
from gate.images import Image
from gate.model import Run, ShardResult, TestResult, listed
from gate.monitor import Watch, monitor
from gate.results import Record
from gate.samcli import Checkout
from gate.settings import Settings

DURABLE = "tests/integration/**/test_*durable*.py"
# Seconds of a test, measured on the real suite with four shards on two cores.
SECONDS = defaultdict(lambda: 7.5, invoke_durable=16.0, callback=19.0)
FULL = 1.5  # of an equal part for each slot: a shard's set-up costs, so few are best (fact 11)
DRIFT = 2.0  # seconds; the clock of an engine in a virtual machine may jump (docker/for-mac#17)


@dataclass(frozen=True)
class Shard:
    name: str
    tests: list[str]  # of one file, for one pytest process


@dataclass
class Suite:
    settings: Settings
    checkout: Checkout
    watch: Watch
    folder: Path
    run: Run
    is_baseline: bool
    engine: dict[str, str] = field(default_factory=engine.environment)


def jobs(settings: Settings, client: engine.Client) -> int:
    # A test waits half its time; one shard more keeps the last one from running alone.
    return settings.compat_jobs or 2 * min(os.cpu_count() or 1, client.info()["NCPU"]) + 1


def run(
    settings: Settings, checkout: Checkout, image: Image, folder: Path, tests: Sequence[str] = ()
) -> Run:
    """Run SAMCLI_TESTS, or some tests by id, against an image; run those that failed again."""
    began, c = time.monotonic(), checkout
    found = Run(c.ref, c.commit, c.version, c.requested_as, c.compared)
    label = f"{re.sub('[^A-Za-z0-9.]+', '-', c.ref)}-{c.commit[:7]}"
    label += ".baseline" if tests else ""
    logs = workspace.results(image.platform) / "logs" / label
    logs.mkdir(parents=True)
    watch = Watch(image, f"{workspace.CLONE}-{secrets.token_hex(4)}", logs)
    suite = Suite(settings, checkout, watch, folder / watch.name, found, bool(tests))
    with monitor(watch):
        _run_all(suite, list(tests) or _collect(suite))
    found.seconds = round(time.monotonic() - began, 1)
    found.unexpected = watch.unexpected
    _add_answers(suite)
    return found


def _collect(suite: Suite) -> list[str]:
    """Return the ids of the tests in SAMCLI_TESTS; note what is missing, and what is left out."""
    src, run = suite.checkout.home / "src", suite.run
    paths = {entry: src / entry.partition("::")[0] for entry in suite.settings.samcli_tests}
    for file in set(src.glob(DURABLE)).difference(paths.values()):
        run.notes.append(f"not in SAMCLI_TESTS: {file.relative_to(src)}")
    entries = [entry for entry, path in paths.items() if path.is_file()]
    for entry in paths.keys() - entries:
        run.problems.append(f"{entry} does not exist in this aws-sam-cli: was it moved?")
    if not entries:
        return []
    shard = Shard("collect", entries)
    code, found = _pytest(suite, shard, "--collect-only", "--quiet")
    if code not in (0, 5):  # 5: there are none
        run.problems.append(_ending(suite, shard, code, found))
    return list(dict.fromkeys(test_id for each in found for test_id in each.get("collected", [])))


def _run_all(suite: Suite, test_ids: list[str]) -> None:
    """Run the tests in shards, then those that failed once more, unless the run is red anyway.

    With the published image also if many failed: a race must not make a regression pre-existing.
    """
    run, number = suite.run, jobs(suite.settings, suite.watch.client)
    merged: dict[str, TestResult] = {}
    for attempt in range(1 + suite.settings.compat_reruns):
        shards = split(test_ids, number, f"retry{attempt}-" if attempt else "")
        print(f"{run.ref}: {len(test_ids)} tests in {len(shards)} shards")
        with ThreadPoolExecutor(number) as pool:
            try:
                found = list(pool.map(lambda shard: _run_shard(suite, shard), shards))
            except BaseException:
                suite.watch.broken = "interrupted"
                raise
        for result in itertools.chain.from_iterable(found):
            if attempt and result.outcome == "skipped":  # a skip does not undo a failure
                result.outcome = "failed"
                result.message = f"failed, then skipped: {result.message}"
            result.flaky = attempt > 0 and result.outcome == "passed"
            merged[result.id] = result
        run.tests = list(merged.values())
        test_ids = [test.id for test in run.failed]
        many = len(test_ids) > max(1, len(merged) / 4) and not suite.is_baseline
        if not test_ids or many or run.problems:
            break


def split(test_ids: Sequence[str], number: int, prefix: str = "") -> list[Shard]:
    """Return shards for so many slots, the longest first: a file, or equal parts of a long one."""
    files = defaultdict[str, list[str]](list)
    for test_id in test_ids:
        files[Path(test_id.partition("::")[0]).stem.removeprefix("test_")].append(test_id)
    most = FULL * sum(len(ids) * SECONDS[stem] for stem, ids in files.items()) / number
    parts = []
    for stem, ids in files.items():
        size = math.ceil(len(ids) / math.ceil(len(ids) * SECONDS[stem] / most))
        for at in range(0, len(ids), size):
            part = ids[at : at + size]
            parts.append((len(part) * SECONDS[stem], stem, part))
    parts.sort(key=lambda part: part[0], reverse=True)
    return [Shard(f"{prefix}{stem}-{at}", part) for at, (_, stem, part) in enumerate(parts)]


def _run_shard(suite: Suite, shard: Shard) -> Collection[TestResult]:
    if suite.watch.broken:
        return []
    began = time.monotonic()
    code, found = _pytest(suite, shard, "-rfE")
    tests = results.tests(found, shard.name)
    missing = len(set(shard.tests) - tests.keys())
    failed = any(test.outcome == "failed" for test in tests.values())
    if missing or results.unfinished(found) or not (code == 0 or (code == 1 and failed)):
        without = f"; {missing} of its {len(shard.tests)} tests have no result" if missing else ""
        suite.run.problems.append(f"{_ending(suite, shard, code, found)}{without}")
    seconds = round(time.monotonic() - began, 1)
    outcomes = listed(test.outcome for test in tests.values())
    print(f"{suite.run.ref}: {shard.name}: {outcomes} in {seconds:.0f} s")
    suite.run.shards.append(ShardResult(shard.name, seconds, [_log(suite, shard)]))
    return tests.values()


def _ending(suite: Suite, shard: Shard, code: int | None, found: list[Record]) -> str:
    """Say how a shard's pytest ended; None means that COMPAT_TIMEOUT was over."""
    how = f"ended with pytest's exit code {code}"
    if code is None:
        how = f"did not end within COMPAT_TIMEOUT={suite.settings.compat_timeout} s"
    for test_id in results.unfinished(found)[-1:]:
        how += f" in {test_id}"
    return f"shard {shard.name} {how} (see {_log(suite, shard)})"


def _log(suite: Suite, shard: Shard) -> str:
    return str((suite.watch.logs / f"suite-{shard.name}.log").relative_to(workspace.ROOT))


def _pytest(suite: Suite, shard: Shard, *options: str) -> tuple[int | None, list[Record]]:
    """Run pytest in a new worktree; return its exit code, None if ended here, and the records."""
    checkout, watch = suite.checkout, suite.watch
    python = checkout.home / "venv/bin/python"
    tree = git.worktree(checkout.source, checkout.commit, suite.folder / shard.name / "tree")
    name, tag = f"{watch.name}-{shard.name}", watch.image.reference.rpartition(":")[2]
    environ = environment.of_shard(python, tree, name, tag) | suite.engine
    # Test ids are below --rootdir, wherever a pytest.ini lies.
    command = [str(python), "-m", "pytest", f"--rootdir={tree}", "-p", "sam_compat_plugin"]
    command += [*options, *shard.tests]
    records = Path(environ["SAM_COMPAT_RECORDS"])
    with (workspace.ROOT / _log(suite, shard)).open("wb") as log:
        process = subprocess.Popen(  # pytest's capture gives it an empty stdin
            command, cwd=tree, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + suite.settings.compat_timeout
        try:
            while process.poll() is None and not watch.broken and time.monotonic() < deadline:
                time.sleep(0.2)
            code = process.returncode
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: of zombies
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = results.records(records)
    shutil.rmtree(tree.parent, ignore_errors=True)
    return code, found


def _add_answers(suite: Suite) -> None:
    run, watch = suite.run, suite.watch
    ahead, drift = watch.clocks[0], watch.clocks[1] - watch.clocks[0]
    if abs(drift) > DRIFT:
        moved = f"the engine's clock moved by {drift:.0f} s"
        run.notes.append(f"what the emulator answered is not joined to tests: {moved}")
    for shard in run.shards:
        log = watch.log(shard.name)
        if log.exists():
            shard.logs.append(str(log.relative_to(workspace.ROOT)))
        answered = results.answers(log)
        shard.containers = dict(watch.started[shard.name])
        started = shard.containers.get(watch.image.image_id, 0)
        # One that crashed counts only if a request was answered.
        shard.answered = started > (0 if answered else watch.crashed[shard.name])
        for test in run.tests:
            if test.shard == shard.name and abs(drift) <= DRIFT:
                during = (text for at, text in answered if test.began <= at - ahead <= test.ended)
                test.requests = dict(Counter(during))
