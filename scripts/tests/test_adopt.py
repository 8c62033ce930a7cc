"""make adopt: the gate copied into a repository that has files of its own, and updated there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import commit_all, git

ROOT = Path(__file__).resolve().parents[2]
FOLDER, EXAMPLE = ".sam-cli-compat", ".sam-cli-compat/.env.example"
RELEASE, PROMOTE = ".github/workflows/ecr-release.yml", ".github/workflows/promote.yml"
COMPAT = ".github/workflows/sam-cli-compat.yml"
OWN = {"Makefile": "own\n", "scripts/own.py": "own\n", RELEASE: "own\n", ".gitignore": "own\n"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The template as it is here, committed."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    files = {name: read(ROOT / name) for name in names if (ROOT / name).is_file()}
    return commit(tmp_path / "template", files)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return commit(tmp_path / "host", OWN)


def commit(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    commit_all(root)
    return root


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    assert old in read(path)
    path.write_text(read(path).replace(old, new))


def run(source: Path, into: Path | str, folder: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"INTO": str(into), "FOLDER": folder}
    command = [sys.executable, "scripts/tools/adopt.py"]
    return subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True)


def adopt(source: Path, host: Path, folder: str = "") -> tuple[str, set[str]]:
    """Adopt the gate or its update and commit it; return what was printed, and what changed."""
    done = run(source, host, folder)
    assert done.returncode == 0, done.stderr
    commit_all(host)
    assert git("fsck", "--no-dangling", cwd=host) == ""  # it needs nothing of the template's
    changed = git("diff", "--name-only", "--no-renames", "HEAD~", cwd=host)
    return done.stdout, set(changed.splitlines())


def refused(source: Path, into: Path | str, folder: str = "") -> str:
    done = run(source, into, folder)
    assert done.returncode == 2
    assert re.fullmatch("error: [^\n]*\n", done.stderr)
    return done.stderr


def test_a_first_copy_replaces_only_the_hosts_release(source: Path, host: Path) -> None:
    printed, new = adopt(source, host, "tools/gate/")
    inside = {name.removeprefix("tools/gate/") for name in new if name.startswith("tools/gate/")}
    top = {"Makefile", ".env.example", ".gitattributes", ".gitignore", "docs", "scripts"}
    assert {name.split("/")[0] for name in inside} == top
    assert not [name for name in inside if re.match(r"scripts/(tools|tests|.*-dev|.*toml)", name)]
    assert new - {f"tools/gate/{name}" for name in inside} == {COMPAT, RELEASE, PROMOTE}
    assert len(new) <= 42
    for name in (COMPAT, RELEASE, PROMOTE):
        assert "working-directory: tools/gate/\n" in read(host / name)
        assert not re.search(r"(?<![\w.])\./(?!\.github)", read(host / name))
    assert "path: tools/gate/.compat\n" in read(host / RELEASE)
    assert "\nEMULATOR_SOURCE=\n" in read(host / "tools/gate/.env.example")  # not the template's
    for expected in (RELEASE, "RELEASE_TAG_PREFIX", "tools/gate/docs/RELEASING.md"):
        assert expected in printed


def test_at_the_top_the_hosts_gitignore_keeps_its_lines(source: Path, tmp_path: Path) -> None:
    host = commit(tmp_path / "host", {".gitignore": "own\n"})
    adopt(source, host, ".")
    assert read(host / ".gitignore") == f"own\n{read(source / '.gitignore')}"
    assert read(host / COMPAT) == read(source / COMPAT)
    commit(source, {".gitignore": f"{read(source / '.gitignore')}new\n"})
    adopt(source, host, ".")
    assert read(host / ".gitignore") == f"own\n{read(source / '.gitignore')}"


def test_a_years_update_keeps_edits_and_pins_that_moved(source: Path, host: Path) -> None:
    commit(source, {"scripts/gate/old.py": "first\n\n\nlast\n"})
    adopt(source, host)
    checkout, python = re.findall("actions/(?:checkout|setup-python)@.*", read(host / COMPAT))[:2]
    edit(host / COMPAT, checkout, "actions/checkout@host # v8.1")
    edit(host / EXAMPLE, "COMPAT_RERUNS=1", "COMPAT_RERUNS=0")
    edit(host / FOLDER / "scripts/gate/old.py", "last", "own")
    (host / PROMOTE).unlink()
    commit_all(host)

    edit(source / COMPAT, checkout, "actions/checkout@template # v9\n        id: new")
    edit(source / COMPAT, python, "actions/setup-python@template # v9")
    edit(source / ".env.example", "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=2400")
    (source / "scripts/gate/old.py").rename(source / "scripts/gate/new.py")
    edit(source / "scripts/gate/new.py", "first", "newer")
    (source / "scripts/required.py").unlink()
    commit_all(source)
    _, changed = adopt(source, host)

    assert "actions/checkout@host # v8.1\n        id: new\n" in read(host / COMPAT)
    assert "checkout@template" not in read(host / COMPAT)
    assert "actions/setup-python@template # v9\n" in read(host / COMPAT)
    assert "COMPAT_RERUNS=0\n" in read(host / EXAMPLE)
    assert "COMPAT_TIMEOUT=2400\n" in read(host / EXAMPLE)
    assert read(host / FOLDER / "scripts/gate/new.py") == "newer\n\n\nown\n"
    names = ("ADOPTED", "required.py", "gate/old.py", "gate/new.py")
    assert changed == {COMPAT, EXAMPLE, *(f"{FOLDER}/scripts/{name}" for name in names)}


def test_a_conflict_is_left_with_gits_markers(source: Path, host: Path) -> None:
    adopt(source, host)
    edit(host / EXAMPLE, "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=900")
    commit_all(host)
    edit(source / ".env.example", "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=2400")
    commit(source, {"scripts/new.py": "new\n"})
    done = run(source, host, "")
    assert (done.returncode, "error: resolve the conflicts" in done.stderr) == (2, True)
    assert git("diff", "--name-only", "--diff-filter=U", cwd=host) == EXAMPLE
    assert "<<<<<<< HEAD\nCOMPAT_TIMEOUT=900\n" in read(host / EXAMPLE)
    assert read(host / FOLDER / "scripts/new.py") == "new\n"


def test_what_cannot_take_the_gate_is_refused(source: Path, host: Path, tmp_path: Path) -> None:
    for into in ("", tmp_path, tmp_path / "missing", host / "scripts", source):
        assert "INTO must be the top of another git repository" in refused(source, into)
    assert "FOLDER a folder in it" in refused(source, host, "../elsewhere")
    assert f"{host} has Makefile already" in refused(source, host, ".")
    commit(host, {f"{FOLDER}/scripts/ADOPTED": "0" * 40})
    assert "000000000000 is not in this clone" in refused(source, host)
    edit(host / "Makefile", "own", "edited")
    assert "has uncommitted changes" in refused(source, host)
    assert git("status", "--porcelain", cwd=host) == "M Makefile"
