"""The workflows of a repository, run by act on this machine, with stand_ins.py for what they call.

Left to test_workflows.py, since act has none of it: permissions, concurrency, environments,
cancelling. It also ends at a matrix that cannot be computed, so no test here has a failed `plan`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..support.gate import PATIENCE
from ..support.git import commit_all, git
from .stand_ins import ACTIONS

ACT = Path(sys.executable).with_name("act")
# Without site-packages it starts in half the time.
STAND_IN = (
    f"exec {sys.executable} -I -S {Path(__file__).with_name('stand_ins.py')}"
)
PIN = re.compile(r"uses: ([\w./-]+@[0-9a-f]{40})")
OPTIONS = (
    "--json",
    "--no-recurse",
    "--platform=ubuntu-24.04=-self-hosted",
    "--platform=ubuntu-24.04-arm=-self-hosted",
    "--pull=false",
    "--no-cache-server",
    "--no-skip-checkout",
    "--action-offline-mode",
    "--defaultbranch=main",
    "--env=GITHUB_REPOSITORY=me/emulator",
    "--var=ECR_PUBLIC_ROLE_ARN=the-role",
    "--secret=GITHUB_TOKEN=the-token",
)


@dataclass
class Ran:
    """How each job ended, by its name, and what the stand-ins noted, in order."""

    jobs: dict[str, str]
    calls: list[dict[str, Any]] = field(repr=False)
    printed: list[str] = field(repr=False)
    artifacts: Path

    def of(self, target: str) -> list[dict[str, Any]]:
        """Return the calls of a make target, sorted by the machine."""
        calls = [
            call
            for call in self.calls
            if call["did"].split()[:2] == ["make", target]
        ]
        return sorted(calls, key=lambda call: str(call["machine"]))

    def env(self, target: str, *names: str) -> list[tuple[str, ...]]:
        """Return what each call of a make target had of some variables."""
        return [
            tuple(call["env"].get(name, "") for name in names)
            for call in self.of(target)
        ]

    def steps(self, job: str) -> list[str]:
        return [call["did"] for call in self.calls if call["job"] == job]

    def files(self, artifact: str) -> dict[str, str]:
        """Return the files of an artifact with what is in them."""
        folder = self.artifacts / artifact
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(folder)): path.read_text() for path in paths
        }


@dataclass
class Repository:
    """A repository that has the gate, as GitHub holds it, and its runs."""

    origin: Path
    runs: int = 0

    def __post_init__(self) -> None:
        git("branch", "--move", "main", cwd=self.origin)
        git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.origin)

    def pull_request(
        self, *paths: str, into: str = "main", **options: Any
    ) -> Ran:
        """Open a pull request that changes files."""
        request = {"number": 1, "base": {"ref": into}, "head": {"ref": "topic"}}
        payload = {"action": "opened", "number": 1, "pull_request": request}
        options |= {"changed": paths, "ref": "refs/pull/1/merge"}
        return self.run(
            "sam-cli-compat.yml", "pull_request", payload, **options
        )

    def merge_group(self, *paths: str, **options: Any) -> Ran:
        """Put a pull request that changes files into the merge queue."""
        ref = "refs/heads/gh-readonly-queue/main/pr-1"
        group = {"base_ref": "refs/heads/main", "head_ref": ref}
        payload = {"action": "checks_requested", "merge_group": group}
        options |= {"changed": paths, "ref": ref}
        return self.run("sam-cli-compat.yml", "merge_group", payload, **options)

    def schedule(self, **options: Any) -> Ran:
        payload = {"schedule": "23 3 * * *"}
        return self.run("sam-cli-compat.yml", "schedule", payload, **options)

    def dispatch(self, workflow: str, **inputs: str) -> Ran:
        """Run a workflow by hand."""
        return self.run(workflow, "workflow_dispatch", {"inputs": inputs})

    def release(
        self, tag: str, *, prerelease: bool = False, **options: Any
    ) -> Ran:
        release = {"tag_name": tag, "prerelease": prerelease}
        payload = {"action": "released", "release": release}
        options["ref"] = f"refs/tags/{tag}"
        return self.run("ecr-release.yml", "release", payload, **options)

    def run(
        self,
        workflow: str,
        event: str,
        payload: dict[str, Any],
        *,
        ref: str = "refs/heads/main",
        changed: tuple[str, ...] = (),
        fork: bool = False,
        failing: str = "",
        again: Ran | None = None,
    ) -> Ran:
        """Run a workflow at a ref that changes files.

        `failing` names make targets, or target:platform; `again` is a run whose artifacts it finds.
        """
        self.runs += 1
        folder = self.origin.with_name(f"run-{self.runs}")
        clone = folder / "clone"
        git("clone", "--quiet", str(self.origin), str(clone), cwd=self.origin)
        for name in changed:
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            with (clone / name).open("a") as file:
                file.write("# changed\n")
        commit_all(clone, f"run {self.runs}")
        if ref != "refs/heads/main":
            git(
                "push", "--quiet", "--force", "origin", f"HEAD:{ref}", cwd=clone
            )
        else:
            git("reset", "--quiet", "--hard", "origin/main", cwd=clone)
        workflows = clone / ".github/workflows"
        for path in workflows.iterdir():
            path.write_text(for_act(path.read_text()))
        payload |= {"repository": {"default_branch": "main", "fork": fork}}
        (folder / "event.json").write_text(json.dumps(payload))
        (folder / "calls").touch()
        artifacts = again.artifacts if again else folder / "artifacts"
        artifacts.mkdir(exist_ok=True)
        environment = {
            "HOME": str(folder),  # act keeps a cache there
            "PATH": f"{with_make(folder)}:{os.environ['PATH']}",
            "DOCKER_HOST": "unix:///nowhere",
            "PYTHONDONTWRITEBYTECODE": "1",
            "REAL_MAKE": str(shutil.which("make")),
            "ORIGIN": f"file://{self.origin}",
            "ARTIFACTS": str(artifacts),
            "CALLS": str(folder / "calls"),
            "FAILING": failing,
        }
        command = [str(ACT), event, *OPTIONS, f"--env=GITHUB_REF={ref}"]
        command += [
            f"--eventpath={folder}/event.json",
            f"--workflows={workflows / workflow}",
        ]
        pins = {
            pin
            for path in workflows.iterdir()
            for pin in PIN.findall(path.read_text())
        }
        command += [
            f"--local-repository={pin}={stand_in(folder, pin)}" for pin in pins
        ]
        options: dict[str, Any] = {
            "cwd": clone,
            "env": environment,
            "timeout": PATIENCE,
        }
        options |= {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }
        done = subprocess.run(command, check=False, **options)
        lines = []
        printed = []
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                lines.append(json.loads(line))
                printed.append(lines[-1]["msg"].rstrip())
            else:
                printed.append(line)
        # What a failed test shows.
        print(*printed, sep="\n")
        calls = [
            json.loads(line)
            for line in (folder / "calls").read_text().splitlines()
        ]
        return Ran(results(lines), calls, printed, artifacts)


def results(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Return how the jobs of act's log ended; a skipped job has no result."""
    found = {}
    for line in lines:
        if result := line.get("jobResult"):
            # Behind the names of workflows, and before the number of a matrix' job.
            name = re.sub(r"-\d+$", "", line["job"].rpartition("/")[2].strip())
            found[name] = result
    return found


