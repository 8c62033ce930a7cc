"""The runner: how tests are split into shards, and what becomes of their results."""

import contextlib
import dataclasses
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from gate import environment, runner
from gate import git as sources
from gate.model import Run
from gate.monitor import Seen, Watch
from gate.programs import GateError
from gate.samcli import Checkout, SamCli
from gate.settings import Settings, load_committed

from .support.git import commit_all
from .support.runs import CANDIDATE
from .support.verdict import work_in

SHORT = [f"tests/test_short.py::T::test_{number}" for number in range(4)]
LONG = [f"tests/test_long.py::T::test_{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("slots", "sizes"),
    [(2, [12, 4]), (4, [6, 6, 4]), (6, [4, 4, 4, 4]), (99, [1] * 16)],
)
def test_each_test_is_in_one_shard_of_its_file_and_the_longest_come_first(
    slots: int, sizes: list[int]
) -> None:
    shards = runner.split([*SHORT, *LONG], slots, "retry1-")
    assert [len(shard.tests) for shard in shards] == sizes
    assert sorted(test for shard in shards for test in shard.tests) == sorted(
        [*SHORT, *LONG]
    )
    assert len({shard.name for shard in shards}) == len(shards)
    for shard in shards:
        (file,) = {test.partition("::")[0] for test in shard.tests}
        stem = Path(file).stem.removeprefix("test_")
        assert shard.name.startswith(f"retry1-{stem}-")


def test_shards_at_once_are_for_the_cores_of_the_engine_too() -> None:
    """Of Docker in a virtual machine, which often has fewer."""
    engine_of_one_core: Any = SimpleNamespace(info=lambda: {"NCPU": 1})
    settings = load_committed()
    assert runner.jobs(settings, engine_of_one_core) == 3
    seven = dataclasses.replace(settings, compat_jobs=7)
    assert runner.jobs(seven, engine_of_one_core) == 7


# --- a run without an engine

# The clock of the engine is a minute ahead: by that, one answer comes while `test_good` runs.
TESTS = """
import datetime, os, pathlib

def test_good():
    now = datetime.datetime.now(datetime.timezone.utc)
    log = pathlib.Path("FOLDER", os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"])
    with log.open("w") as file:
        for minutes, route in enumerate(["before", "x", "after"]):
            at = now + datetime.timedelta(minutes=minutes)
            print(f'{at:%Y-%m-%dT%H:%M:%S.%f}000Z "GET /{route} HTTP/1.1" 200 -', file=file)

def test_second_time_lucky():
    seen = pathlib.Path("FOLDER", "seen")
    assert seen.exists() or seen.touch()
"""
FILE = "tests/test_it.py"
CONTEXT = '{"Endpoints":{"docker":{"Host":"unix:///nowhere"}},"TLSMaterial":{}}'


