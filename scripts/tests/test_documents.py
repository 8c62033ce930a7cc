"""The documents: what they name, cite and link to exists, and what they repeat is the code's."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CHANGELOG = ROOT / "CHANGELOG.md"
CONTRACT = ROOT / "docs/CONTRACT.md"
FACTS = ROOT / "docs/FACTS.md"
COPIED = [CONTRACT, FACTS, ROOT / "docs/RELEASING.md"]
OF_TODAY = [README, CONTRIBUTING, *sorted(ROOT.glob("docs/*.md"))]
GATE = ROOT / "scripts/gate"

MAKEFILES = [ROOT / "Makefile", ROOT / "scripts/tools/template.mk"]
# A command in a block of its own or in backticks: make, then targets, options and settings.
COMMAND = re.compile(
    r"(?:^ {4,}|`)(?:[A-Z_]+=\S+ )*make\b([^`#\n]*)", re.MULTILINE
)
SETTING = re.compile(
    r"\b(?:EMULATOR|SAMCLI|COMPAT|PUBLISH|RELEASE|GATED|SDK)_[A-Z_]+\b"
)
OF_WORKFLOWS = {"RELEASE_TAG"}
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
CITED_FACT = re.compile(r"FACTS\.md#([\w-]+)")
# "fact 26": facts had numbers before they had headings.
NUMBERED_FACT = re.compile(r"\bfacts? \d+\b", re.IGNORECASE)
# A numbered item of Markdown or of a docstring, and the lines that continue it.
ITEM = re.compile(r"^\d\. .*(?:\n {3}\S.*)*", re.MULTILINE)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def section(document: Path, heading: str) -> str:
    """Return a document's text below a heading, to the next one of any level."""
    _, _, below = read(document).partition(f"\n{heading}\n")
    assert below, f"{document.name} has no heading {heading}"
    return re.split(r"(?m)^#+ ", below)[0]


def anchors(document: Path) -> set[str]:
    """Return what a link to a heading of this document can name, as GitHub makes it."""
    headings = re.findall(r"(?m)^#+ (.+)$", read(document))
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def first_column(text: str) -> list[str]:
    """Return the names in backticks that begin a row of a table."""
    return re.findall(r"(?m)^\| `([^`]+)`", text)


def files_of_the_template() -> list[Path]:
    """Return each file that can cite a fact, but for this one."""
    paths = [ROOT / "Makefile", ROOT / ".env.example", *ROOT.glob("*.md")]
    for folder in ("scripts", "docs", ".github", ".ci"):
        paths += (ROOT / folder).rglob("*")
    return [
        path
        for path in paths
        if path.is_file()
        and path.parent.name != "__pycache__"
        and path != Path(__file__)
    ]


def facts_cited() -> list[tuple[str, str]]:
    """Return each file that cites a fact, with the fact's name."""
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in files_of_the_template()
        for name in CITED_FACT.findall(read(path))
    }
    return sorted(found)


# --- what a document names


@pytest.mark.parametrize("document", OF_TODAY, ids=lambda path: path.name)
def test_a_command_in_a_document_names_targets_of_make(document: Path) -> None:
    makefiles = "\n".join(read(path) for path in MAKEFILES)
    targets = set(re.findall(r"(?m)^([a-z]+):", makefiles))
    commands = COMMAND.findall(read(document))
    words = {
        word
        for command in commands
        for word in command.split()
        if word.isalpha()
    }
    assert words - targets == set()


@pytest.mark.parametrize("document", OF_TODAY, ids=lambda path: path.name)
def test_a_setting_in_a_document_is_in_env_example(document: Path) -> None:
    settings = set(re.findall(r"(?m)^([A-Z_]+)=", read(ROOT / ".env.example")))
    assert (
        set(SETTING.findall(read(document))) - settings - OF_WORKFLOWS == set()
    )


@pytest.mark.parametrize(
    "document", [*OF_TODAY, CHANGELOG], ids=lambda path: path.name
)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(
    document: Path,
) -> None:
    for name, anchor in LINK.findall(read(document)):
        if "://" in name:
            continue
        target = document.parent / name if name else document
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


@pytest.mark.parametrize("document", COPIED, ids=lambda path: path.name)
def test_a_copied_document_links_only_to_what_is_copied(document: Path) -> None:
    for name, _ in LINK.findall(read(document)):
        if name and "://" not in name:
            assert (document.parent / name).resolve() in COPIED, name


def test_readme_is_at_most_130_lines() -> None:
    assert len(read(README).splitlines()) <= 130


# --- facts


@pytest.mark.parametrize(("file", "fact"), facts_cited())
def test_a_cited_fact_has_a_heading(file: str, fact: str) -> None:
    assert fact in anchors(FACTS), f"{file} cites {fact}"


def test_a_fact_that_nothing_cites_is_background() -> None:
    relied_on, _, background = read(FACTS).partition("\n## Background\n")
    assert background
    facts = set(re.findall(r"(?m)^### (.+)$", relied_on))
    assert facts - {fact for _, fact in facts_cited()} == set()


def test_facts_are_cited_by_their_headings_and_not_by_numbers() -> None:
    numbered = {
        str(path.relative_to(ROOT)): NUMBERED_FACT.findall(read(path))
        for path in files_of_the_template()
    }
    assert {name: found for name, found in numbered.items() if found} == {}


# --- what the documents repeat


def test_the_contract_has_the_five_rules_word_for_word() -> None:
    docstring = ast.get_docstring(ast.parse(read(GATE / "rules.py"))) or ""
    rules = [on_one_line(item) for item in ITEM.findall(docstring)]
    assert len(rules) == 5
    in_contract = section(CONTRACT, "## The five rules")
    assert [on_one_line(item) for item in ITEM.findall(in_contract)] == rules
    (of_compared_refs,) = re.findall(
        r"For SAMCLI_COMPARED_REFS[^.]+\.", docstring
    )
    assert on_one_line(of_compared_refs) in on_one_line(in_contract)


def test_readme_has_a_sentence_for_each_rule() -> None:
    assert len(ITEM.findall(section(README, "## The five rules"))) == 5


def test_contributing_lists_every_module_of_the_gate() -> None:
    modules = {path.stem for path in GATE.glob("*.py")}
    folders = {f"{path.parent.name}/" for path in GATE.glob("*/*.py")}
    listed = first_column(
        section(CONTRIBUTING, "## Layout").partition("| value")[0]
    )
    assert sorted(listed) == sorted(modules | folders)


def modules_imported(module: Path) -> set[str]:
    """Return the modules of the gate that one of them imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(read(module))):
        if isinstance(node, ast.ImportFrom) and node.module == "gate":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (
            node.module or ""
        ).startswith("gate."):
            names.add(str(node.module).removeprefix("gate."))
    return names


@pytest.mark.parametrize(
    "module", sorted(GATE.glob("*.py")), ids=lambda path: path.stem
)
def test_imports_point_down_the_list_of_modules(module: Path) -> None:
    listed = first_column(section(CONTRIBUTING, "## Layout"))
    not_below = listed[: listed.index(module.stem) + 1]
    assert modules_imported(module) & set(not_below) == set()


def test_the_changelog_begins_with_this_version() -> None:
    version = read(ROOT / "scripts/VERSION").strip()
    assert re.findall(r"(?m)^## ([\d.]+)$", read(CHANGELOG))[0] == version
