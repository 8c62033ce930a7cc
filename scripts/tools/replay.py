"""make replay: the incident again. Emulator 1.2.0 broke aws-sam-cli, 1.2.1 fixed it.

Both are built from the emulator's released packages, and ten tests in replay/consumer drive the
released `sam` against them, in place of aws-sam-cli's own. So a package index is enough: GitHub and
a registry are not asked.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import engine, model, report, workspace
from gate.cli import run_main
from gate.git import git
from gate.model import Verdict
from gate.programs import UV, GateError, stream, uv_environment

BROKEN = "1.2.0"
FIXED = "1.2.1"
SOURCE = Path(__file__).with_name("replay")
WORK = workspace.CACHE / "replay"
SDK = "aws-durable-execution-sdk-python"
# The functions' SDK of the time between the two releases.
SDK_VERSION = "1.7.0"
COMMITTER = ("-c", "user.name=replay", "-c", "user.email=replay@localhost")
# What the user has set for other runs does not govern this one.
UNSET = (
    "EMULATOR_IMAGE",
    "EMULATOR_VERSION",
    "SAMCLI_COMPARED_REFS",
    "SAMCLI_KNOWN_FAILURES",
    "MAKEFLAGS",
)


def main() -> int:
    """Return 0 if the fixed emulator is green and the broken one is red."""
    platform = engine.platform(engine.connect())
    shutil.rmtree(WORK, ignore_errors=True)
    consumer = make_consumer()
    shutil.copytree(
        SOURCE, WORK / "emulator", ignore=shutil.ignore_patterns("consumer")
    )
    fixed = run_gate(FIXED, consumer, platform, published="")
    # The broken one is compared with it, as with a published image.
    broken = run_gate(BROKEN, consumer, platform, published=tag(FIXED))
    print("\n| emulator | verdict | passed | first answer that differs |")
    print("|---|---|---|---|")
    print(row(BROKEN, broken))
    print(row(FIXED, fixed))
    return 0 if fixed.green and not broken.green else 1


def make_consumer() -> Path:
    """Return a repository that stands in for aws-sam-cli, with what its functions import."""
    folder = shutil.copytree(SOURCE / "consumer", WORK / "consumer")
    stream(
        [
            UV,
            "pip",
            "install",
            f"--target={folder / 'functions'}",
            "--python-version=3.13",
            "--only-binary=:all:",
            f"{SDK}=={SDK_VERSION}",
            "boto3",
        ],
        failure="the functions' packages cannot be installed",
        env=uv_environment(),
    )
    commands = (
        ("init", "--quiet", "--initial-branch=develop"),
        ("add", "--force", "--all"),
        (*COMMITTER, "commit", "--quiet", "--no-gpg-sign", "--message=all"),
    )
    for command in commands:
        git(*command, cwd=folder, failure=f"git failed in {folder}")
    return folder


def run_gate(
    version: str, consumer: Path, platform: str, *, published: str
) -> Verdict:
    """Run `make compat` for a released emulator and return its verdict."""
    wheel = f"{SDK}-testing=={version}"
    settings = {
        "EMULATOR_SOURCE": str(WORK / "emulator"),
        "EMULATOR_PREBUILD": f"rm -rf dist; pip wheel --no-deps -w dist {wheel}",
        "EMULATOR_TAG": tag(version),
        "SAMCLI_SOURCE": str(consumer),
        "SAMCLI_REFS": "develop",
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_TESTS": "tests/test_invoke.py tests/test_start_lambda.py",
        "COMPAT_SDK": "released",
        "COMPAT_MIN_PASSED": "10",
        "COMPAT_BASELINE": published,
    }
    print(f"\n=== emulator {version}")
    workspace.delete_verdicts()
    subprocess.run(
        ["make", "compat"],
        cwd=workspace.ROOT,
        env=os.environ | dict.fromkeys(UNSET, "") | settings,
    )
    # make has one exit code for a red verdict and for an error.
    verdict = workspace.results_folder(platform) / workspace.VERDICT
    if not verdict.exists():
        raise GateError(f"emulator {version} could not be tested (see above)")
    return model.load(platform)


def tag(version: str) -> str:
    """Return the tag of an emulator's image, which no registry has."""
    return f"pr-replay-{version}"


def row(version: str, verdict: Verdict) -> str:
    """Return an emulator's row of the table."""
    run = verdict.runs[0]
    color = "green" if verdict.green else "red"
    passed = f"{run.counts()['passed']} of {len(run.tests)}"
    differences = run.comparison.differences
    first = report.statuses(differences[0]) if differences else "none"
    return f"| {version} | {color} | {passed} | {first} |"


if __name__ == "__main__":
    run_main(main)
