"""What the documents show: make targets, settings and links that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from gate.settings import KNOWN, NOT_SETTINGS
from gate.workspace import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
# A command in a block of its own or in backticks: make, then targets, options and settings.
COMMAND = re.compile(r"(?:^ {4,}|`)(?:[A-Z_]+=\S+ )*make\b([^`#\n]*)", re.MULTILINE)
SETTING = re.compile(r"\b(?:EMULATOR|SAMCLI|COMPAT|PUBLISH|RELEASE|GATED)_[A-Z_]+\b")
# Of make and the workflows.
OTHERS = NOT_SETTINGS | {"RELEASE_TAG"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_what_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    commands = COMMAND.findall(text)
    assert commands
    words = {word for command in commands for word in command.split() if word.isalpha()}
    assert words <= TARGETS
    assert set(SETTING.findall(text)) <= KNOWN.keys() | OTHERS
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_make_alone_lists_every_target_and_every_script_has_one() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  ([a-z]+) +\S", listed.stdout, re.MULTILINE)) == TARGETS
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} <= TARGETS
