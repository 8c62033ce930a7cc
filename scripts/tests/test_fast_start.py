"""A faster start of `sam`, in a venv with a small package that lists its modules as aws-sam-cli does."""

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


def walk(package):
    names = []
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        names.append(module.name)
        if module.ispkg:
            names += walk(__import__(module.name, fromlist=["x"]))
    return names

import samcli
FOUND = walk(samcli)
MEMOISED = pkgutil.iter_modules.__module__ == "sam_compat_fast_start"
"""
PROGRAM = """
import json, pkgutil, sys
before = pkgutil.iter_modules
found = {}
try:
    from samcli.cli import hidden_imports
    found = {"found": hidden_imports.FOUND, "memoised": hidden_imports.MEMOISED, "file": hidden_imports.__file__}
except (ImportError, RuntimeError) as error:
    found = {"error": str(error)}
found |= {"restored": pkgutil.iter_modules is before}
found |= {"left": [type(finder).__name__ for finder in sys.meta_path if type(finder).__name__ == "Finder"]}
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
        for package in ("samcli", "samcli/cli", "samcli/lib", "samcli/lib/deep", "samcli/lib/deep/er"):
            (self.site / package).mkdir()
            (self.site / package / "__init__.py").touch()
            (self.site / package / "module.py").touch()
        self.hidden_imports = self.site / "samcli/cli/hidden_imports.py"
        self.hidden_imports.write_text(HIDDEN_IMPORTS)

    def run(self, program: str, **environ: str) -> dict[str, Any]:
        """Start a program of the venv that imports the module, and return what it saw."""
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


@pytest.mark.parametrize("program", ["sam", "samdev"])
def test_the_list_of_modules_is_the_same(made: Venv, program: str) -> None:
    fast, slow = made.run(program), made.run(program, SAM_COMPAT_FAST_START="0")
    assert (fast["memoised"], slow["memoised"]) == (True, False)
    assert fast["found"] == slow["found"]
    assert "samcli.lib.deep.er.module" in fast["found"]
    assert (fast["file"], fast["restored"], fast["left"]) == (slow["file"], True, [])


@pytest.mark.parametrize("program", ["pip", "pytest", "python-script", "sam-other"])
def test_other_programs_are_left_alone(made: Venv, program: str) -> None:
    found = made.run(program)
    assert (found["memoised"], found["left"]) == (False, [])


def test_a_plain_python_is_left_alone(made: Venv) -> None:
    text = "import sys; sys.exit(any(type(f).__name__ == 'Finder' for f in sys.meta_path))"
    assert subprocess.run([made.python, "-c", text]).returncode == 0


def test_where_the_module_does_not_exist_nothing_happens(made: Venv) -> None:
    made.hidden_imports.unlink()
    try:
        found = made.run("sam")
    finally:
        made.hidden_imports.write_text(HIDDEN_IMPORTS)
    assert found["error"].startswith("cannot import name 'hidden_imports'")
    assert found["restored"]


def test_where_the_module_fails_everything_is_as_before(made: Venv) -> None:
    made.hidden_imports.write_text(f"{HIDDEN_IMPORTS}\nraise RuntimeError(f'memoised: {{MEMOISED}}')")
    try:
        found = made.run("sam")
    finally:
        made.hidden_imports.write_text(HIDDEN_IMPORTS)
    assert (found["error"], found["restored"], found["left"]) == ("memoised: True", True, [])
