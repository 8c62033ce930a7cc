"""What is loaded into aws-sam-cli's own processes: the pytest plugin, and a faster start."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate import results
from gate.workspace import ROOT

PLUGIN = ROOT / "scripts/gate/plugin"
SUITE = """
import unittest, pytest

def test_passes(): pass
def test_fails(): assert False, "no route"
def test_skips(): pytest.skip("not today")
@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
@pytest.mark.parametrize("p", ["a.py::b", "[x]", "é/", "\\x1b"])
def test_p(p): pass

@pytest.fixture
def broken_setup(): raise RuntimeError("in setup")
def test_setup(broken_setup): pass

@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("in teardown")
def test_teardown(broken_teardown): pass

class TestU(unittest.TestCase):
    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n): self.assertNotEqual(n, 1)
    def test_good_subtests(self):
        for n in range(3):
            with self.subTest(n=n): pass
"""
NOT_PASSED = {
    "test_fails": ("failed", "AssertionError: no route assert False"),
    "test_skips": ("skipped", "not today"),
    "test_is_expected_to_fail": ("skipped", "assert False"),
    "test_setup": ("failed", "RuntimeError: in setup"),
    "test_teardown": ("failed", "RuntimeError: in teardown"),
    "TestU::test_subtests": ("failed", "AssertionError: 1 == 1"),
}


def run(folder: Path, text: str, *options: str) -> list[dict[str, Any]]:
    """Run a test file with the plugin and return its records."""
    (folder / "test_it.py").write_text(text)
    environ = os.environ | {"PYTHONPATH": f"{PLUGIN}{os.pathsep}{folder}"}
    environ |= {"SAM_COMPAT_RECORDS": "records", "SAM_COMPAT_WORKTREE": str(folder)}
    command = [sys.executable, "-m", "pytest", *options, "-p", "sam_compat_plugin"]
    assert subprocess.run(command, cwd=folder, env=environ).returncode in (0, 1)
    return results.records(folder / "records")


def test_every_collected_test_has_the_outcome_that_pytest_reports(tmp_path: Path) -> None:
    (listing,) = run(tmp_path, SUITE, "--collect-only")
    (tmp_path / "records").unlink()
    records = run(tmp_path, SUITE)
    found = results.tests(records, "a-1")
    assert list(found) == listing["collected"]
    assert len(found) == 12
    for test_id, result in found.items():
        expected = NOT_PASSED.get(test_id.partition("::")[2], ("passed", ""))
        assert (result.outcome, result.message) == expected, test_id
        assert result.began <= result.ended < result.began + 60
    assert results.unfinished(records) == []


LISTING = """
from types import SimpleNamespace
from docker.models.containers import ContainerCollection

mounts = ([dict(Source="{0}/src")], [dict(Source="{0}-2/src")], None)
found = [SimpleNamespace(attrs=dict(Mounts=each)) for each in mounts]
ContainerCollection.list = lambda self, *args, **kwargs: found
"""
LISTS = """
from docker.models.containers import ContainerCollection

def test_lists():
    functions = dict(label="sam.cli.container.type=lambda")
    (own,) = ContainerCollection().list(all=True, filters=functions)
    assert own.attrs["Mounts"][0]["Source"].endswith("/src")
    assert len(ContainerCollection().list(all=True, filters=dict(name="x"))) == 3
"""


def test_listing_of_function_containers_shows_the_shards_own_only(tmp_path: Path) -> None:
    (tmp_path / "listing.py").write_text(LISTING.format(tmp_path))
    found = results.tests(run(tmp_path, LISTS, "-p", "listing"), "")
    assert [test.outcome for test in found.values()] == ["passed"]


# --- a faster start

CHECK = "def attach_import_module_proxy(): raise RuntimeError('checks its imports')"
PROGRAM = """
try:
    from samcli.cli.import_module_proxy import attach_import_module_proxy
    attach_import_module_proxy()
    print("no check")
except (ImportError, RuntimeError) as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("program", "has_check", "says"),
    [
        ("samdev", True, "no check"),
        ("sam", True, "checks its imports"),
        ("samdev", False, "no check"),
    ],
)
def test_samdev_alone_starts_without_its_check(
    tmp_path: Path, program: str, has_check: bool, says: str
) -> None:
    (tmp_path / "samcli/cli").mkdir(parents=True)
    if has_check:
        (tmp_path / "samcli/cli/import_module_proxy.py").write_text(CHECK)
    (tmp_path / program).write_text(PROGRAM)
    environ, command = os.environ | {"PYTHONPATH": str(PLUGIN)}, [sys.executable, program]
    assert subprocess.check_output(command, cwd=tmp_path, env=environ, text=True) == f"{says}\n"