@dataclass
class WithoutEngine:
    """What a run needs, made in a folder, with what its emulators would have logged."""

    folder: Path
    settings: Settings
    # Seconds by which the clock of the engine moves during the run.
    drift: float = 0.1
    # How many of a shard's emulators, of which there is one, crash.
    crashed: int = 0

    @property
    def answers(self) -> Path:
        """The folder where a test writes what its emulator logs, under the container's name."""
        return self.folder / "answers"

    def run(self, tests: str = TESTS, **settings: Any) -> Run:
        """Run a test file under the name FILE."""
        given: dict[str, Any] = {"samcli_tests": [FILE], "compat_jobs": 2}
        changed = dataclasses.replace(self.settings, **(given | settings))
        source = self.folder / "samcli/src"
        (source / "tests").mkdir(parents=True)
        (source / FILE).write_text(tests.replace("FOLDER", str(self.answers)))
        commit = commit_all(source)
        url = str(source)
        sources.fetch(url, commit, setting="SAMCLI_REFS")
        sam_cli = SamCli(
            ref="develop",
            commit=commit,
            only_regressions_count=False,
            requested_as=["develop"],
        )
        checkout = Checkout(sam_cli, url, source.parent, "1.164.0")
        folder = self.folder / "worktrees"
        folder.mkdir()
        return runner.run(changed, checkout, CANDIDATE, folder)

    def break_python(self, command: str) -> Path:
        """Let the Python of aws-sam-cli's venv be a shell command; return its path."""
        venv = self.folder / "samcli/venv"
        venv.unlink()
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin/python"
        python.write_text(f"#!/bin/sh\n{command}\n")
        python.chmod(0o755)
        return python

    @contextlib.contextmanager
    def monitor(self, watch: Watch) -> Iterator[Seen]:
        """Take what a test wrote for what its shard's emulator logged."""
        seen = Seen(clock_at_begin=60.0, clock_at_end=60.0 + self.drift)
        yield seen
        for answer in self.answers.glob(f"{watch.name}-*"):
            shard = watch.shard_of(answer.name)
            answer.rename(watch.log(shard))
            seen.started[shard] = Counter({CANDIDATE.image_id: 1})
            seen.crashed[shard] = self.crashed


@pytest.fixture
def without_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> WithoutEngine:
    """A clone and an aws-sam-cli of one test file; no engine is asked."""
    made = WithoutEngine(tmp_path, load_committed())
    work_in(monkeypatch, tmp_path)
    made.answers.mkdir()
    (tmp_path / "samcli").mkdir()
    (tmp_path / "samcli/venv").symlink_to(sys.prefix)
    monkeypatch.setattr(runner, "monitor", made.monitor)
    monkeypatch.setattr(runner, "load_committed", lambda: made.settings)
    # It asks pip, which takes half a second.
    monkeypatch.setattr(environment, "pip_variables", dict)
    client = SimpleNamespace(
        info=lambda: {"NCPU": 2}, version=lambda: {"Version": "28.5.1"}
    )
    monkeypatch.setattr(docker, "from_env", lambda **options: client)
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{CONTEXT}'\n")
    (tmp_path / "docker").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    return made


def test_a_retry_that_passes_is_flaky_and_answers_are_joined_to_their_test(
    without_engine: WithoutEngine,
) -> None:
    run = without_engine.run()
    assert (run.problems, run.notes) == ([], [])
    good, lucky = run.tests
    assert (good.outcome, lucky.outcome) == ("passed", "passed")
    assert (good.flaky, lucky.flaky) == (False, True)
    assert good.answers == {"GET /x": [200]}
    assert run.shard(good.shard).answered
    assert not run.shard(lucky.shard).answered
    # Each shard's worktree goes at its end: all of them at once may not fit.
    assert list(without_engine.folder.glob("worktrees/*/*")) == []


# An emulator that gets no request.
SILENT = """
import os, pathlib

def test_it():
    pathlib.Path("FOLDER", os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"]).touch()
"""


@pytest.mark.parametrize(
    ("tests", "crashed", "answered"),
    [(TESTS, 1, True), (SILENT, 1, False), (SILENT, 0, True)],
    ids=["it crashed later", "it only crashed", "it was asked nothing"],
)
def test_an_emulator_answered_if_it_logged_that_or_did_not_crash(
    without_engine: WithoutEngine, tests: str, crashed: int, *, answered: bool
) -> None:
    without_engine.crashed = crashed
    run = without_engine.run(tests)
    assert run.shard(run.tests[0].shard).answered == answered


@pytest.mark.parametrize("drift", [5.0, -5.0])
def test_answers_are_not_joined_where_the_engines_clock_moved(
    without_engine: WithoutEngine, drift: float
) -> None:
    """As of an engine in a virtual machine that slept."""
    without_engine.drift = drift
    run = without_engine.run()
    (note,) = run.notes
    assert f"clock moved by {drift:.0f} s" in note
    assert run.tests[0].answers == {}


