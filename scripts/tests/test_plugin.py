"""The plugin inside the suite's pytest, driven as the gate drives it, and what the gate reads of its reports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gate import workspace
from gate.suite import junit, process
from gate.suite.progress import Progress

SUITE = """
import sys, unittest
import pytest

def test_passes(): pass
def test_fails(): assert False, "no route"
def test_skips(): pytest.skip("not today")
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
@pytest.mark.parametrize("p", ["a.py::b", "[x]", "ä/", "", "\\x1b"])
def test_p(p): pass

@pytest.fixture
def broken_setup(): raise RuntimeError("in setup")
@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("in teardown")
def test_setup(broken_setup): pass
def test_teardown(broken_teardown): pass
def test_both(broken_teardown): assert False

class TestC:
    class TestD:
        def test_d(self): pass

class TestU(unittest.TestCase):
    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertNotEqual(n, 1)
    def test_good_subtests(self):
        for n in range(3):
            with self.subTest(n=n): pass
"""
FAILED = {"test_fails", "test_setup", "test_teardown", "test_both", "TestU::test_subtests"}
SKIPPED = {"test_skips", "test_is_expected_to_fail"}


class Suite:
    """A test file in a folder of its own, run in a session of its own: the plugin kills its process group."""

    def __init__(self, folder: Path, text: str = SUITE, conftest: str = "") -> None:
        self.folder, self.report, self.request = folder, folder / "report.jsonl", folder / "report.hand-over"
        (folder / "pkg").mkdir()
        (folder / "pkg/test_it.py").write_text(text)
        (folder / "conftest.py").write_text(conftest)

    def start(self, *arguments: str, gate: int | None = None) -> "subprocess.Popen[str]":
        environ = os.environ | {
            "PYTHONPATH": str(workspace.PLUGIN),
            "SAM_COMPAT_REPORT": str(self.report),
            "SAM_COMPAT_WORKTREE": str(self.folder),
            "SAM_COMPAT_GATE": str(gate or os.getpid()),
        }
        command = [sys.executable, "-m", "pytest", "-p", "sam_compat_plugin", "-p", "no:cacheprovider", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *arguments: str) -> str:
        with self.start(*arguments) as running:
            return running.communicate(timeout=60)[0]

    def records(self, name: str) -> list[dict[str, Any]]:
        return [record for line in self.report.read_text().splitlines() if name in (record := json.loads(line))]


def expected(test_id: str) -> str:
    name = test_id.partition("::")[2]
    return "failed" if name in FAILED else "skipped" if name in SKIPPED else "passed"


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_junit_and_reports_agree_on_every_test(tmp_path: Path, family: str) -> None:
    suite = Suite(tmp_path)
    suite.run("--collect-only", "--quiet")
    (collected,) = suite.records("collected")
    test_ids = collected["collected"]
    assert len(test_ids) == len(set(test_ids)) == 15
    suite.report.unlink()
    suite.run(f"--junitxml={tmp_path}/x.xml", "-o", f"junit_family={family}", *test_ids)
    results, wrong = junit.read(tmp_path / "x.xml", test_ids)
    assert wrong == []
    assert {test_id: results[test_id].outcome for test_id in test_ids} == {each: expected(each) for each in test_ids}
    assert "in teardown" in results["pkg/test_it.py::test_teardown"].message
    finished = suite.records("finished")
    assert [record["finished"] for record in finished] == test_ids, "one record for each test, subtests or not"
    assert [record["outcome"] for record in finished] == [expected(test_id) for test_id in test_ids]
    assert [record["started"] for record in suite.records("started")] == test_ids
    assert all(record["began"] < record["ended"] < record["began"] + 60 for record in finished)


def test_deselected_tests_are_reported(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    suite.run("--collect-only", "--quiet", "-k", "test_d")
    (collected,), (deselected,) = suite.records("collected"), suite.records("deselected")
    assert collected["collected"] == ["pkg/test_it.py::TestC::TestD::test_d"]
    assert len(deselected["deselected"]) == 14


def test_the_suites_own_retries_are_off(tmp_path: Path) -> None:
    """As pytest-rerunfailures reads its option: when the session starts."""
    conftest = (
        "def pytest_addoption(parser): parser.addoption('--reruns', type=int, dest='reruns')\n"
        "def pytest_sessionstart(session): print('reruns', session.config.option.reruns)\n"
    )
    assert "reruns 0\n" in Suite(tmp_path, "def test_x(): pass", conftest).run("--reruns=5", "-s")


def test_the_suites_own_split_is_off(tmp_path: Path) -> None:
    """As pytest-xdist does it: it reads its option first, and starts its workers when pytest is configured."""
    conftest = (
        "import pytest\n"
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--numprocesses', dest='numprocesses')\n"
        "    parser.addoption('--dist'), parser.addoption('--tx')\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_cmdline_main(config): config.option.dist, config.option.tx = 'load', ['popen'] * 2\n"
        "def pytest_configure(config): print('dist', config.option.dist, config.option.tx)\n"
    )
    assert "dist no []\n" in Suite(tmp_path, "def test_x(): pass", conftest).run("--numprocesses=2", "-s")


def test_a_test_that_ends_pytest_has_begun_and_not_finished(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "import os\ndef test_x(): os._exit(3)\ndef test_y(): pass")
    suite.run()
    assert [record["started"] for record in suite.records("started")] == ["pkg/test_it.py::test_x"]
    assert suite.records("finished") == []


def test_a_suite_ends_with_its_gate(tmp_path: Path) -> None:
    """Killed, where the gate that started it is gone: here, it never was its parent."""
    suite = Suite(tmp_path, "import time\ndef test_x(): time.sleep(60)")
    with suite.start(gate=1) as running:
        began = time.monotonic()
        assert running.wait(timeout=30) == -signal.SIGKILL
        assert time.monotonic() - began < 30


WHOLE = b'{"started": "a.py::t"}\n'


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\x00\n",
        b"Traceback (most recent call last):\n",
        b"\n",
        b"null\n",
        b"[1]\n",
        b"5\n",
        b'{"finished": 5, "outcome": "passed", "began": 1.0, "ended": 2.0}\n',
        b'{"finished": "a.py::t"}\n',
        b'{"finished": "a.py::t", "outcome": "passed", "seconds": NaN, "began": 1.0, "ended": 1e999}\n',
        b'{"finished": "a.py::t", "outcome": null, "began": "x", "ended": []}\n',
        b'{"collected": "abc"}\n',
        b'{"collected": [5]}\n',
        b'{"deselected": [{}]}\n',
        b'{"started": ["a"]}\n',
        b'{"finished": "a.py::t", "outc',
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda damage: repr(damage[:30]),
)
def test_a_damaged_report_counts_for_nothing(tmp_path: Path, damage: bytes) -> None:
    """A test may write there; the JUnit file decides."""
    (tmp_path / "report.jsonl").write_bytes(WHOLE + damage)
    with (tmp_path / "report.jsonl").open("rb") as report:
        records = list(process._new_records(report))
    assert [record for record in records if record] == [{"started": "a.py::t"}]
    ending = process.Ending(-9, records)
    assert (ending.values("collected"), ending.values("finished")) == ([], [])


def test_a_record_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(WHOLE + b'{"started": "a.p')
    with path.open("rb") as report, path.open("ab") as plugin:
        assert len(list(process._new_records(report))) == 1
        assert list(process._new_records(report)) == []
        plugin.write(b'y::u"}\n')
        plugin.flush()
        assert list(process._new_records(report)) == [{"started": "a.py::u"}]


def test_progress_is_a_line_for_each_test(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("develop")
    progress.show({"collected": ["a.py::T::t[\x1b]", "a.py::u"]}, 0.0)
    for name in ("started", "finished"):
        progress.show({name: "a.py::T::t[\x1b]", "outcome": "failed", "began": 1.0, "ended": 3.5}, 100.0)
    progress.show({"finished": "a.py::u", "outcome": "passed", "began": 1.0, "ended": 1.0}, 0.0)
    assert capsys.readouterr().out.splitlines() == [
        "develop [1/2] 0 s, about 100 s left: T::t[\\x1b] failed 2.5 s",
        "develop [2/2] 0 s: u passed 0.0 s",
    ]


# --- tests that are handed over to another shard

SLOW = """
import time, unittest

