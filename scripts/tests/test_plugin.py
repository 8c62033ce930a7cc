"""What is loaded into aws-sam-cli's own processes: the pytest plugin, and a faster start."""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
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
    environ = os.environ | {
        "PYTHONPATH": f"{PLUGIN}{os.pathsep}{folder}",
        "SAM_COMPAT_RECORDS": "records",
        "SAM_COMPAT_WORKTREE": str(folder),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "-p",
        "sam_compat_plugin",
    ]
    assert subprocess.run(command, cwd=folder, env=environ).returncode in (0, 1)
    return results.records(folder / "records")


def test_every_collected_test_has_the_outcome_that_pytest_reports(
    tmp_path: Path,
) -> None:
    _, listing = run(tmp_path, SUITE, "--collect-only")
    (tmp_path / "records").unlink()
    records = run(tmp_path, SUITE)
    by_id = results.tests(records, "a-1")
    assert list(by_id) == listing["collected"]
    outcomes = {
        test_id.partition("::")[2]: (result.outcome, result.message)
        for test_id, result in by_id.items()
    }
    assert len(outcomes) == 12
    assert outcomes == dict.fromkeys(outcomes, ("passed", "")) | NOT_PASSED
    assert all(
        test.began <= test.ended < test.began + 60 for test in by_id.values()
    )
    assert results.unfinished(records) == []


def test_versions_of_what_aws_sam_cli_needs_are_recorded(
    tmp_path: Path,
) -> None:
    records = run(tmp_path, SUITE, "--collect-only")
    assert results.versions(records) == {
        "docker": version("docker"),
        "pip": version("pip"),
        "pytest": version("pytest"),
    }


BUILDS = """
import pathlib, shutil

BUILD = pathlib.Path("tests/integration/testdata/durable/.aws-sam/build")

def test_builds():
    for function in ("A", "B"):
        for name in ("aws_durable_sdk-3.0.0", "boto3-1.40.0"):
            package = BUILD / function / f"{name}.dist-info"
            package.mkdir(parents=True)
            (package / "RECORD").write_text(f"{name}/__init__.py,sha256=x,1")

def test_removes():
    shutil.rmtree(BUILD)

def test_after():
    pass
"""


def test_the_functions_durable_packages_are_recorded_while_they_are_there(
    tmp_path: Path,
) -> None:
    records = run(tmp_path, BUILDS)
    content = b"aws_durable_sdk-3.0.0/__init__.py,sha256=x,1"
    ((name, (of_package, digest)),) = results.functions_packages(
        records
    ).items()
    assert (name, of_package) == ("aws-durable-sdk", "3.0.0")
    assert digest == hashlib.sha256(content).hexdigest()
    packages = [each for each in records if "functions_packages" in each]
    assert len(packages) == 1


LISTING = """
from types import SimpleNamespace
from docker.models.containers import ContainerCollection

all_mounts = ([dict(Source="{0}/src")], [dict(Source="{0}-2/src")], None)
containers = [SimpleNamespace(attrs=dict(Mounts=mounts)) for mounts in all_mounts]
ContainerCollection.list = lambda self, *args, **kwargs: containers
"""
LISTS = """
from docker.models.containers import ContainerCollection

def test_lists():
    functions = dict(label="sam.cli.container.type=lambda")
    (own,) = ContainerCollection().list(all=True, filters=functions)
    assert own.attrs["Mounts"][0]["Source"].endswith("/src")
    assert len(ContainerCollection().list(all=True, filters=dict(name="x"))) == 3
"""


def test_a_listing_of_function_containers_shows_the_shards_own_only(
    tmp_path: Path,
) -> None:
    (tmp_path / "listing.py").write_text(LISTING.format(tmp_path))
    (test,) = results.tests(run(tmp_path, LISTS, "-p", "listing"), "").values()
    assert (test.outcome, test.message) == ("passed", "")


# --- a faster start

CHECK = (
    "def attach_import_module_proxy(): raise RuntimeError('checks its imports')"
)
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
    ids=["samdev", "sam", "samdev of a release without the check"],
)
def test_samdev_alone_starts_without_its_check(
    tmp_path: Path, program: str, has_check: bool, says: str
) -> None:
    (tmp_path / "samcli/cli").mkdir(parents=True)
    if has_check:
        (tmp_path / "samcli/cli/import_module_proxy.py").write_text(CHECK)
    (tmp_path / program).write_text(PROGRAM)
    environ = os.environ | {"PYTHONPATH": str(PLUGIN)}
    command = [sys.executable, program]
    printed = subprocess.check_output(
        command, cwd=tmp_path, env=environ, text=True
    )
    assert printed == f"{says}\n"