@pytest.mark.parametrize(
    ("entries", "selected"),
    [
        ("FILE", ["test_good", "test_second_time_lucky"]),
        ("FILE::test_good", ["test_good"]),
        ("FILE::test_good FILE", ["test_good", "test_second_time_lucky"]),
    ],
    ids=["a file", "a test id", "both"],
)
def test_an_entry_of_samcli_tests_names_a_file_or_a_test(
    without_engine: WithoutEngine, entries: str, selected: list[str]
) -> None:
    named = entries.replace("FILE", FILE).split()
    run = without_engine.run(samcli_tests=list(named))
    assert [test.id for test in run.tests] == [
        f"{FILE}::{name}" for name in selected
    ]


def test_a_file_without_a_test_is_no_problem_of_its_run(
    without_engine: WithoutEngine,
) -> None:
    """That nothing of it passed is the reason."""
    run = without_engine.run("")
    assert (run.problems, run.tests) == ([], [])


def test_results_are_in_order_whatever_ends_first(
    without_engine: WithoutEngine,
) -> None:
    run = without_engine.run(f"{SLOW}\ndef test_zzz_fast():\n    pass\n")
    assert [test.id for test in run.tests] == [
        f"{FILE}::test_slow",
        f"{FILE}::test_zzz_fast",
    ]
    assert [shard.name for shard in run.shards] == ["it-0", "it-1"]


def test_a_test_id_that_does_not_exist_is_an_error(
    without_engine: WithoutEngine,
) -> None:
    """The setting is wrong, so this must not be red."""
    entry = f"{FILE}::test_god"
    error = f"^SAMCLI_TESTS: {entry} names no test of aws-sam-cli develop$"
    with pytest.raises(GateError, match=error):
        without_engine.run(samcli_tests=[FILE, entry])


