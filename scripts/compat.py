"""make compat: run aws-sam-cli's durable tests against the candidate, judge, and write the verdict."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker

import candidate as candidates
import engine
import leftovers
import report
import samcli
import state
import suite
import verdict
import witness
from candidate import Candidate
from command import GateError, entry
from config import Config, load


def main() -> int:
    state.forget_verdict()
    config = load()
    client = engine.connect()
    platform = engine.platform(client)
    state.forget_verdict(platform)
    with state.lock(alone=True):
        candidate = candidates.load(platform)
        check(client, config, candidate)
        forget(state.folder(platform))
        runs = [run(client, config, candidate, checkout) for checkout in samcli.installed(config)]
        judged = verdict.judge(config, candidate, runs, engine.image_id(client, candidate.reference))
        judged.save()
    print(report.terminal(judged), flush=True)
    return 0 if judged.green else 1


def check(client: docker.DockerClient, config: Config, candidate: Candidate) -> None:
    """Raise GateError unless the candidate is what sam-cli would use now and this machine can run its functions."""
    if candidate.repository != config.emulator_repository:
        raise GateError(f"{candidate.reference} is not under EMULATOR_REPOSITORY: run `make image`")
    if engine.image_id(client, candidate.reference) != candidate.image_id:
        raise GateError(f"{candidate.reference} does not name the candidate any more: run `make image`")
    if not candidate.platform.endswith("/amd64") and not emulates_amd64():
        raise GateError(
            "the functions under test are x86_64 and this engine cannot run them: "
            "set up QEMU for amd64 (docker run --privileged --rm tonistiigi/binfmt --install amd64)"
        )


def emulates_amd64() -> bool:
    """Return whether the engine can run amd64 containers; yes if there is no buildx to ask."""
    asked = subprocess.run(["docker", "buildx", "inspect", "default"], capture_output=True, text=True)
    return asked.returncode != 0 or "linux/amd64" in asked.stdout


def forget(findings: Path) -> None:
    """Remove what an earlier run found out, but for the candidate and how it was built."""
    shutil.rmtree(findings / "junit", ignore_errors=True)
    for log in (findings / "logs").glob("suite-*"):
        log.unlink()


def run(client: docker.DockerClient, config: Config, candidate: Candidate, checkout: samcli.Checkout) -> verdict.Run:
    """Run the suite of one aws-sam-cli against the candidate and return what was found, not yet judged."""
    worktree = checkout.worktree(0)
    present = [file for file in config.samcli_tests if (worktree / file).is_file()]
    durable = {str(path.relative_to(worktree)) for path in worktree.glob("tests/integration/**/test_*durable*.py")}
    found = verdict.Run(checkout.ref, checkout.commit, checkout.version)
    found.uncovered = sorted(durable - set(config.samcli_tests))
    found.problems = [
        f"{file} does not exist in aws-sam-cli {checkout.ref}: did it move?"
        for file in config.samcli_tests
        if file not in present
    ]
    progress = report.Progress(checkout.ref if len(config.samcli_refs) > 1 else "")
    with (
        tempfile.TemporaryDirectory(prefix="sam-compat-", ignore_cleanup_errors=True) as home,
        leftovers.none(client) as name,
        witness.watch(repository=candidate.repository, candidate=candidate.image_id, run=name) as seen,
    ):
        tag, findings = candidate.reference.rpartition(":")[2], state.folder(candidate.platform)
        shared = suite.Suite(config, checkout, tag, engine.environment(), name, findings, Path(home), progress.tell)
        began = time.monotonic()
        if present:
            test_ids, wrong = suite.collect(shared, worktree, present)
            progress.total = len(test_ids)
            outcomes = list(suite.run_all(shared, cut(test_ids), still_worth_it(seen)))
            found.tests = [case for outcome in outcomes for case in outcome.cases]
            found.problems += wrong + [problem for outcome in outcomes for problem in outcome.problems]
        found.seconds = round(time.monotonic() - began, 1)
    found.containers, found.strangers = dict(seen.containers), seen.strangers
    return found


def cut(test_ids: list[str]) -> list[suite.Shard]:
    """Return one shard for each test file."""
    files = dict.fromkeys(test_id.partition("::")[0] for test_id in test_ids)
    return [
        suite.Shard(
            re.sub(r"[^A-Za-z0-9]+", "-", Path(file).stem.removeprefix("test_")) + f"-{number}",
            tuple(test_id for test_id in test_ids if test_id.partition("::")[0] == file),
        )
        for number, file in enumerate(files, 1)
    ]


def still_worth_it(seen: witness.Witness) -> Callable[[], None]:
    """Return a check that raises GateError once the suite runs unseen or for nobody."""
    parent = os.getppid()

    def check() -> None:
        if seen.broken:
            raise GateError(f"{seen.broken}: what runs now is not seen; run it again")
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            raise GateError("make is gone, so nobody waits for a verdict")

    return check


if __name__ == "__main__":
    entry(main)
