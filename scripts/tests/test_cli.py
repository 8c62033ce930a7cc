"""How a script starts and ends, and what it prints of the programs that it calls."""

import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gate import workspace
from gate.cli import GateError
from gate.workspace import ROOT

from .conftest import Gate, commit_all, git

START = """
import os, signal, sys
sys.path.insert(0, {scripts!r})
from docker.errors import APIError, DockerException
from gate.cli import GateError, call, github_output, run_main, stream
def main():
    {body}
run_main(main)
"""
SECRET = "https://me:s3cret@localhost:1/x.git"


def command(body: str) -> list[str]:
    return [sys.executable, "-c", START.format(scripts=str(ROOT / "scripts"), body=body)]


def script(body: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run `body` as the main of a script."""
    own = os.environ | environ
    return subprocess.run(command(body), capture_output=True, encoding="utf-8", env=own)


@pytest.mark.parametrize(
    ("body", "code", "printed"),
    [
        ("return 0", 0, ""),
        ("return 1", 1, ""),
        ("raise GateError('X=1:\\nfix it')", 2, "error: X=1: fix it\n"),
        ("open('/nowhere')", 2, "error: [Errno 2] No such file or directory: '/nowhere'\n"),
        ("raise APIError('no')", 2, "error: the Docker engine refused a request: no\n"),
        ("raise DockerException('no')", 2, "error: the Docker engine refused a request: no\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 130, "interrupted\n"),
    ],
)
def test_each_way_to_end_has_its_exit_code_and_one_line(body: str, code: int, printed: str) -> None:
    done = script(body)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", printed)


def test_a_mistake_of_the_gate_is_not_a_red_verdict() -> None:
    done = script("return 1 // 0")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: internal error; please report it")


def test_a_step_prints_its_command_and_streams_while_it_runs(tmp_path: Path) -> None:
    there = f"[ -e {tmp_path}/go ]"
    wait = f"echo one; for n in $(seq 300); do {there} && break; sleep 0.02; done"
    wait += f"; {there} && echo two; exit 3"
    running = command(f"stream({wait!r}, failure='X failed')")
    pipe = subprocess.PIPE
    with subprocess.Popen(running, stdout=pipe, stderr=pipe, text=True) as step:
        assert step.stdout
        assert [step.stdout.readline() for _ in range(2)] == [f"+ {wait}\n", "one\n"]
        (tmp_path / "go").touch()
        assert step.communicate() == ("two\n", "error: X failed (exit code 3, see above)\n")
        assert step.returncode == 2


def test_users_and_passwords_in_urls_are_not_printed() -> None:
    step = script(f"stream(['false', {SECRET!r}], failure='no')")
    asked = script(f"call(['sh', '-c', 'echo $0 >&2; exit 1', {SECRET!r}], failure='no')")
    assert step.stdout == "+ false https://localhost:1/x.git\n"
    assert asked.stderr == "error: no: https://localhost:1/x.git\n"


def test_outputs_of_a_github_step_are_added(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("earlier=1\n")
    script("github_output(gated='true', digest_x='1')", GITHUB_OUTPUT=f"{tmp_path}/output")
    assert (tmp_path / "output").read_text() == "earlier=1\ngated=true\ndigest-x=1\n"
    assert script("github_output(gated='true')", GITHUB_OUTPUT="").returncode == 0


def test_a_run_beside_another_one_is_refused_and_leaves_its_verdict(template: Gate) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    verdict = template.root / f".compat/linux-{machine}/verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.touch()
    with (template.root / ".cache/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = template.script("compat.py")
    assert done.stdout.startswith("error: another run is working in this clone: ")
    assert (done.returncode, verdict.exists()) == (2, True)
    commit_all(template.root)
    assert git("ls-files", ".cache", ".compat", cwd=template.root) == ""


def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text("{")
    for name in ("half.json", "missing.json"):
        with pytest.raises(GateError, match=rf"/{name} is missing or damaged: run it again$"):
            workspace.read_json(tmp_path / name, remedy="run it again")
