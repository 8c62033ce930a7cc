"""make replay: reproduce the incident, with released packages only.

Emulator 1.2.0 answered 404 where an id had a `%2F` in it; 1.2.1 fixed that. The gate tests both, with the released sam.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from gate import workspace
from gate.cli import GateError, run_main
from gate.containers import engine
from gate.programs import stream
from gate.settings import load
from gate.sources.git import git
from gate.text import plain
from gate.verdict import explain, model

SOURCE, WORK = workspace.ROOT / "scripts/replay", workspace.CACHE / "replay"
EMULATOR, SDK = "aws-durable-execution-sdk-python-testing", "aws-durable-execution-sdk-python==1.7.0"
TESTS = " ".join(f"tests/test_{name}.py" for name in ("invoke", "start_lambda", "execution", "callback"))
ROWS = {"1.2.1": "", "1.2.0": "pr-replay-1.2.1"}  # COMPAT_BASELINE by version; 1.2.0 is compared with 1.2.1


@engine.errors_explained()
def main() -> int:
    """Run the gate on both emulators and print a table; return 0 if 1.2.0 is red and 1.2.1 green."""
    load()  # an invalid setting is reported before anything runs, and so is a missing engine
    platform, consumer = engine.platform(engine.connect()), make_consumer()
    verdicts = {version: run_gate(version, baseline, consumer, platform) for version, baseline in ROWS.items()}
    print("\n| emulator | verdict | passed | first answer that differs |\n|---|---|---|---|")
    for version, verdict in sorted(verdicts.items()):
        run, color = verdict.runs[0], "green" if verdict.green else "red"
        first = next(map(explain.answers, run.differences), "none")
        print(plain(f"| {version} | {color} | {run.count()['passed']} of {len(run.tests)} | {first} |"))
    return 0 if verdicts["1.2.1"].green and not verdicts["1.2.0"].green else 1


def make_consumer() -> Path:
    """Return a git repository whose tests call the released aws-sam-cli, with the functions' packages in it."""
    shutil.rmtree(WORK, ignore_errors=True)
    folder = shutil.copytree(SOURCE / "consumer", WORK / "consumer")
    shutil.copytree(SOURCE, WORK / "emulator", ignore=shutil.ignore_patterns("consumer"))
    uv, failure = Path(sys.executable).with_name("uv"), f"{SDK} cannot be installed"
    wanted = [f"--target={folder / 'functions'}", "--python-version=3.13", "--only-binary=:all:", SDK, "boto3"]
    stream([uv, "pip", "install", "--quiet", *wanted], failure=failure, log=workspace.INSTALL_LOG)
    author = "-c user.name=replay -c user.email=replay@example.invalid"
    for command in ("init -q -b develop", "add -f .", f"{author} commit -q -m consumer"):
        git(*command.split(), cwd=folder, failure=f"git {command} failed in {folder}")
    return folder


def run_gate(version: str, baseline: str, consumer: Path, platform: str) -> model.Verdict:
    """Run `make compat` for a released emulator and return its verdict. Raises GateError if there is none."""
    settings = dict.fromkeys(("EMULATOR_IMAGE", "EMULATOR_VERSION", "SAMCLI_COMPARED_REFS", "MAKEFLAGS"), "") | {
        "EMULATOR_SOURCE": str(WORK / "emulator"),
        "EMULATOR_PREBUILD": f"rm -rf dist && python -m pip download -q --no-deps -d dist {EMULATOR}=={version}",
        "EMULATOR_TAG": f"pr-replay-{version}",
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_PYTHON": "{}.{}".format(*sys.version_info),  # of this venv, which is there
        "SAMCLI_REFS": "develop",
        "SAMCLI_TESTS": TESTS,
        "COMPAT_MIN_PASSED": "10",
        "COMPAT_BASELINE": baseline,
        "SAM_SKIP_PULL_IMAGE": "1",
    }
    print(f"\n=== emulator {version}", flush=True)
    workspace.delete_verdict(platform)  # make fails before that where another run has the lock
    done = subprocess.run(["make", "--no-print-directory", "compat"], cwd=workspace.ROOT, env=os.environ | settings)
    try:
        return model.load(platform)
    except GateError:
        raise GateError(f"the gate could not run emulator {version} (exit code {done.returncode}): see above") from None


if __name__ == "__main__":
    run_main(main)
