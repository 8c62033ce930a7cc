"""`make changed` in real repositories: what decides that the gate runs."""

from pathlib import Path

import pytest

import changed
from command import GateError
from config import load

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


def touched(folder: Path, base: str = "HEAD~1") -> list[str]:
    return [line.replace("\t", " ") for line in changed.touched(folder, base, GLOBS)]


def test_nothing_guarded(repository: Path) -> None:
    for path in ("docs/c.md", "docs/new.md", "README.md", "docs/Dockerfile", "docs/src/x.py", "srcs"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text("changed")
    commit_all(repository)
    assert touched(repository) == []


def test_edited_and_added(repository: Path) -> None:
    for path in ("src/a.py", "src/deep/er/new.py", "Dockerfile", "docs/c.md"):
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_text("changed")
    commit_all(repository)
    assert touched(repository) == ["M Dockerfile", "M src/a.py", "A src/deep/er/new.py"]


def test_deleted(repository: Path) -> None:
    (repository / "src/deep/b.py").unlink()
    commit_all(repository)
    assert touched(repository) == ["D src/deep/b.py"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [("src/a.py", "docs/a.py", ["D src/a.py"]), ("docs/c.md", "src/c.md", ["A src/c.md"])],
)
def test_renamed_out_or_in(repository: Path, old: str, new: str, lines: list[str]) -> None:
    git("mv", old, new, cwd=repository)
    git("config", "diff.renames", "copies", cwd=repository)
    commit_all(repository)
    assert touched(repository) == lines


def test_mode_alone(repository: Path) -> None:
    (repository / "src/a.py").chmod(0o755)
    commit_all(repository)
    assert touched(repository) == ["M src/a.py"]


def test_a_submodule_that_moved(repository: Path) -> None:
    for commit in ("1" * 40, "2" * 40):
        git("update-index", "--add", "--cacheinfo", f"160000,{commit},src/vendored", cwd=repository)
        git("commit", "--quiet", "--message=pin", cwd=repository)
    git("config", "diff.ignoreSubmodules", "all", cwd=repository)
    assert touched(repository) == ["M src/vendored"]


def test_a_name_is_one_line(repository: Path) -> None:
    (repository / "src/two\nlines ä.py").write_text("x")
    commit_all(repository)
    assert touched(repository) == [r'A "src/two\nlines \303\244.py"']


def test_what_the_base_did_since_does_not_count(repository: Path) -> None:
    git("checkout", "--quiet", "-b", "topic", cwd=repository)
    (repository / "docs/c.md").write_text("changed")
    commit_all(repository)
    git("checkout", "--quiet", "develop", cwd=repository)
    (repository / "src/a.py").write_text("changed")
    base = commit_all(repository)
    git("checkout", "--quiet", "topic", cwd=repository)
    assert touched(repository, base) == []
    git("merge", "--quiet", "--no-edit", "develop", cwd=repository)  # what Actions checks out
    assert touched(repository, base) == []


def test_a_change_that_is_taken_back(repository: Path) -> None:
    before = (repository / "src/a.py").read_text()
    for content in ("changed", before):
        (repository / "src/a.py").write_text(content)
        commit_all(repository)
    assert touched(repository, "HEAD~2") == []


@pytest.mark.parametrize("base", ["", ZEROS, "1" * 40, "no-such-branch", "HEAD:src", "--all", "HEAD..HEAD", "HEAD\nx"])
def test_a_base_that_is_none(repository: Path, base: str) -> None:
    with pytest.raises(GateError, match="BASE"):
        touched(repository, base)


def test_a_shallow_clone_without_the_base(repository: Path, tmp_path: Path) -> None:
    base = git("rev-parse", "HEAD", cwd=repository)
    (repository / "docs/c.md").write_text("changed")
    commit_all(repository)
    git("clone", "--quiet", "--depth=1", f"file://{repository}", "shallow", cwd=tmp_path)
    with pytest.raises(GateError, match="is no commit in this clone"):
        touched(tmp_path / "shallow", base)
    git("fetch", "--quiet", "--unshallow", cwd=tmp_path / "shallow")
    assert touched(tmp_path / "shallow", base) == []


def test_no_history_in_common(repository: Path) -> None:
    base = git("rev-parse", "HEAD", cwd=repository)
    git("checkout", "--quiet", "--orphan", "other", cwd=repository)
    commit_all(repository, "another root")
    with pytest.raises(GateError, match="no history in common"):
        touched(repository, base)


def test_no_repository_at_all(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="is no commit"):
        touched(tmp_path)


@pytest.mark.parametrize(
    ("path", "gated"),
    [
        ("src/emulator/app.py", True),
        ("Dockerfile", True),
        ("pyproject.toml", True),
        ("Makefile", True),
        (".env.example", True),
        ("scripts/verdict.py", True),
        (".github/workflows/sam-cli-compat.yml", True),
        ("README.md", False),
        ("docs/src/page.md", False),
        (".github/dependabot.yml", False),
    ],
)
def test_the_default_globs(tmp_path: Path, path: str, gated: bool) -> None:
    commit_all(tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("x")
    commit_all(tmp_path)
    assert bool(changed.touched(tmp_path, "HEAD~1", load(environ={}).gated_paths)) == gated


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
    assert "GATED_PATHS='' (from environment)" in done.stdout
    assert output.read_text() == "earlier=1\n"


@pytest.mark.parametrize(("path", "guarded"), [("Dockerfile", True), ("docs/Dockerfile", False)])
def test_dockerfile_that_no_glob_knows_is_a_doubt(repository: Path, path: str, guarded: bool) -> None:
    (repository / path).touch()
    commit_all(repository)
    if guarded:
        changed.check(repository, repository / path, GLOBS)
        return
    with pytest.raises(GateError, match="GATED_PATHS leaves out docs/Dockerfile"):
        changed.check(repository, repository / path, GLOBS)
