"""How a script starts and ends, and what it prints of the programs that it calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate import workspace
from gate.cli import NOT_OURS
from gate.workspace import ROOT

from .support.gate import Gate
from .support.git import commit_all, git

START = """
import os, signal, sys
sys.path.insert(0, {scripts!r})
from docker.errors import APIError, DockerException
from gate.cli import github_output, run_main
from gate.programs import GateError, call, stream
def main():
    {body}
run_main(main)
"""
SECRET = "https://me:s3cret@localhost:1/x.git"


def command(body: str) -> list[str]:
    """Return the command of a script with this `main`."""
    return [
        sys.executable,
        "-c",
        START.format(scripts=str(ROOT / "scripts"), body=body),
    ]


def script(body: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a script with this `main`."""
    return subprocess.run(
        command(body),
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environ,
    )


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("body", "exit_code", "printed"),
    [
        ("return 0", 0, ""),
        ("return 1", 1, ""),
        ("raise GateError('X=1:\\nfix it')", 2, "error: X=1: fix it\n"),
        (
            "open('/nowhere')",
            2,
            "error: [Errno 2] No such file or directory: '/nowhere'\n",
        ),
        (
            "raise OSError(28, 'No space left on device')",
            2,
            "error: [Errno 28] No space left on device: "
            f"is the disk of {ROOT} full?\n",
        ),
        (
            "raise APIError('no')",
            2,
            "error: the Docker engine refused a request: no\n",
        ),
        (
            "raise DockerException('no')",
            2,
            "error: the Docker engine refused a request: no\n",
        ),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 130, "interrupted\n"),
        # The terminal was closed.
        ("os.kill(os.getpid(), signal.SIGHUP)", 130, "interrupted\n"),
    ],
)
def test_each_way_to_end_has_its_exit_code_and_one_line(
    body: str, exit_code: int, printed: str
) -> None:
    done = script(body)
    assert (done.returncode, done.stdout, done.stderr) == (
        exit_code,
        "",
        printed,
    )


def test_a_run_under_nohup_outlives_its_terminal() -> None:
    hang_up = command("os.kill(os.getpid(), signal.SIGHUP)\n    return 1")
    done = subprocess.run(["nohup", *hang_up], capture_output=True)
    assert done.returncode == 1


def test_a_second_signal_does_not_end_the_clean_up() -> None:
    """Ctrl-C reaches make and the script, and make passes its own on."""
    body = """try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned up")
"""
    done = script(body)
    assert (done.returncode, done.stdout) == (130, "cleaned up\n")


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_governs_other_programs_from_outside_is_dropped(name: str) -> None:
    # With another PYTHONHOME this Python would not start.
    body = f"print(os.environ.get({name!r}))"
    done = script(body, **{name: sys.base_prefix})
    assert done.stdout == "None\n", done.stderr


