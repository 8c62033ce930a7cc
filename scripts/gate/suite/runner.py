"""The runner: tests of one aws-sam-cli against one image, in shards, watched from beginning to end."""

import queue
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import docker

from gate import workspace
from gate.cli import GateError
from gate.containers import engine
from gate.containers.cleanup import cleanup_on_exit
from gate.containers.event_monitor import LOST, Watch, monitor, running_before
from gate.containers.images import Image
from gate.settings import Settings
from gate.sources.samcli import Checkout
from gate.suite import http_log, scratch, shards
from gate.suite.one_shard import Suite, run_pytest, run_shard, shown
from gate.suite.progress import Progress
from gate.suite.shards import Part
from gate.text import one_line
from gate.verdict.model import Run, Shard, TestResult

COLLECTING = 300  # seconds; measured 5 on the real suite
MANY = 0.25  # of the tests: when more failed, a retry could not make the run green


@dataclass(frozen=True)
class Plan:
    """What to run: test files or ids, and how often failing ones are run again.

    `in_one_process`: as pytest alone would, with nothing made faster; for measuring.
    """

    tests: Sequence[str]
    label: str
    reruns: int
    timeout: int
    in_one_process: bool = False


def run(client: docker.DockerClient, settings: Settings, checkout: Checkout, image: Image, plan: Plan) -> Run:
    """Run tests against an image and return what was found, not yet judged.

    Raises GateError if the gate cannot go on. Whatever happens, nothing of the run is left.
    """
    found = nothing(checkout)
    jobs = 1 if plan.in_one_process else shards.jobs(settings)
    with scratch.folder(client, image, jobs, hurry=not plan.in_one_process) as home, cleanup_on_exit(client) as name:
        shutil.copytree(workspace.PLUGIN, home / workspace.PLUGIN.name)
        watch = Watch(
            repository=image.repository,
            image_id=image.image_id,
            run=name,
            log=lambda shard: workspace.log(image.platform, f"emulator-{plan.label}-{shard}"),
            hurry=not plan.in_one_process,
        )
        suite = Suite(
            settings, checkout, image, plan.label, jobs, name,
            home, engine.environment(), watch, found, plan.in_one_process,
        )  # fmt: skip
        for container in running_before(client, watch):
            print(f"note: {one_line(container)} was running before; its tests must not use it", flush=True)
        with monitor(watch):
            began = time.monotonic()
            _run_all(suite, plan, _collect(suite, plan.tests))
            found.seconds = round(time.monotonic() - began, 1)
    found.unexpected = watch.unexpected
    errors: Counter[str] = Counter()
    for shard in found.shards:
        shard.containers = dict(watch.starts.pop(shard.name, {}))
        log = http_log.read(suite.log("emulator", shard.name))
        # A container that exited by itself is evidence if it had answered before.
        crashed = 0 if log.requests else watch.crashed.count(shard.name)
        shard.served = shard.containers.get(image.image_id, 0) - crashed
        for test in (ours := [test for test in found.tests if test.shard == shard.name]):
            log.attach(test)
        errors.update(log.errors_during(test for test in ours if test.outcome == "failed"))
    found.errors = dict(errors.most_common())
    found.shards += [Shard(name, containers=dict(started)) for name, started in watch.starts.items()]
    return found


def nothing(checkout: Checkout) -> Run:
    """Return the run of an aws-sam-cli of which nothing has run."""
    words = list(checkout.words)
    return Run(checkout.ref, checkout.commit, checkout.version, words, checkout.compared, checkout.uses_image)


def _collect(suite: Suite, tests: Sequence[str]) -> list[str]:
    """Return the ids of the tests, those that are deselected apart: they are noted as skipped."""
    ending = run_pytest(suite, "collect", suite.worktree(0), [*tests, "--collect-only", "--quiet"], COLLECTING)
    if ending.code not in (0, 5):
        suite.found.problems.append(f"collecting the tests {ending}; see {shown(suite, 'collect')}")
    for test_id in {each for ids in ending.each("deselected") for each in ids}:
        suite.found.tests.append(TestResult(test_id, "skipped", message="deselected by aws-sam-cli's configuration"))
    return [test_id for ids in ending.each("collected") for test_id in ids]


def _run_all(suite: Suite, plan: Plan, test_ids: list[str]) -> None:
    """Run the tests in shards, then those that failed once more in shards of their own, and note what was found."""
    results: dict[str, TestResult] = {}
    for attempt in range(1 + plan.reruns):
        parts = shards.split(test_ids, suite.jobs) if test_ids else []
        if plan.in_one_process and test_ids:
            parts = [Part("all", tuple(test_ids), sum(part.seconds for part in parts))]
        if attempt:
            parts = [Part(f"retry{attempt}-{part.name}", part.test_ids, part.seconds) for part in parts]
        for test_id, found in _run_parts(suite, parts, plan.timeout).items():
            earlier = results.get(test_id)
            if earlier and found.outcome == "skipped":  # a failure is not undone by not looking again
                found.outcome, found.message = "failed", f"failed, then skipped: {found.message}"
            found.flaky = bool(earlier) and found.outcome == "passed"
            results[test_id] = found
        test_ids = [test_id for test_id, found in results.items() if found.outcome == "failed"]
        if not test_ids or len(test_ids) > max(1, MANY * len(results)) or suite.found.problems:
            break
    suite.found.tests += results.values()


def _run_parts(suite: Suite, parts: list[Part], timeout: int) -> dict[str, TestResult]:
    """Run shards, `jobs` at once, each in a worktree that no other uses meanwhile; return their results by test id."""
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(suite.jobs):
        slots.put(slot)
    progress = Progress(suite.label, sum(len(part.test_ids) for part in parts), shards.wall(parts, suite.jobs))

    def one(part: Part) -> dict[str, TestResult]:
        slot = slots.get()
        try:
            return {} if suite.stop.is_set() else run_shard(suite, part, slot, timeout, progress)
        finally:
            slots.put(slot)

    results: dict[str, TestResult] = {}
    with ThreadPoolExecutor(suite.jobs) as pool:
        futures = [pool.submit(one, part) for part in parts]
        try:
            while not all(future.done() for future in futures):
                if suite.watch.broken:
                    raise GateError(f"{LOST} ({suite.watch.broken}): restart the engine and run again")
                for future in futures:
                    if future.done():
                        future.result()  # an error of the gate ends all shards now
                time.sleep(0.2)
            for future in futures:
                results |= future.result()
        except BaseException:
            suite.stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return results