def for_act(workflow: str) -> str:
    """Return a workflow without what act 0.2.89 does not know, or does in another way."""
    workflow = re.sub(r"(?m)^(cache-mode: | +queue: ).*\n", "", workflow)
    # GitHub leaves out a job's empty outputs; here the first job of a matrix to end would set all.
    workflow = re.sub(
        r"(?m)^( +digest-[\w-]+: )\$\{\{ (.*steps\..*) \}\}", _later, workflow
    )
    # All jobs run on this machine: the stand-ins ask on which one GitHub would run them.
    machine = r"(?m)^    runs-on: (\$\{\{ matrix.*)"
    return re.sub(
        machine, r"    runs-on: \1\n    env:\n      MACHINE: \1", workflow
    )


def _later(output: re.Match[str]) -> str:
    """Return an output that stays an expression while it is empty."""
    name, value = output.groups()
    quoted = value.replace("'", "''")
    return f"{name}${{{{ ({value}) || '${{{{ {quoted} }}}}' }}}}"


def with_make(folder: Path) -> Path:
    """Return a folder for PATH with a stand-in for make."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "make").write_text(f'#!/bin/sh\n{STAND_IN} make "$@"\n')
    (programs / "make").chmod(0o755)
    return programs


def stand_in(folder: Path, pin: str) -> Path:
    """Return the folder of an action that takes a pinned one's place."""
    name = pin.partition("@")[0]
    step = {
        "shell": "bash",
        "run": f"{STAND_IN} {name}",
        "env": {"INPUTS": "${{ toJSON(inputs) }}"},
    }
    inputs = {
        key: {"description": key, "default": default or ""}
        for key, default in ACTIONS[name].items()
    }
    action = {
        "name": name,
        "description": name,
        "inputs": inputs,
        "runs": {"using": "composite", "steps": [step]},
    }
    path = folder / "actions" / name
    path.mkdir(parents=True)
    (path / "action.yml").write_text(json.dumps(action))
    return path
