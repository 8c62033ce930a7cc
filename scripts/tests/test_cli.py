"""How a script starts and ends, calls other programs, and prints what others wrote."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate import cli, programs
from gate.cli import GateError
from gate.programs import call, stream
from gate.text import code, error_command, one_line, plain, without_secrets
from gate.workspace import ROOT

from .conftest import Gate, ends

STANDARD_LIBRARY = {"clean.py", "engine.py", "nightly.py", "required.py"}


def script(body: str, before: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run `body` as the main of a script."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"import os, signal, sys, time\nsys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
    text += f"{before}from gate.cli import GateError, run_main\ndef main():\n{indented}\nrun_main(main)\n"
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, encoding="utf-8", env=os.environ | environ, timeout=60
    )


@pytest.mark.parametrize("number", [0, 1])
def test_exit_code_is_what_main_returns(number: int) -> None:
    done = script(f"return {number}")
    assert (done.returncode, done.stderr) == (number, "")


def test_an_error_is_one_line_after_the_programs_own() -> None:
    done = script("raise GateError('X=1: fix it', ['last words', '::error::of a program\\x1b[2J'])")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "  | last words\n  | ::error::of a program\\x1b[2J\nerror: X=1: fix it\n"


def test_a_file_that_cannot_be_opened_is_one_line() -> None:
    done = script("open('/nowhere/x')")
    assert (done.returncode, done.stderr) == (2, "error: /nowhere/x: No such file or directory\n")


def test_a_mistake_of_the_gate_is_not_red() -> None:
    done = script("return 1 // 0")
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: Internal error; please report it with the traceback above"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_does_not_end_the_clean_up(name: str) -> None:
    done = script(
        "try:\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    time.sleep(9)\n"
        "finally:\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('cleaned up')\n",
        before="signal.signal(signal.SIGHUP, signal.SIG_DFL)\n",  # nohup, under which these tests may run, ignores it
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up\n", "interrupted\n")


def test_a_signal_can_be_put_off() -> None:
    done = script(
        "from gate.cli import signals_deferred\n"
        "with signals_deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('whole')\n"
        "print('not reached')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "whole\n", "interrupted\n")


def test_nohup_is_respected() -> None:
    body = "os.kill(os.getpid(), signal.SIGHUP)\nreturn 0"
    assert script(body, before="signal.signal(signal.SIGHUP, signal.SIG_IGN)\n").returncode == 0


def test_a_terminal_without_unicode() -> None:
    done = script("print('é 🟢')\nraise GateError('é')", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (2, "\\xe9 \\U0001f7e2\n", "error: \\xe9\n")


@pytest.mark.parametrize("name", sorted({path.name for path in (ROOT / "scripts").glob("*.py")} - STANDARD_LIBRARY))
def test_a_script_without_its_packages_is_one_line_and_never_red(name: str, tmp_path: Path) -> None:
    """As `python3 scripts/compat.py` is, outside of make."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-S", f"scripts/{name}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: Python has no docker and no dotenv: run this through make.*\n", done.stderr)


@pytest.mark.parametrize("name", ["image.py", "compat.py"])
def test_run_that_has_to_wait_for_another_one_leaves_its_verdict(template: Gate, name: str) -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    verdict = template.root / f".compat/linux-{architecture}/verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.touch()
    with (template.root / ".cache/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = template.script(name)
    assert done.stdout == "error: another run is working in this clone: wait for it, or use a second clone\n"
    assert (done.returncode, verdict.exists()) == (2, True)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a\nb\tc é", "a\nb\tc é"),
        ("a\r\nb", "a\nb"),
        ("::error::x", "\\::error::x"),
        ("a\n \t::set-env name=x::y", "a\n \t\\::set-env name=x::y"),
        ("a\r::error::x", "a\\r::error::x"),
        ("test.py::T::t", "test.py::T::t"),
        ("a ##[error]x", "a ##\\[error]x"),
        ("##vso[task.setvariable]x", "##\\vso[task.setvariable]x"),
        ("## heading", "## heading"),
        ("\x1b[31mred\x07\x00\x9b", "\\x1b[31mred\\x07\\x00\\x9b"),
        ("\u202egnp.exe\u200b\ufeff", "\\u202egnp.exe\\u200b\\ufeff"),
        ("\udcff", "\\udcff"),
    ],
)
def test_text_from_elsewhere_is_printed_and_does_nothing_else(text: str, printed: str) -> None:
    assert plain(text) == printed
    plain(text).encode()


def test_text_from_elsewhere_in_one_line() -> None:
    assert one_line(" durable\n::error::injected\u2028\x85 ") == "durable ::error::injected"
    assert one_line("\n::error::injected") == "\\::error::injected"


