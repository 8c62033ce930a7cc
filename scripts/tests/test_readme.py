"""What the documents show: commands, settings and links that exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gate.settings import KNOWN, NOT_SETTINGS, load
from gate.workspace import ROOT

DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")) if path.is_file()]
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
# In an indented block up to the comment, or in backticks.
COMMAND = re.compile(r"(?m)^ {4,}((?:[A-Z_]+=\S+ )*make\b.*?)(?: +#.*)?$|`((?:[A-Z_]+=\S+ )*make\b[^`]*)`")
COMMANDS = sorted({found[1] or found[2] for text in TEXTS.values() for found in COMMAND.finditer(text)})
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
NAMES = KNOWN | NOT_SETTINGS | {"INTO", "FOLDER", "BASE", "NEEDS", "PYTHON"}


def test_the_documents_show_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_targets_and_settings_that_exist(command: str) -> None:
    words = shlex.split(command)
    settings = dict(word.split("=", 1) for word in words if re.match("[A-Z_]+=", word))
    targets = [word for word in words[words.index("make") + 1 :] if "=" not in word]
    if targets[:1] == ["-C"]:
        del targets[:2]
    assert set(targets) <= TARGETS
    assert set(settings) <= NAMES
    load({name: value for name, value in settings.items() if "…" not in value})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_no_setting_and_links_no_file_that_does_not_exist(document: Path) -> None:
    text = TEXTS[document]
    assert set(re.findall(r"\b(?:EMULATOR|SAMCLI|COMPAT|PUBLISH|GATED)_[A-Z_]+\b", text)) <= KNOWN | NOT_SETTINGS
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_contributing_lists_every_room_and_imports_point_down_the_list() -> None:
    table = re.findall(r"^\| (`.*) \| (.*) \|$", TEXTS[ROOT / "CONTRIBUTING.md"].partition("## Check")[0], re.MULTILINE)
    rows = [(re.findall(r"`([\w/]+)`", rooms), set(re.findall(r"`([\w/]+)`", about))) for rooms, about in table]
    gate = ROOT / "scripts/gate"
    rank = {room.rstrip("/"): number for number, (rooms, _) in enumerate(rows) for room in rooms}
    assert set(rank) == {path.stem for path in gate.iterdir() if not path.name.startswith("_")}
    for (room, *_), about in rows:
        if room.endswith("/"):
            assert {path.stem for path in (gate / room).glob("[a-z]*.py")} <= about, room
    for file in gate.glob("*/*.py"):
        names = re.findall(r"^from gate(?:\.(\w+)\S*)? import (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        imported = {name for room, what in names for name in ([room] if room else re.split(r", ", what))}
        assert [name for name in imported if rank[name] < rank[file.parent.name]] == [], file


def test_make_alone_lists_every_target_with_a_line() -> None:
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  ([a-z]+) +\S", listed.stdout, re.MULTILINE)) == TARGETS


def test_every_script_has_a_target() -> None:
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} <= TARGETS
