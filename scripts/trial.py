"""One trial: tests of one aws-sam-cli against one image, watched from beginning to end."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker

import engine
import gitrepo
import leftovers
import process
import report
import shards
import state
import suite
import witness
from command import GateError, waited_for
from config import Config
from samcli import Checkout
from verdict import Case


@dataclass
class Trial:
    """What was found: `containers` counts starts by image id, `strangers` describes those of another image."""

    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    containers: dict[str, int] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    seconds: float = 0.0


Cut = Callable[[Sequence[str], int], list[suite.Shard]]


def cut(test_ids: Sequence[str], jobs: int) -> list[suite.Shard]:
    """Cut by what is known of the tests' durations."""
    return shards.cut(test_ids, jobs, shards.known())


def run(
    client: docker.DockerClient,
    config: Config,
    checkout: Checkout,
    *,
    image_id: str,
    reference: str,
    tests: Sequence[str],
    label: str,
    cut: Cut = cut,
    patient: bool = False,
) -> Trial:
    """Run `tests` (files or test ids) against an image and return what was found.

    `reference` is the tag of `image_id` that the suite is told to use; `label` begins the names of junit files, logs
    and progress lines; `patient` is the witness's. Raises GateError if the gate cannot go on; whatever happens,
    nothing of the run is left.
    """
    found = Trial()
    repository, _, tag = reference.rpartition(":")
    findings = state.folder(engine.platform(client))
    progress = report.Progress(label)
    leftovers.clean_earlier(client)
    gitrepo.remove(state.CACHE / "homes")  # of a run that was killed
    (state.CACHE / "homes").mkdir()
    with (
        tempfile.TemporaryDirectory(dir=state.CACHE / "homes", ignore_cleanup_errors=True) as home,
        leftovers.none(client) as name,
    ):
        shutil.copytree(process.PLUGIN, Path(home) / process.PLUGIN.name)
        shared = suite.Suite(
            config, checkout, tag, engine.environment(), name, findings, label, Path(home), progress.tell
        )
        with witness.watch(
            repository=repository,
            candidate=image_id,
            run=name,
            log=lambda shard: shared.log("emulator", shard),
            patient=patient,
        ) as seen:
            began = time.monotonic()
            test_ids, wrong = suite.collect(shared, checkout.worktree(0), tests)
            progress.total = len(test_ids)
            jobs = shards.jobs(config)
            outcomes = list(suite.run_all(shared, cut(test_ids, jobs), jobs, still_worth_it(seen)))
            found.seconds = round(time.monotonic() - began, 1)
    found.cases = [case for outcome in outcomes for case in outcome.cases]
    found.problems = wrong + [problem for outcome in outcomes for problem in outcome.problems]
    found.containers, found.strangers = dict(seen.containers), seen.strangers
    return found


def still_worth_it(seen: witness.Witness) -> Callable[[], None]:
    """Return a check that raises GateError once the suite runs unseen or for nobody."""

    def check() -> None:
        if seen.broken:
            raise GateError(seen.gone())
        waited_for()

    return check