class TestSlow(unittest.TestCase):
    @classmethod
    def setUpClass(cls): print("set-up")
    @classmethod
    def tearDownClass(cls): print("tear-down")

def add(number):
    setattr(TestSlow, f"test_{number}", lambda self: time.sleep(1.2 if number < 2 else 0))
for number in range(6): add(number)
"""
ALL = [f"pkg/test_it.py::TestSlow::test_{number}" for number in range(6)]


@pytest.mark.parametrize(
    ("first", "kept"),
    [(ALL[4], 4), (ALL[2], 2), (ALL[0], 2), ("pkg/test_it.py::test_unknown", 6), ("", 6)],
    ids=["later", "the one after the next", "one that has begun", "unknown", "half written"],
)
def test_tests_that_are_handed_over_do_not_run_here_and_the_others_do(tmp_path: Path, first: str, kept: int) -> None:
    """Asked while the first test runs: that one and the next one always stay."""
    suite = Suite(tmp_path, SLOW)
    suite.request.write_text(first)
    output = suite.run("-s", f"--junitxml={tmp_path}/x.xml")
    assert [record["handed_over"] for record in suite.records("handed_over")] == [ALL[kept:]]
    assert [record["finished"] for record in suite.records("finished")] == ALL[:kept]
    assert (output.count("set-up"), output.count("tear-down")) == (1, 1)
    assert f"{kept} passed" in output
    results, wrong = junit.read(tmp_path / "x.xml", ALL[:kept])
    assert (list(results), wrong) == (ALL[:kept], [])
    assert not suite.request.exists()


def test_last_test_of_a_class_has_ended_before_its_tear_down(tmp_path: Path) -> None:
    """An emulator's errors count while a test runs: afterwards its folder is removed under it."""
    text = "import time\n\ndef teardown_module(): time.sleep(2)\n\ndef test_x(): pass\n"
    suite = Suite(tmp_path, text)
    suite.run()
    (record,) = suite.records("finished")
    assert record["ended"] - record["began"] < 1


def test_shard_that_is_not_asked_hands_over_nothing(tmp_path: Path) -> None:
    suite = Suite(tmp_path, SLOW)
    suite.run()
    assert suite.records("handed_over") == []
    assert len(suite.records("finished")) == 6
