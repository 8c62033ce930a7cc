"""A faster start of `samdev`, in a venv with a small package that checks its imports as aws-sam-cli does."""

import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from gate.workspace import PLUGIN

MODULE = "sam_compat_fast_start"
HIDDEN_IMPORTS = """
import pkgutil

import samcli
SAM_CLI_HIDDEN_IMPORTS = [module.name for module in pkgutil.walk_packages(samcli.__path__, "samcli.")]
"""
CHECK = """
import importlib

from samcli.cli import hidden_imports


def attach_import_module_proxy():
    def refuse(name, package=None):
        raise RuntimeError(f"{name}: {'samcli.lib' in hidden_imports.SAM_CLI_HIDDEN_IMPORTS}")
    importlib.import_module = refuse
"""
PROGRAM = """
import importlib, json, sys
found = {}
try:
    from samcli.cli.import_module_proxy import attach_import_module_proxy
    attach_import_module_proxy()
    found = {"listed": "samcli.cli.hidden_imports" in sys.modules}
    found |= {"imported": importlib.import_module("wave").__name__}
except (ImportError, RuntimeError) as error:
    found |= {"error": str(error)}
found |= {"left": [type(finder).__name__ for finder in sys.meta_path if type(finder).__name__ == "WithoutCheck"]}
try:
    from samcli.cli.hidden_imports import SAM_CLI_HIDDEN_IMPORTS
    found |= {"list": sorted(SAM_CLI_HIDDEN_IMPORTS)}
except ImportError:
    pass
print(json.dumps(found))
"""


class Venv:
    """A venv with the gate's module, a package `samcli` and programs."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin/python"
        (self.site,) = folder.glob("lib/python*/site-packages")
        self.bin = folder / "bin"
        (self.site / f"{MODULE}.py").write_text((PLUGIN / f"{MODULE}.py").read_text())
        (self.site / f"{MODULE}.pth").write_text(f"import {MODULE}\n")
        for package in ("samcli", "samcli/cli", "samcli/lib", "samcli/lib/deep"):
            (self.site / package).mkdir()
            (self.site / package / "__init__.py").touch()
        (self.site / "samcli/cli/hidden_imports.py").write_text(HIDDEN_IMPORTS)
        self.check = self.site / "samcli/cli/import_module_proxy.py"
        self.check.write_text(CHECK)

    def run(self, program: str, **environ: str) -> dict[str, Any]:
        """Start a program of the venv that attaches the check, and return what it saw."""
        script = self.bin / program
        script.write_text(PROGRAM)
        inherited = {name: value for name, value in os.environ.items() if name != "SAM_COMPAT_FAST_START"}
        done = subprocess.run([self.python, script], env=inherited | environ, capture_output=True, text=True)
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    return Venv(tmp_path_factory.mktemp("fast") / "venv")


def test_samdev_imports_without_the_check_and_its_list(made: Venv) -> None:
    found = made.run("samdev")
    assert (found["listed"], found["imported"], found["left"]) == (False, "wave", [])


def test_the_list_itself_stays_the_same(made: Venv) -> None:
    fast, slow = made.run("samdev"), made.run("samdev", SAM_COMPAT_FAST_START="0")
    assert "samcli.lib.deep" in slow["list"]
    assert fast["list"] == slow["list"]


@pytest.mark.parametrize(
    ("program", "environ"),
    [("samdev", {"SAM_COMPAT_FAST_START": "0"})] + [(each, {}) for each in ("sam", "pip", "pytest", "other")],
)
def test_other_programs_and_a_measured_samdev_are_left_alone(made: Venv, program: str, environ: dict[str, str]) -> None:
    found = made.run(program, **environ)
    assert (found["listed"], found["error"], found["left"]) == (True, "wave: True", [])


def test_a_plain_python_is_left_alone(made: Venv) -> None:
    text = "import sys; sys.exit(any(type(f).__name__ == 'WithoutCheck' for f in sys.meta_path))"
    assert subprocess.run([made.python, "-c", text]).returncode == 0


def test_where_the_module_does_not_exist_nothing_happens(made: Venv) -> None:
    made.check.unlink()
    try:
        found = made.run("samdev")
    finally:
        made.check.write_text(CHECK)
    assert found["error"].startswith("No module named 'samcli.cli.import_module_proxy'")
