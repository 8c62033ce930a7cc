"""CONTRIBUTING.md's table of faults is that of the tests that try them, each of which checks its own row."""

import importlib
from pathlib import Path

import pytest

from config import ROOT


def rows() -> list[str]:
    """Return a row for each mark `fault`, in the order of files and tests."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for name, test in vars(importlib.import_module(f".{path.stem}", __package__)).items():
            for mark in getattr(test, "pytestmark", []) if name.startswith("test_") else []:
                if mark.name == "fault":
                    what, gets = mark.args
                    found.append(f"| {what} | {gets} | `{path.name}::{name}` |")
    return found


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="a copy of the template without its CONTRIBUTING.md")
def test_the_table_of_faults_is_that_of_the_tests() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.partition("| fault or sabotage | it gets | test |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert len(rows()) > 40
    assert table.splitlines() == rows(), "\n".join(["The table should be:", *rows()])
