"""A copy of the template that a test drives as a user would: with make, scripts and settings."""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from gate.settings import TYPE_BY_NAME
from gate.workspace import ROOT

from .emulator import OTHERS
from .git import commit_all

MAKEFILES = "\n".join(
    (ROOT / name).read_text()
    for name in ("Makefile", "scripts/tools/template.mk")
)
IGNORED = shutil.ignore_patterns("__pycache__", ".*_cache")
PATIENCE = 300.0  # seconds; a run that takes longer hangs, on any machine
# The processes that the current test has started.
STARTED: "list[subprocess.Popen[str]]" = []
# The folders of all copies that this test run has made.
COPIES: list[Path] = []


@dataclass
class Judged:
    """What a run printed, and its verdict."""

    output: str = field(repr=False)
    verdict: dict[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        """Take the run of the first aws-sam-cli, and its tests by id without `tests/`."""
        self.green: bool = self.verdict["green"]
        self.reasons: list[str] = self.verdict["reasons"]
        self.run: dict[str, Any] = self.verdict["runs"][0]
        self.tests = {
            test["id"].removeprefix("tests/"): test
            for test in self.run["tests"]
        }


@dataclass
class Gate:
    """A copy of the template with settings of its own."""

    root: Path
    settings: dict[str, str]
    prepared: bytes = b""  # the candidate.json that prepare() made

    def environ(self, **settings: str) -> dict[str, str]:
        """Return this process's environment without what make, a job or a user set in it."""
        others = ("GITHUB_", "MAKE", "MFLAGS", "PYTHONDONTWRITEBYTECODE")
        own = {
            name
            for name in os.environ
            if name in TYPE_BY_NAME or name.startswith(others)
        }
        inherited = {
            name: value for name, value in os.environ.items() if name not in own
        }
        return inherited | self.settings | settings

    def start(self, *command: str, **settings: str) -> "subprocess.Popen[str]":
        """Start a command in the copy; its stdout has stderr too."""
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environ(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        STARTED.append(process)
        return process

    def run(
        self, *command: str, **settings: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the copy to its end; its stdout has stderr too."""
        with self.start(*command, **settings) as process:
            output = output_of(process)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def make(
        self, target: str, **settings: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a make target with settings from the environment."""
        return self.run("make", target, **settings)

    def script(
        self, name: str, **settings: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a script by itself: make turns its exit code 1 into 2."""
        return self.run(sys.executable, f"scripts/{name}", **settings)

    @property
    def results_folder(self) -> Path:
        """The folder of the one platform that this copy has results for."""
        (folder,) = [
            path for path in (self.root / ".compat").iterdir() if path.is_dir()
        ]
        return folder

    @property
    def clone(self) -> str:
        """What begins the names of everything that this copy makes outside of its folder."""
        place = f"{platform.node()}:{self.root}"
        return f"sam-compat-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    def worktrees(self) -> list[Path]:
        """Return the folders of worktrees that exist."""
        places = (Path("/dev/shm"), self.root / ".cache")
        return [
            folder
            for place in places
            for folder in place.glob(f"{self.clone}-*")
        ]

    def verdict(self) -> dict[str, Any]:
        """Return what verdict.json holds."""
        value: dict[str, Any] = json.loads(
            (self.results_folder / "verdict.json").read_text()
        )
        return value

    def prepare(self) -> None:
        """Make the candidate and install aws-sam-cli by this gate's settings, if not yet done."""
        candidate = next(self.root.glob(".compat/*/candidate.json"), None)
        if not candidate or candidate.read_bytes() != self.prepared:
            for target in ("image", "samcli"):
                done = self.make(target)
                assert done.returncode == 0, done.stdout
            self.prepared = next(
                self.root.glob(".compat/*/candidate.json")
            ).read_bytes()

    def judged(self, tests: str, **settings: str) -> Judged:
        """Run compat.py alone, without image.py and samcli.py where they have run before."""
        self.prepare()
        done = self.script("compat.py", SAMCLI_TESTS=tests, **settings)
        return self.judgement_of(done, exit_code_if_red=1)

    def compat(self, tests: str, **settings: str) -> Judged:
        """Run `make compat`."""
        done = self.make("compat", SAMCLI_TESTS=tests, **settings)
        return self.judgement_of(done, exit_code_if_red=2)

    def judgement_of(
        self, done: "subprocess.CompletedProcess[str]", *, exit_code_if_red: int
    ) -> Judged:
        """Return what a run came to; its exit code, its last line and the verdict must agree."""
        assert self.worktrees() == []
        assert "Traceback" not in done.stdout, done.stdout
        assert list(self.root.glob(".compat/*/verdict.json")), done.stdout
        verdict = self.verdict()
        assert done.returncode == (
            0 if verdict["green"] else exit_code_if_red
        ), done.stdout
        last = [
            line
            for line in done.stdout.splitlines()
            if not line.startswith("make")
        ][-1]
        assert last.startswith("green: " if verdict["green"] else "red: "), (
            done.stdout
        )
        assert verdict["green"] == (verdict["reasons"] == [])
        assert [
            reason for reason in verdict["reasons"] if reason not in done.stdout
        ] == []
        return Judged(done.stdout, verdict)


def copy_template(root: Path) -> Path:
    """Copy what a user copies. File times are kept, so that this test run's venv serves it too."""
    (root / ".cache").mkdir(parents=True)
    (root / ".cache/venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=IGNORED)
    for name in ("Makefile", ".env.example", ".gitignore"):
        shutil.copy2(ROOT / name, root / name)
    COPIES.append(root)
    return root


def commit_settings(gate: Gate, **settings: str) -> None:
    """Write settings into a copy's .env.example and commit all of it, as an adopter does."""
    example = gate.root / ".env.example"
    text = example.read_text()
    for name, value in settings.items():
        text = re.sub(
            rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE
        )
    example.write_text(text)
    (gate.root / ".gitignore").write_text("/.cache/\n/.compat/\n")
    commit_all(gate.root)


def output_of(
    process: "subprocess.Popen[str]", patience: float = PATIENCE
) -> str:
    """Return what a run printed. One that does not end is killed and fails its test."""
    try:
        return process.communicate(timeout=patience)[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def wait_until(
    condition: Callable[[], object], *, of: "subprocess.Popen[str]"
) -> None:
    """Wait until a condition of a running process holds; fail the test if the process ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert of.poll() is None, of.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left_of_runs(client: docker.DockerClient) -> list[str]:
    """Return the names of containers and volumes that these tests' runs have left."""
    prefixes = (*(f"{Gate(root, {}).clone}-" for root in COPIES), f"{OTHERS}-")
    containers = client.api.containers(all=True)
    names = [
        name.lstrip("/")
        for container in containers
        for name in container["Names"] or []
    ]
    names += [
        volume["Name"] for volume in client.api.volumes()["Volumes"] or []
    ]
    return [name for name in names if name.startswith(prefixes)]