def test_a_committed_file_that_does_not_exist_is_a_problem_of_the_run(
    without_engine: WithoutEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aws-sam-cli has moved it, and nothing of it is tested there."""
    gone = "tests/test_gone.py::test_x"
    committed = dataclasses.replace(
        without_engine.settings, samcli_tests=[gone]
    )
    monkeypatch.setattr(runner, "load_committed", lambda: committed)
    run = without_engine.run(samcli_tests=[FILE, gone])
    assert run.problems == [
        f"{gone} does not exist in this aws-sam-cli: was it moved? Name its new path in "
        "SAMCLI_TESTS"
    ]


@pytest.mark.parametrize(
    "entry", ["tests", "tests/test_i*.py", "tests/test_ti.py", f"{FILE}:12"]
)
def test_a_file_that_only_this_run_names_and_that_does_not_exist_is_an_error(
    without_engine: WithoutEngine, entry: str
) -> None:
    error = f"SAMCLI_TESTS: aws-sam-cli develop has no file {entry}"
    with pytest.raises(GateError, match=f"^{re.escape(error)}$"):
        without_engine.run(samcli_tests=[FILE, entry])


def test_pip_in_the_functions_gets_what_pip_of_the_caller_reads(
    without_engine: WithoutEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"PIP_CERT": "/ca.pem", "PIP_CONSTRAINT": "/mine.txt"}
    monkeypatch.setattr(environment, "pip_variables", lambda: settings)
    tests = f"import os\ndef test_it():\n    assert {settings}.items() <= os.environ.items()\n"
    assert [test.outcome for test in without_engine.run(tests).tests] == [
        "passed"
    ]


# --- a fault of the machine is an error, and not a red verdict


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        (
            "OSError: [Errno 28] No space left on device",
            "develop: the disk is full: free some space (see ",
        ),
        (
            "OSError: [Errno 122] Disk quota exceeded",
            "develop: the disk's quota is full: free some space (see ",
        ),
        (
            "OSError: [Errno 12] Cannot allocate memory",
            "develop: memory may be short: close other programs, or set COMPAT_JOBS",
        ),
        (
            "Error: PythonPipBuilder:ResolveDependencies - Could not satisfy x",
            "develop: what the functions under test need cannot be installed: check ",
        ),
        (
            "(rapid) Runtime exited with error: signal: killed",
            "develop: memory may be short: close other programs, or set COMPAT_JOBS",
        ),
        (
            "Error: Failed to pull emulator image repo/emulator:pr-1: 404",
            "develop: the image's tag was removed during the run, as by ",
        ),
        (
            "client version 1.35 is too old. Minimum supported API version is 1.44",
            "develop: this aws-sam-cli is too old for this Docker engine (see ",
        ),
    ],
)
def test_a_log_that_shows_a_fault_of_the_machine_is_an_error(
    without_engine: WithoutEngine, printed: str, error: str
) -> None:
    # Backwards, since pytest shows the source of what failed.
    says = f"print({printed[::-1]!r}[::-1])"
    with pytest.raises(GateError) as raised:
        without_engine.run(f"def test_it():\n    {says}\n    assert 0\n")
    assert str(raised.value).startswith(error)


def test_an_emulators_log_that_shows_a_fault_of_the_machine_is_an_error(
    without_engine: WithoutEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "log", lambda *_: without_engine.answers / "x")
    # Backwards, as above.
    printed = "No space left on device"[::-1]
    says = f'open("FOLDER/x", "w").write({printed!r}[::-1])'
    with pytest.raises(GateError, match=r"^develop: the disk is full: "):
        without_engine.run(f"def test_it():\n    {says}\n    assert 0\n")


# As where the disk of the logs is full: there no log can show that.
FULL = """
import resource

def test_it(capfd):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with capfd.disabled():
        print("x" * 2000)
"""


def test_a_log_that_cannot_be_written_is_an_error(
    without_engine: WithoutEngine,
) -> None:
    log = "suite-it-0.log cannot be written: is its disk full"
    with pytest.raises(GateError, match=log):
        without_engine.run(FULL)


def test_a_pytest_that_was_killed_is_an_error(
    without_engine: WithoutEngine,
) -> None:
    """As by Linux, where memory is short."""
    killed = "^develop: pytest was killed: memory may be short: "
    with pytest.raises(GateError, match=killed):
        without_engine.run(
            "import os, signal\n"
            "def test_it():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        )


def test_worktrees_that_are_removed_during_the_run_are_an_error(
    without_engine: WithoutEngine,
) -> None:
    """As by logind, when a user logs out (systemd/systemd#2039)."""
    folder = without_engine.folder / "worktrees"
    with pytest.raises(GateError, match=f"^develop: {folder}/.* was removed"):
        without_engine.run(
            "import shutil\n"
            f"def test_it():\n    shutil.rmtree('{folder}')\n    assert 0\n"
        )


def test_what_a_passed_test_prints_is_no_fault_of_the_machine(
    without_engine: WithoutEngine,
) -> None:
    run = without_engine.run(
        "def test_it(capfd):\n"
        "    with capfd.disabled():\n"
        "        print('No space left on device')\n",
    )
    assert [test.outcome for test in run.tests] == ["passed"]


# All tests fail, and the log shows an index that does not answer; the second time they pass.
OFFLINE = """
import pathlib

def test_it():
    seen = pathlib.Path("FOLDER", "seen")
    print("PythonPipBuilder:Resolve" + "Dependencies - Could not satisfy x")
    assert seen.exists() or seen.touch()
"""


def test_tests_that_pass_once_the_machine_can_again_are_flaky(
    without_engine: WithoutEngine,
) -> None:
    """Also where so many failed that nothing is tried again otherwise."""
    tests = "\n".join(f"test_{number} = test_it" for number in range(5))
    run = without_engine.run(f"{OFFLINE}\n{tests}\n")
    assert {test.outcome for test in run.tests} == {"passed"}
    assert any(test.flaky for test in run.tests)


def test_a_conftest_of_aws_sam_cli_that_is_broken_is_red(
    without_engine: WithoutEngine,
) -> None:
    conftest = without_engine.folder / "samcli/src/conftest.py"
    conftest.parent.mkdir(parents=True)
    conftest.write_text("import nowhere\n")
    (problem,) = without_engine.run().problems
    how = "shard collect ended with pytest's exit code 4 (see "
    assert problem.startswith(how)


# It fails, and its tear-down never ends.
QUITS = """
import os, pytest

@pytest.fixture
def quits():
    yield
    os._exit(1)

def test_it(quits):
    assert 0
"""


def test_a_shard_that_does_not_end_by_itself_is_red_and_nothing_is_run_again(
    without_engine: WithoutEngine,
) -> None:
    run = without_engine.run(QUITS)
    (problem,) = run.problems
    how = f"shard it-0 ended with pytest's exit code 1 in {FILE}::test_it (see "
    assert problem.startswith(how)
    assert [shard.name for shard in run.shards] == ["it-0"]


def test_a_shard_that_fails_without_a_failed_test_is_red(
    without_engine: WithoutEngine,
) -> None:
    """As by a plugin of aws-sam-cli."""
    conftest = without_engine.folder / "samcli/src/conftest.py"
    conftest.parent.mkdir(parents=True)
    conftest.write_text(
        "def pytest_sessionfinish(session):\n"
        "    if not session.config.option.collectonly:\n"
        "        session.exitstatus = 1\n"
    )
    (problem,) = without_engine.run("def test_it():\n    pass\n").problems
    how = "shard it-0 ended with pytest's exit code 1 (see "
    assert problem.startswith(how)


def test_a_python_that_hangs_is_ended_and_red(
    without_engine: WithoutEngine,
) -> None:
    without_engine.break_python("exec sleep 60")
    run = without_engine.run(compat_timeout=1)
    assert run.seconds < 30
    (problem,) = run.problems
    how = "shard collect did not end within COMPAT_TIMEOUT=1 s (see "
    assert problem.startswith(how)


def test_a_python_that_cannot_start_is_an_error(
    without_engine: WithoutEngine,
) -> None:
    """As one whose libraries are gone."""
    python = without_engine.break_python("exit 127")
    error = f"^{python} cannot run pytest \\(see .*\\): run `make clean`, then `make compat`$"
    with pytest.raises(GateError, match=error):
        without_engine.run()


def test_worktrees_that_do_not_fit_are_an_error_before_the_first_shard(
    without_engine: WithoutEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(free=0.5e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    with pytest.raises(GateError) as raised:
        without_engine.run(compat_jobs=9)
    assert str(raised.value) == (
        f"{without_engine.folder} has 0.5 GB free, the worktrees (shards at once: 2) need 0.8 GB: "
        "free some, or set COMPAT_JOBS to a lower number"
    )
    assert list(without_engine.answers.iterdir()) == []


# --- progress


SLOW = """
import time

def test_slow():
    time.sleep(2)
"""


def test_a_line_of_progress_comes_at_intervals(
    without_engine: WithoutEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(runner, "PROGRESS_INTERVAL", 0.3)
    without_engine.run(SLOW)
    lines = capsys.readouterr().out.splitlines()
    progress = "develop: 0 of 1 passed, 0 failed, 1 s"
    assert progress in lines
    assert lines[-1].startswith("develop: it-0: 1 passed in ")


def test_a_terminal_shows_progress_in_one_line_that_is_rewritten(
    without_engine: WithoutEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    without_engine.run(SLOW)
    start, *rewritten, last = capsys.readouterr().out.split("\r\x1b[K")
    assert start.endswith("develop: 1 tests in 1 shards\n")
    assert "develop: 0 of 1 passed, 0 failed, 1 s" in rewritten
    assert last.startswith("develop: it-0: 1 passed in ")