def test_text_from_elsewhere_in_markdown() -> None:
    assert code("a ``` b\n# c <b> [x](y) @you") == "`a ''' b # c <b> [x](y) @you`"
    assert code(" \n") == ""


def test_text_from_elsewhere_in_a_workflow_command() -> None:
    """GitHub decodes %25 in both, %3A and %2C in the title."""
    command = error_command("red: a,b\n::x", "100% of\n::error::x")
    assert command == "::error title=red%3A a%2Cb %3A%3Ax::100%25 of ::error::x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@example.com/x.git", "https://example.com/x.git"),
        ("ssh://me:se@cret@example.com/x", "ssh://example.com/x"),
        ("cloning https://token@a/b and http://c/d@e", "cloning https://a/b and http://c/d@e"),
        ("git@example.com:x.git", "git@example.com:x.git"),
    ],
)
def test_users_and_passwords_are_not_printed(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_call_returns_what_was_printed() -> None:
    assert call([sys.executable, "-c", "import sys; print('é'); print('x', file=sys.stderr)"], failure="no") == "é\n"


def test_call_that_fails_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GateError, match=r"^it failed \(exit code 3\)$") as error:
        call(["sh", "-c", "seq 30 >&2; echo https://me:secret@host/ >&2; exit 3"], failure="it failed")
    assert list(error.value.detail) == [*map(str, range(12, 31)), "https://host/"]
    with pytest.raises(GateError, match=r"^it failed: no-such-program was not found: install it$"):
        call(["no-such-program"], failure="it failed")
    monkeypatch.setattr(programs, "CALL_LIMIT", 0.2)
    with pytest.raises(GateError, match=r"^it failed: sleep did not end within 0\.2 s$"):
        call(["sleep", "60"], failure="it failed")


def test_a_step_prints_as_it_goes_and_keeps_all_in_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs/step.log"
    for word in ("one", "two"):
        stream(f"echo {word}; echo ::error::x; printf https://me:secret@host/", failure="no", log=log)
    printed = capfd.readouterr().out.splitlines()
    assert printed[1:4] == ["  | one", "  | \\::error::x", "  | https://host/"]
    assert printed[5] == "  | two"
    assert re.findall("(?m)^[+].* (one|two);", log.read_text()) == ["one", "two"], "each begins a line"


def test_a_step_that_fails_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(GateError, match=rf"^it failed \(exit code 3; the whole output is in {re.escape(str(log))}\)$"):
        stream("exit 3", failure="it failed", log=log)
    with pytest.raises(GateError, match=r"^it failed: no-such-program was not found: install it$"):
        stream(["no-such-program"], failure="it failed", log=log)


def test_a_step_that_finds_a_disk_full_says_that(tmp_path: Path) -> None:
    """Whatever else its failure could mean."""
    full = "echo 'failed to copy x: No space left on device (os error 28)'; exit 2"
    with pytest.raises(
        GateError, match=r"^it failed: No space left on a disk \(see .*/log\); free some and run again$"
    ):
        stream(full, failure="it failed", log=tmp_path / "log")
    with pytest.raises(GateError, match=r"^it failed \(exit code 2; the whole output is in "):
        stream("exit 2", failure="it failed", log=tmp_path / "log")


def test_a_program_that_may_not_be_run_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is any program for a user who may not read a folder on PATH."""
    (tmp_path / "tool").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateError, match=r"^it failed: tool was not found: install it$"):
        call(["tool"], failure="it failed")
    with pytest.raises(GateError, match=r"^it failed: tool was not found: install it$"):
        stream(["tool"], failure="it failed", log=tmp_path / "log")


def test_a_step_is_not_held_up_by_what_it_leaves_running(tmp_path: Path) -> None:
    began = time.monotonic()
    stream(f"sleep 985.{os.getpid()} & echo started", failure="no", log=tmp_path / "log")
    assert time.monotonic() - began < 60
    ends(f"sleep 985.{os.getpid()}")


def test_a_silent_step_says_that_it_still_runs_and_a_hanging_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "HEARTBEAT", 0.2)
    monkeypatch.setattr(programs, "STEP_LIMIT", 1)
    with pytest.raises(GateError, match="did not end within 1 s"):
        stream(["sleep", "60"], failure="it failed", log=tmp_path / "log")
    assert "  | … still running after 0 s" in capfd.readouterr().out


def test_outputs_of_a_github_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    cli.github_output(gated="true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    cli.github_output(gated="true", **{"digest-linux-amd64": "sha256:1"})
    assert (tmp_path / "output").read_text() == "gated=true\ndigest-linux-amd64=sha256:1\n"
