"""`make changed` in real repositories: what decides that the gate runs."""

import os
import re
import shutil
from pathlib import Path

import pytest

from gate import settings as layers
from gate import workspace
from gate.cli import GateError
from gate.sources import guarded

from .conftest import Gate, commit_all, git

GLOBS = ("src/**", "Dockerfile")
ZEROS = "0" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit with src/a.py, src/deep/b.py, docs/c.md and a Dockerfile."""
    folder = tmp_path / "repository"
    for path in ("src/a.py", "src/deep/b.py", "docs/c.md", "Dockerfile"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"one line of {path}\n" * 9)
    commit_all(folder)
    return folder


@pytest.fixture(autouse=True)
def here(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate lies at the top of that repository."""
    monkeypatch.setattr(guarded, "ROOT", repository)
    monkeypatch.setattr(layers, "ROOT", repository)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


def touched(base: str = "HEAD~1") -> list[str]:
    return [line.replace("\t", " ") for line in guarded.touched(base, GLOBS)]


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("changed")


def test_nothing_guarded(repository: Path) -> None:
    for path in ("docs/c.md", "docs/new.md", "README.md", "docs/Dockerfile", "docs/src/x.py", "srcs"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text("changed")
    commit_all(repository)
    assert touched() == []


def test_edited_and_added(repository: Path) -> None:
    for path in ("src/a.py", "src/deep/er/new.py", "Dockerfile", "docs/c.md"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text("changed")
    commit_all(repository)
    assert touched() == ["M Dockerfile", "M src/a.py", "A src/deep/er/new.py"]


def test_deleted(repository: Path) -> None:
    (repository / "src/deep/b.py").unlink()
    commit_all(repository)
    assert touched() == ["D src/deep/b.py"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [("src/a.py", "docs/a.py", ["D src/a.py"]), ("docs/c.md", "src/c.md", ["A src/c.md"])],
)
def test_renamed_out_or_in(repository: Path, old: str, new: str, lines: list[str]) -> None:
    git("mv", old, new, cwd=repository)
    git("config", "diff.renames", "copies", cwd=repository)
    commit_all(repository)
    assert touched() == lines


def test_mode_alone(repository: Path) -> None:
    (repository / "src/a.py").chmod(0o755)
    commit_all(repository)
    assert touched() == ["M src/a.py"]


def test_a_submodule_that_moved(repository: Path) -> None:
    for commit in ("1" * 40, "2" * 40):
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},src/vendored", cwd=repository)
        git("commit", "--quiet", "--message=pin", cwd=repository)
    git("config", "diff.ignoreSubmodules", "all", cwd=repository)
    assert touched() == ["M src/vendored"]


def test_a_name_is_one_line(repository: Path) -> None:
    (repository / "src/two\nlines ä.py").write_text("x")
    commit_all(repository)
    assert touched() == [r'A "src/two\nlines \303\244.py"']


def test_what_the_base_did_since_does_not_count(repository: Path) -> None:
    git("checkout", "--quiet", "-b", "topic", cwd=repository)
    (repository / "docs/c.md").write_text("changed")
    commit_all(repository)
    git("checkout", "--quiet", "develop", cwd=repository)
    (repository / "src/a.py").write_text("changed")
    base = commit_all(repository)
    git("checkout", "--quiet", "topic", cwd=repository)
    assert touched(base) == []
    git("merge", "--quiet", "--no-edit", "develop", cwd=repository)  # what Actions checks out
    assert touched(base) == []


def test_a_change_that_is_taken_back(repository: Path) -> None:
    before = (repository / "src/a.py").read_text()
    for content in ("changed", before):
        (repository / "src/a.py").write_text(content)
        commit_all(repository)
    assert touched("HEAD~2") == []


@pytest.mark.parametrize("base", ["", ZEROS, "1" * 40, "no-such-branch", "HEAD:src", "--all", "HEAD..HEAD", "HEAD\nx"])
def test_a_base_that_is_none(repository: Path, base: str) -> None:
    with pytest.raises(GateError, match="BASE"):
        touched(base)


def test_a_shallow_clone_without_the_base(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = git("rev-parse", "HEAD", cwd=repository)
    (repository / "docs/c.md").write_text("changed")
    commit_all(repository)
    git("clone", "--quiet", "--depth=1", f"file://{repository}", "shallow", cwd=tmp_path)
    monkeypatch.setattr(guarded, "ROOT", tmp_path / "shallow")
    with pytest.raises(GateError, match="is not a commit in this clone"):
        touched(base)
    git("fetch", "--quiet", "--unshallow", cwd=tmp_path / "shallow")
    assert touched(base) == []


def test_no_history_in_common(repository: Path) -> None:
    base = git("rev-parse", "HEAD", cwd=repository)
    git("checkout", "--quiet", "--orphan", "other", cwd=repository)
    commit_all(repository, "another root")
    with pytest.raises(GateError, match="no history in common"):
        touched(base)


def test_no_repository_at_all(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(GateError, match="is not a commit"):
        touched()


@pytest.mark.parametrize(
    ("path", "gated"),
    [
        ("src/emulator/app.py", True),
        ("Dockerfile", True),
        ("pyproject.toml", True),
        ("Makefile", True),
        (".env.example", True),
        ("scripts/gate/verdict/rules.py", True),
        (".github/workflows/sam-cli-compat.yml", True),
        ("README.md", False),
        ("docs/src/page.md", False),
        (".github/dependabot.yml", False),
    ],
)
def test_the_default_globs(repository: Path, monkeypatch: pytest.MonkeyPatch, path: str, gated: bool) -> None:
    monkeypatch.setattr(layers, "ROOT", workspace.ROOT)
    write(repository, path)
    commit_all(repository)
    assert bool(guarded.touched("HEAD~1", layers.load_committed().gated_paths)) == gated


OWN = ("Makefile", "makefile", "GNUmakefile", ".env", ".env.example", "scripts/a.py", "scripts/gate/b/c.py")
WORKFLOWS = ("sam-cli-compat.yml", "sam-cli-compat.yaml", "sam-cli-compat-2.yml", "ecr-release.yml", "ecr-release.yaml")


@pytest.mark.parametrize("path", [*OWN, *(f".github/workflows/{name}" for name in WORKFLOWS)])
@pytest.mark.parametrize("gate", ["", ".sam-cli-compat"])
def test_the_gates_own_files_always_count(
    repository: Path, monkeypatch: pytest.MonkeyPatch, gate: str, path: str
) -> None:
    """Whatever GATED_PATHS says, and in the folder that the gate has to itself."""
    (repository / gate).mkdir(exist_ok=True)
    monkeypatch.setattr(guarded, "ROOT", repository / gate)
    own = path if path.startswith(".github/") or not gate else f"{gate}/{path}"
    write(repository, own)
    commit_all(repository)
    assert touched() == [f"A {own}"]
    (repository / own).unlink()
    commit_all(repository)
    assert touched() == [f"D {own}"]


@pytest.mark.parametrize("path", ["scripts", "src"])
def test_a_folder_that_becomes_a_link_or_a_submodule_still_counts(repository: Path, path: str) -> None:
    shutil.rmtree(repository / path, ignore_errors=True)
    write(repository, "elsewhere/x.py")
    (repository / path).symlink_to("elsewhere")
    commit_all(repository)
    assert f"A {path}" in touched()
    (repository / path).unlink()
    (repository / path).symlink_to("docs")
    commit_all(repository)
    assert touched() == [f"M {path}"]
    (repository / path).unlink()
    for commit in ("1" * 40, "2" * 40):
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=repository)
        git("commit", "--quiet", "--message=pin", cwd=repository)
    assert touched() == [f"M {path}"]


@pytest.mark.parametrize("name", ["LITERAL", "GLOB", "NOGLOB", "ICASE"])
def test_git_variables_hide_no_file(repository: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write(repository, "src/a.py", "scripts/x.py")
    commit_all(repository)
    monkeypatch.setenv(f"GIT_{name}_PATHSPECS", "1")
    assert touched() == ["A scripts/x.py", "M src/a.py"]


@pytest.fixture
def output(template: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The template committed, with another commit on a page of docs; what Actions would read as the step's outputs."""
    monkeypatch.delenv("BASE", raising=False)
    commit_all(template.root)
    (template.root / "docs.md").write_text("changed")
    commit_all(template.root)
    template.settings["GITHUB_OUTPUT"] = str(tmp_path / "output")
    (tmp_path / "output").write_text("earlier=1\n")
    return tmp_path / "output"


def test_make_false(template: Gate, output: Path) -> None:
    done = template.make("changed", BASE="HEAD~1")
    assert (done.returncode, done.stdout) == (0, "gated=false\n")
    assert output.read_text() == "earlier=1\ngated=false\n"


def test_make_true_with_the_files_that_decided(template: Gate, output: Path) -> None:
    (template.root / "Makefile").open("a").write("\n")
    (template.root / ".env.example").open("a").write("\n")
    commit_all(template.root)
    done = template.make("changed", BASE="HEAD~2")
    assert (done.returncode, done.stdout) == (0, "gated=true\n  M\t.env.example\n  M\tMakefile\n")
    assert output.read_text() == "earlier=1\ngated=true\n"


@pytest.mark.parametrize("base", [None, "", ZEROS])
def test_make_true_in_doubt(template: Gate, output: Path, base: str | None) -> None:
    done = template.make("changed") if base is None else template.make("changed", BASE=base)
    assert done.returncode == 0
    assert done.stdout.startswith("gated=true\n  when in doubt, the gate runs: ")
    assert len(done.stdout.splitlines()) == 2
    assert output.read_text() == "earlier=1\ngated=true\n"


def test_make_outside_actions(template: Gate, output: Path) -> None:
    done = template.make("changed", BASE="HEAD~1", GITHUB_OUTPUT="")
    assert (done.returncode, done.stdout) == (0, "gated=false\n")


def test_make_with_globs_of_its_own(template: Gate, output: Path) -> None:
    assert template.make("changed", BASE="HEAD~1", GATED_PATHS="*.md").stdout == "gated=true\n  A\tdocs.md\n"


def test_a_bad_setting_is_an_error_not_an_answer(template: Gate, output: Path) -> None:
    done = template.make("changed", BASE="HEAD~1", GATED_PATHS="")
    assert done.returncode != 0
    assert "GATED_PATHS='' (from the environment)" in done.stdout
    assert output.read_text() == "earlier=1\n"


@pytest.mark.parametrize(
    ("given", "doubt"),
    [
        ("{top}", ""),
        (".", ""),
        ("https://host/emulator.git#main", ""),
        ("git@host:emulator.git", ""),
        ("{top}/..", ""),  # not in this repository
        ("docs", "GATED_PATHS leaves out docs/Dockerfile"),
        ("{top}/docs/", "GATED_PATHS leaves out docs/Dockerfile"),
        ("src", "does not name a folder of this repository with a Dockerfile"),
        ("src/a.py", "does not name a folder"),
        ("packages/emulator", "does not name a folder"),
        ("{top}#main", "does not name a folder"),
        (".#main:docs", "does not name a folder"),
    ],
)
def test_source_of_which_the_globs_may_leave_out_something(repository: Path, given: str, doubt: str) -> None:
    write(repository, "docs/Dockerfile")
    commit_all(repository)
    source = given.format(top=repository)
    if not doubt:
        guarded.check_covered(source, GLOBS)
        return
    with pytest.raises(GateError, match=re.escape(doubt)):
        guarded.check_covered(source, GLOBS)


def test_commit_to_a_source_without_a_dockerfile_is_gated(template: Gate, output: Path) -> None:
    write(template.root, "emulator/app.py")
    commit_all(template.root)
    done = template.make("changed", BASE="HEAD~1", EMULATOR_SOURCE="emulator")
    assert done.stdout.startswith("gated=true\n  when in doubt, the gate runs: EMULATOR_SOURCE=emulator does not name")
