"""make compat: run aws-sam-cli's durable tests against the candidate, judge, and write the verdict."""

import shutil
import subprocess
from pathlib import Path

import docker

import baseline
import candidate as candidates
import engine
import report
import samcli
import shards
import state
import trial
import verdict
from candidate import Candidate
from command import GateError, call, entry, waited_for
from config import Config, load


@engine.needed()
def main() -> int:
    """Return 0 for a green verdict, 1 for a red one. Raises GateError if there can be none; then none is left."""
    state.forget_verdict()
    config = load()
    client = engine.connect()
    platform = engine.platform(client)
    state.forget_verdict(platform)
    with state.lock():
        candidate = candidates.load(platform, config)
        check(client, candidate)
        forget(state.folder(platform))
        runs = [run(client, config, candidate, checkout) for checkout in samcli.installed(config)]
        shards.learn(runs)
        judged = verdict.judge(verdict.required(config), candidate, runs, engine.image_id(client, candidate.reference))
        if config.compat_save_image and judged.green:
            save_image(candidate)
        waited_for()
        keep(judged, platform)
    print(report.terminal(judged), flush=True)
    return 0 if judged.green else 1


def check(client: docker.DockerClient, candidate: Candidate) -> None:
    """Raise GateError unless the candidate is what sam-cli would use now and this machine can run its functions."""
    if engine.image_id(client, candidate.reference) != candidate.image_id:
        raise GateError(
            f"{candidate.reference} does not name the candidate any more: run `make image`. {candidates.SHARED}"
        )
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
    for tar in ("image.tar", "image.half"):
        (findings / tar).unlink(missing_ok=True)
    for kind in ("suite", "emulator"):
        for log in (findings / "logs").glob(f"{kind}-*"):
            log.unlink()


def save_image(candidate: Candidate) -> None:
    """Keep the candidate as image.tar beside its verdict, for a publishing job on another machine."""
    tar = state.folder(candidate.platform) / "image.tar"
    half = tar.with_suffix(".half")
    call(["docker", "save", "--output", half, candidate.image_id], failure=f"{tar} cannot be written")
    half.replace(tar)


def keep(judged: verdict.Verdict, platform: str) -> None:
    """Write verdict and summary: both, or neither."""
    try:
        judged.save()
        report.save(judged)
    except BaseException:
        state.forget_verdict(platform)
        raise


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
    if present:
        tried = trial.run(
            client,
            config,
            checkout,
            image_id=candidate.image_id,
            reference=candidate.reference,
            tests=present,
            label=checkout.slug,
        )
        found.tests, found.seconds = tried.cases, tried.seconds
        found.containers, found.strangers = tried.containers, tried.strangers
        found.problems += tried.problems
        found.unattributed = baseline.attribute(client, config, candidate, checkout, found.tests)
    return found


if __name__ == "__main__":
    entry(main)
