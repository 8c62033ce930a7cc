"""The runner: the tests of one aws-sam-cli against the candidate, in shards, under the event monitor."""

import shutil

import docker

from gate import workspace
from gate.containers import engine
from gate.containers.cleanup import cleanup_on_exit
from gate.containers.event_monitor import running_before
from gate.containers.images import Image
from gate.settings import Settings
from gate.sources.samcli import Checkout
from gate.suite import machine, scratch, selection
from gate.suite.baseline import Comparison
from gate.suite.evidence import gathered
from gate.suite.one_shard import Results, Suite
from gate.suite.progress import Progress, many
from gate.suite.shards import Scheduler
from gate.text import one_line
from gate.verdict.model import Run


def run(
    client: docker.DockerClient, settings: Settings, checkout: Checkout, image: Image, *, hurry: bool = True
) -> Run:
    """Run SAMCLI_TESTS against an image; run those that failed again, then against the published image too.

    Returns what was found, not yet judged. Without `hurry` one pytest process runs all of them and nothing is made
    faster: for measuring. Raises GateError if the gate cannot go on. Whatever happens, no process, container, volume
    or scratch folder of the run is left.
    """
    source = checkout.home / "src"
    run = Run(
        checkout.ref, checkout.commit, checkout.version, list(checkout.words),
        compared=checkout.compared, uses_image=checkout.uses_image,
    )  # fmt: skip
    run.uncovered = selection.uncovered(source, settings.samcli_tests)
    tests, run.problems = selection.select(source, settings.samcli_tests)
    if not tests or not checkout.uses_image:
        return run
    jobs = machine.jobs(settings) if hurry else 1
    slots = machine.slots(jobs)
    with (
        scratch.folder(client, image, slots, hurry=hurry) as folder,
        cleanup_on_exit(client) as run_id,
        Scheduler(jobs, slots) as scheduler,
    ):
        shutil.copytree(workspace.PLUGIN, folder / workspace.PLUGIN.name)
        engine_environ = engine.environment()
        suite = Suite(settings, checkout, image, run_id, folder, engine_environ, run, scheduler.stop, hurry=hurry)
        for container in running_before(client, suite.watch):
            print(f"note: {one_line(container)} was running before; the tests must not use it", flush=True)
        with Comparison(client, suite, scheduler) as comparison:
            with gathered(suite):
                run.tests = list(_run_all(suite, tests, scheduler, comparison).values())
            comparison.attribute()
    return run


def _run_all(suite: Suite, tests: list[str], scheduler: Scheduler, comparison: Comparison) -> Results:
    """Run the tests, then those that failed once more in shards of their own; compare what failed in the end.

    Nothing is retried after a problem with a shard, or once so many have failed that the run will be red. Then they are
    compared while others still run.
    """
    results: Results = {}
    for attempt in range(1 + suite.settings.compat_reruns):
        scheduler.add(suite, tests, f"retry{attempt}-" if attempt else "")
        for ended in scheduler.run(suite):
            for part, future in ended:
                if part.suite is suite:
                    _merge(results, future.result())
                else:
                    comparison.take(future)
            progress = suite.progress
            if scheduler.all_collected(suite) and many(len(progress.failed), len(progress.collected)):
                comparison.add(progress.failed)
        tests = [test_id for test_id, result in results.items() if result.outcome == "failed"]
        if not tests or many(len(tests), len(results)) or suite.run.problems:
            break
        suite.progress = Progress(suite.label)
    comparison.add(tests)
    return results


def _merge(results: Results, new: Results) -> None:
    for test_id, result in new.items():
        earlier = results.get(test_id)
        if earlier and result.outcome == "skipped":  # a skip does not undo a failure
            result.outcome, result.message = "failed", f"failed, then skipped: {result.message}"
        result.flaky = bool(earlier) and result.outcome == "passed"
        results[test_id] = result
