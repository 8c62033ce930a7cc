"""The comparison: tests that failed, run again against the published image, and whose fault each failure is."""

import contextlib
import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import docker

from gate.cli import GateError
from gate.containers import engine, images
from gate.containers.images import Image
from gate.settings import Settings
from gate.suite.evidence import gathered
from gate.suite.one_shard import Results, Suite
from gate.suite.progress import many
from gate.suite.shards import Scheduler
from gate.verdict.model import Difference, Shard, TestResult

ATTRIBUTION = {"passed": "regression", "failed": "pre-existing"}  # by what a failed test does against the baseline
# Errors that leave tests unattributed: the verdict is red already, and must not be lost.
FAILURES = (GateError, OSError, *engine.ERRORS)


class Comparison(contextlib.AbstractContextManager["Comparison"]):
    """The failed tests of a suite, run again against COMPAT_BASELINE in the slots that the suite leaves idle."""

    def __init__(self, client: docker.DockerClient, candidate: Suite, scheduler: Scheduler) -> None:
        self.client, self.candidate, self.scheduler = client, candidate, scheduler
        self.resources = contextlib.ExitStack()
        self.suite: Suite | None = None
        self.results: Results = {}
        self.tests: set[str] = set()
        self.again: set[str] = set()
        self.error = ""

    def __exit__(self, *raised: Any) -> None:
        """Stop the shards that still run, then stop watching: what they start must not seem another gate's."""
        with self._errors_kept():
            self.scheduler.__exit__(*raised)
            self.resources.__exit__(*raised)

    def add(self, test_ids: list[str]) -> None:
        """Queue the tests that are not queued yet. Does nothing if COMPAT_BASELINE is empty or cannot be used."""
        new = [test_id for test_id in test_ids if test_id not in self.tests]
        if not new or not self.candidate.settings.compat_baseline or self.error:
            return
        self.tests.update(new)
        with self._errors_kept():
            self.suite = self.suite or self._begin()
            self.scheduler.add(self.suite, new)

    def _begin(self) -> Suite:
        """Find the published image, begin to watch for it, and return the suite that runs against it."""
        settings = self.candidate.settings
        published = image(self.client, settings, self.candidate.image)
        run = dataclasses.replace(self.candidate.run, tests=[], shards=[], problems=[])
        suite = dataclasses.replace(self.candidate, kind="baseline", image=published, run=run)
        print(f"running what failed against {settings.compat_baseline} too", flush=True)
        self.resources.enter_context(gathered(suite))
        self.candidate.run.baseline = published
        return suite

    def take(self, future: "Future[Results]") -> None:
        """Keep the results of one of its shards; run what failed there once more, unless many did.

        A race of the suite's own must not make a regression pre-existing.
        """
        with self._errors_kept():
            self.results |= future.result()
            failed = [test_id for test_id, result in self.results.items() if result.outcome == "failed"]
            if self.suite and not many(len(failed), len(self.results)):
                again = [test_id for test_id in failed if test_id not in self.again]
                self.again.update(again)
                self.scheduler.add(self.suite, again, "retry-")

    def attribute(self) -> None:
        """Attribute each failed test of the run: regression, pre-existing or unknown; note what was answered otherwise.

        A regression passes against COMPAT_BASELINE; a test that fails there too is pre-existing: aws-sam-cli or a
        package it installs changed, not the candidate. What is not `comparable` is unknown.
        """
        run = self.candidate.run
        if not run.failed or not self.tests:
            return
        for test in run.failed:
            test.attribution = "unknown"
        with self._errors_kept():
            self._finish()
        if not self.suite or self.error:
            run.unattributed = f"no baseline: {self.error}"
            return
        baseline = self.suite.run
        if not baseline.containers().get(self.suite.image.image_id):
            baseline.problems.append(f"no container of {self.suite.image.reference} was started")
        shards, others = ({shard.name: shard for shard in each.shards} for each in (run, baseline))
        for test in run.failed:
            other = self.results.get(test.id)
            if other and other.shard and comparable(test, other, shards[test.shard], others[other.shard]):
                test.attribution = ATTRIBUTION.get(other.outcome, "unknown")
        run.unattributed = "; ".join(baseline.problems)
        run.differences = differences(run.failed, self.results)
        run.errors = {error: number for error, number in run.errors.items() if error not in baseline.errors}

    def _finish(self) -> None:
        """Wait for its shards and read what they leave. Raises GateError if another image ran."""
        if self.suite:
            for ended in self.scheduler.run(self.suite):
                for _, future in ended:
                    self.take(future)
            self.suite.run.tests = list(self.results.values())
            self.resources.close()
            if self.suite.run.unexpected:
                raise GateError(f"another image of the repository ran: {'; '.join(self.suite.run.unexpected)}")

    @contextlib.contextmanager
    def _errors_kept(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            self.error = self.error or str(error)


def comparable(test: TestResult, other: TestResult, shard: Shard, others_shard: Shard) -> bool:
    """Return whether a failed test and its result with the published image say something about the two images.

    They do not where only the candidate answered: the published image may not even start. A test that fails alike
    although the published image was never started in its shard fails before any emulator is.
    """
    if test.requests and not other.requests:
        return False
    if others_shard.served > 0 or not shard.containers:
        return True
    return shard.served > 0 and not others_shard.containers and _alike(test.message) == _alike(other.message)


def _alike(message: str) -> str:
    return re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "0", message)  # ids, ports and times differ


def image(client: docker.DockerClient, settings: Settings, candidate: Image) -> Image:
    """Pull COMPAT_BASELINE and return it; where that fails, the engine's own. Raises GateError if there is none.

    It gets a tag that no registry has: aws-sam-cli pulls the tag that it is given, and could get another image.
    """
    published = f"{settings.emulator_repository}:{settings.compat_baseline}"
    try:
        images.pull(published, f"{published} cannot be pulled")
    except GateError as error:
        if not engine.image_id(client, published):
            raise GateError(f"{error}, and the engine has none") from None
        print(f"{error}; the engine's own is used", flush=True)
    found = images.describe(client, published)
    if found.config_digest == candidate.config_digest:
        raise GateError(f"{published} is the candidate itself")
    tag = f"pr-baseline-{engine.short(found.image_id)}"
    client.images.get(found.image_id).tag(settings.emulator_repository, tag)
    packages = images.packages(client, found.image_id)
    return dataclasses.replace(found, reference=f"{settings.emulator_repository}:{tag}", packages=packages)


def differences(failed: list[TestResult], baseline: dict[str, TestResult]) -> list[Difference]:
    """Return the routes whose answers differ between the two images in tests that failed, the most frequent first.

    Routes that both images were asked for come first; others follow from those.
    """
    found: dict[tuple[str, ...], Difference] = {}
    for test in failed:
        if not (other := baseline.get(test.id)) or not (test.requests and other.requests):
            continue
        statuses: dict[tuple[str, str], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for side, result in enumerate((test, other)):
            for request in result.requests:
                statuses[request.method, request.route][side].add(request.status)
        for (method, route), (with_candidate, with_baseline) in statuses.items():
            if with_candidate != with_baseline:
                key = (method, route, str(sorted(with_candidate)), str(sorted(with_baseline)))
                example = next((r.example for r in test.requests if (r.method, r.route) == (method, route)), "")
                new = Difference(method, route, sorted(with_candidate), sorted(with_baseline), [], example)
                found.setdefault(key, new).tests.append(test.id)
    return sorted(found.values(), key=lambda each: (not (each.candidate and each.baseline), -len(each.tests)))
