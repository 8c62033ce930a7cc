"""make replay: the incident as a demonstration, from released packages alone.

The gate itself runs twice, by settings: the released aws-sam-cli, called as its users call it, against emulator 1.2.0,
which broke it, and 1.2.1, which fixed that. Exit code 0 if the first is red and the second green.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from gate import workspace
from gate.cli import GateError, run_main, stream
from gate.settings import load
from gate.sources.git import git
from gate.text import plain
from gate.verdict import explain, model
from gate.verdict.model import Verdict

TEMPLATE, WORK = workspace.ROOT / "scripts/replay", workspace.CACHE / "replay"
EMULATOR, SDK = "aws-durable-execution-sdk-python-testing", "aws-durable-execution-sdk-python==1.7.0"
TESTS = " ".join(f"tests/test_{name}.py" for name in ("invoke", "start_lambda", "execution", "callback"))
ROWS = {"1.2.1": "", "1.2.0": "pr-replay-1.2.1"}  # the fixed one first: the other one is compared with it


def main() -> int:
    """Run the gate on both emulators and print a table; return 0 if it says what the incident showed."""
    load()  # an invalid setting is reported before anything runs
    consumer = make_consumer()
    verdicts = {version: run_gate(version, baseline, consumer) for version, baseline in ROWS.items()}
    print("\n| emulator | verdict | passed | first answer that differs |\n|---|---|---|---|")
    for version, verdict in sorted(verdicts.items()):
        print(plain(row(version, verdict)))
    return 0 if verdicts["1.2.1"].green and not verdicts["1.2.0"].green else 1


def make_consumer() -> Path:
    """Return a git repository whose tests call the released aws-sam-cli, with the functions' packages in it."""
    folder = WORK / "consumer"
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(TEMPLATE / "consumer", folder)
    shutil.copytree(TEMPLATE, WORK / "emulator", ignore=shutil.ignore_patterns("consumer"))
    uv, failure = Path(sys.executable).with_name("uv"), f"{SDK} cannot be installed"
    wanted = [f"--target={folder / 'functions'}", "--python-version=3.13", "--only-binary=:all:", SDK, "boto3"]
    stream([uv, "pip", "install", "--quiet", *wanted], failure=failure, log=workspace.INSTALL_LOG)
    author = ("-c", "user.name=replay", "-c", "user.email=replay@example.invalid")
    for command in (["init", "-q", "-b", "develop"], ["add", "-f", "."], [*author, "commit", "-q", "-m", "consumer"]):
        git(*command, cwd=folder, failure=f"git {command[0]} failed in {folder}")
    return folder


def run_gate(version: str, baseline: str, consumer: Path) -> Verdict:
    """Run `make compat` for a released emulator and return its verdict. Raises GateError if the gate could not run."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    settings = {
        "EMULATOR_SOURCE": str(WORK / "emulator"),
        "EMULATOR_PREBUILD": f"rm -rf dist && python -m pip download -q --no-deps -d dist {EMULATOR}=={version}",
        "EMULATOR_TAG": f"pr-replay-{version}",
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_PYTHON": python,  # the functions' packages are in the consumer: no `sam build`
        "SAMCLI_REFS": "develop",
        "SAMCLI_COMPARED_REFS": "",
        "SAMCLI_TESTS": TESTS,
        "COMPAT_MIN_PASSED": "10",
        "COMPAT_BASELINE": baseline,
        "SAM_SKIP_PULL_IMAGE": "1",
    }
    print(f"\n=== emulator {version}", flush=True)
    done = subprocess.run(["make", "--no-print-directory", "compat"], cwd=workspace.ROOT, env=os.environ | settings)
    for verdict in (model.load(f"linux/{machine}") for machine in ("amd64", "arm64") if has_verdict(machine)):
        if verdict.candidate.version == version:
            return verdict
    raise GateError(f"the gate could not run emulator {version} (exit code {done.returncode}): see above")


def has_verdict(machine: str) -> bool:
    """Return whether a platform has a verdict."""
    return (workspace.results(f"linux/{machine}") / workspace.VERDICT).is_file()


def row(version: str, verdict: Verdict) -> str:
    """Return a verdict's row of the table."""
    (run,) = verdict.runs
    first = next(explain.contract(run), "none").partition(" (")[0]
    passed = f"{run.count()['passed']} of {len(run.tests)}"
    return f"| {version} | {'green' if verdict.green else 'red'} | {passed} | {first} |"


if __name__ == "__main__":
    run_main(main)