@pytest.mark.parametrize(
    ("value", "absolute"),
    [
        ("a.txt", "{folder}/a.txt"),
        ("with space.txt", "{folder}/with space.txt"),
        ("a.txt b.txt", "{folder}/a.txt {folder}/b.txt"),
        ("http://x/a.txt b.txt", "http://x/a.txt {folder}/b.txt"),
        ("missing.txt", "missing.txt"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("name", ["PIP_CONSTRAINT", "SSL_CERT_FILE"])
def test_a_variable_that_names_a_file_names_it_in_every_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    absolute: str,
) -> None:
    """What the gate calls runs elsewhere: in aws-sam-cli's folder, or in a shard's."""
    for file in ("a.txt", "b.txt", "with space.txt"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    done = script(f"print(os.environ[{name!r}])", **{name: value})
    assert done.stdout == absolute.format(folder=tmp_path) + "\n"


def test_a_clone_that_gets_its_files_when_they_are_asked_for_is_a_source(
    tmp_path: Path,
) -> None:
    """As one by `git clone --filter=blob:none`."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "file").write_text("one\n")
    commit = commit_all(repository)
    git("config", "uploadpack.allowFilter", "true", cwd=repository)
    partial = tmp_path / "partial"
    options = ("--quiet", "--no-checkout", "--filter=blob:none")
    url = f"file://{repository}"
    git("clone", *options, url, str(partial), cwd=tmp_path)
    body = f"""from gate import git, workspace
    workspace.CACHE = workspace.Path({str(tmp_path / "cache")!r})
    arguments = ({str(partial)!r}, {commit!r})
    git.fetch(*arguments, setting="X")
    print(git.worktree(*arguments, workspace.CACHE / "files"))
"""
    done = script(body)
    files = tmp_path / "cache/files"
    assert done.stdout.splitlines()[-1] == str(files), done.stderr
    assert (files / "file").read_text() == "one\n"


def test_where_home_cannot_be_written_uv_keeps_its_files_below_the_cache() -> (
    None
):
    """As of a container's user that has no home (astral-sh/uv#9962)."""
    body = (
        "print(os.environ['UV_CACHE_DIR'], os.environ['UV_PYTHON_INSTALL_DIR'])"
    )
    done = script(body, HOME="/nowhere")
    cache = workspace.CACHE
    assert done.stdout == f"{cache}/uv {cache}/python\n", done.stderr


def test_a_closed_stdout_is_an_error_and_no_red_verdict() -> None:
    shell = ["sh", "-c", 'exec "$0" "$@" >&-', *command("return 0")]
    assert subprocess.run(shell, capture_output=True).returncode == 2


def test_output_that_a_terminal_cannot_show_is_replaced() -> None:
    body = "print('\\u201cred\\u201d'); raise GateError('caf\\xe9')"
    done = script(body, PYTHONIOENCODING="ascii")
    assert (done.stdout, done.stderr) == ("?red?\n", "error: caf?\n")
    assert done.returncode == 2


def test_a_mistake_of_the_gate_is_not_a_red_verdict() -> None:
    done = script("return 1 // 0")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"error: internal error in gate {workspace.VERSION}; please report it"
    )


def test_a_step_prints_its_command_and_streams_while_it_runs(
    tmp_path: Path,
) -> None:
    may_go_on = f"[ -e {tmp_path}/go ]"
    step = f"echo one; for n in $(seq 300); do {may_go_on} && break; sleep 0.02; done"
    step += f"; {may_go_on} && echo two; exit 3"
    running = command(f"stream({step!r}, failure='X failed')")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        running, stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == f"+ {step}\n"
        assert process.stdout.readline() == "one\n"
        (tmp_path / "go").touch()
        assert process.communicate() == (
            "two\n",
            "error: X failed (exit code 3, see above)\n",
        )
        assert process.returncode == 2


def test_a_password_in_the_url_of_a_step_is_not_printed() -> None:
    done = script(f"stream(['false', {SECRET!r}], failure='no')")
    assert done.stdout == "+ false https://localhost:1/x.git\n"


def test_a_password_in_the_url_of_an_error_is_not_printed() -> None:
    done = script(
        f"call(['sh', '-c', 'echo $0 >&2; exit 1', {SECRET!r}], failure='no')"
    )
    assert done.stderr == "error: no: https://localhost:1/x.git\n"


def test_make_needs_no_bash(template: Gate) -> None:
    done = template.run("make", "SHELL=/nonexistent/bash", "clean")
    assert (done.returncode, done.stdout) == (0, "")


def test_outputs_of_a_github_step_are_added(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("earlier=1\n")
    script(
        "github_output(gated='true', digest_x='1')", GITHUB_OUTPUT=str(output)
    )
    assert output.read_text() == "earlier=1\ngated=true\ndigest-x=1\n"


@pytest.mark.parametrize("end", ["\\n", "\\r"])
def test_an_output_of_a_github_step_with_a_second_line_is_refused(
    tmp_path: Path, end: str
) -> None:
    """It would be another output."""
    output = tmp_path / "output"
    done = script(
        f"github_output(gated='true{end}image=evil')", GITHUB_OUTPUT=str(output)
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: gated: 'true")
    assert output.read_text() == ""


def test_outputs_of_a_step_are_nothing_outside_of_github() -> None:
    assert (
        script("github_output(gated='true')", GITHUB_OUTPUT="").returncode == 0
    )
