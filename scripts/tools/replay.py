"""make replay: test the emulator that broke aws-sam-cli, 1.2.0, and 1.2.1, which fixed it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import engine, model, report, workspace
from gate.cli import UV, GateError, run_main, stream, uv_environment
from gate.git import git

SOURCE, WORK = Path(__file__).with_name("replay"), workspace.CACHE / "replay"
SDK = "aws-durable-execution-sdk-python"
COMMIT = "-c user.name=replay -c user.email=replay@localhost commit --no-gpg-sign -m all"


def main() -> int:
    """Return 0 if 1.2.1 is green and 1.2.0 is red."""
    platform = engine.platform(engine.connect())
    shutil.rmtree(WORK, ignore_errors=True)
    consumer = make_consumer()
    shutil.copytree(SOURCE, WORK / "emulator", ignore=shutil.ignore_patterns("consumer"))
    fixed = compat("1.2.1", "", consumer, platform)
    broken = compat("1.2.0", "pr-replay-1.2.1", consumer, platform)
    print("\n| emulator | verdict | passed | first answer that differs |\n|---|---|---|---|")
    for version, verdict in (("1.2.0", broken), ("1.2.1", fixed)):
        run, color = verdict.runs[0], "green" if verdict.green else "red"
        first = report.answers(run.differences[0]) if run.differences else "none"
        print(f"| {version} | {color} | {run.count()['passed']} of {len(run.tests)} | {first} |")
    return 0 if fixed.green and not broken.green else 1


def make_consumer() -> Path:
    """Return a repository whose tests call the released sam, with its functions' packages."""
    folder = shutil.copytree(SOURCE / "consumer", WORK / "consumer")
    target = [f"--target={folder / 'functions'}", "--python-version=3.13", "--only-binary=:all:"]
    install = [UV, "pip", "install", *target, f"{SDK}==1.7.0", "boto3"]
    stream(install, failure="uv failed", env=uv_environment())
    for command in ("init -b develop", "add --force --all", COMMIT):
        git(*command.split(), cwd=folder, failure=f"git {command} failed")
    return folder


def compat(version: str, baseline: str, consumer: Path, platform: str) -> model.Verdict:
    """Run `make compat` for a released emulator and return its verdict."""
    unset = ("EMULATOR_IMAGE", "EMULATOR_VERSION", "SAMCLI_COMPARED_REFS", "MAKEFLAGS")
    settings = dict.fromkeys(unset, "") | {
        "EMULATOR_SOURCE": str(WORK / "emulator"),
        "EMULATOR_PREBUILD": f"rm -rf dist; pip wheel --no-deps -w dist {SDK}-testing=={version}",
        "EMULATOR_TAG": f"pr-replay-{version}",
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_REFS": "develop",
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_TESTS": "tests/test_invoke.py tests/test_start_lambda.py",
        "COMPAT_MIN_PASSED": "10",
        "COMPAT_BASELINE": baseline,
    }
    print(f"\n=== emulator {version}")
    workspace.delete_verdicts()
    subprocess.run(["make", "compat"], cwd=workspace.ROOT, env=os.environ | settings)
    if not (workspace.results(platform) / workspace.VERDICT).exists():
        raise GateError(f"emulator {version} could not be tested (see above)")
    return model.load(platform)


if __name__ == "__main__":
    run_main(main)
