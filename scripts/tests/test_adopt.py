"""make adopt: the gate copied into a repository that has files of its own, and updated there."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .support.git import commit_all, git

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ".sam-cli-compat"
EXAMPLE = f"{FOLDER}/.env.example"
COMPAT = ".github/workflows/sam-cli-compat.yml"
RELEASE = ".github/workflows/ecr-release.yml"
PROMOTE = ".github/workflows/promote.yml"
WORKFLOWS = [COMPAT, RELEASE, PROMOTE]


def make_template(root: Path) -> Path:
    """Commit the template as it is here to a new repository."""
    listed = git(
        "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    files = {
        name: read(ROOT / name)
        for name in listed.splitlines()
        if (ROOT / name).is_file()
    }
    return commit(root, files)


def make_host(root: Path) -> Path:
    """Commit files that lie where the gate would have some at the top."""
    names = ("Makefile", "scripts/own.py", RELEASE, ".gitignore")
    return commit(root, dict.fromkeys(names, "own\n"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The template."""
    return make_template(tmp_path / "template")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A repository that could adopt the gate."""
    return make_host(tmp_path / "host")


def commit(root: Path, files: dict[str, str]) -> Path:
    """Write and commit files, and return the folder."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    commit_all(root)
    return root


def read(path: Path) -> str:
    """Return a file's text."""
    return path.read_text(encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    """Replace what must be in a file."""
    assert old in read(path)
    path.write_text(read(path).replace(old, new), encoding="utf-8")


def run(
    source: Path, into: Path | str, folder: str
) -> "subprocess.CompletedProcess[str]":
    """Run `make adopt` of a template, without make."""
    return subprocess.run(
        [sys.executable, "scripts/tools/adopt.py"],
        cwd=source,
        env=os.environ | {"INTO": str(into), "FOLDER": folder},
        capture_output=True,
        text=True,
    )


def adopt(source: Path, host: Path, folder: str = "") -> tuple[str, set[str]]:
    """Adopt the gate or its update and commit it; return what was printed, and what changed."""
    done = run(source, host, folder)
    assert done.returncode == 0, done.stderr
    # All of it is staged.
    new = ("--modified", "--others", "--exclude-standard")
    assert git("ls-files", *new, cwd=host) == ""
    commit_all(host)
    # It needs nothing of the template's repository.
    assert git("fsck", "--no-dangling", cwd=host) == ""
    changed = git("diff", "--name-only", "--no-renames", "HEAD~", cwd=host)
    return done.stdout, set(changed.splitlines())


def refusal(source: Path, into: Path | str, folder: str = "") -> str:
    """Run `make adopt`, which must fail with one line, and return that."""
    done = run(source, into, folder)
    assert done.returncode == 2
    assert re.fullmatch("error: [^\n]*\n", done.stderr)
    return done.stderr


# --- a first copy


@dataclass(frozen=True)
class FirstCopy:
    """The gate in tools/gate: what was printed, and the files that are new in the host."""

    host: Path
    printed: str
    names: set[str]

    def inside(self) -> set[str]:
        """Return the files in the gate's folder, from there."""
        prefix = "tools/gate/"
        return {
            name.removeprefix(prefix)
            for name in self.names
            if name.startswith(prefix)
        }


@pytest.fixture(scope="module")
def first_copy(tmp_path_factory: pytest.TempPathFactory) -> FirstCopy:
    """A first copy, which no test changes."""
    folder = tmp_path_factory.mktemp("first")
    host = make_host(folder / "host")
    template = make_template(folder / "template")
    return FirstCopy(host, *adopt(template, host, "tools/gate/"))


def test_a_first_copy_replaces_only_the_hosts_release(
    first_copy: FirstCopy,
) -> None:
    inside = {f"tools/gate/{name}" for name in first_copy.inside()}
    assert first_copy.names - inside == set(WORKFLOWS)
    assert RELEASE in first_copy.printed


def test_a_first_copy_can_be_reviewed(first_copy: FirstCopy) -> None:
    assert len(first_copy.names) <= 46


def test_a_first_copy_has_the_scripts_without_tools_and_tests(
    first_copy: FirstCopy,
) -> None:
    scripts = {
        name for name in first_copy.inside() if name.startswith("scripts/")
    }
    assert "scripts/compat.py" in scripts
    of_template = re.compile(r"scripts/(tools|tests|.*-dev|.*\.in|.*\.toml)")
    assert list(filter(of_template.match, scripts)) == []
    assert first_copy.inside() - scripts == {
        "Makefile",
        ".env.example",
        ".gitattributes",
        ".gitignore",
        "docs/CONTRACT.md",
        "docs/FACTS.md",
        "docs/RELEASING.md",
    }


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_copied_workflow_names_the_gates_folder(
    first_copy: FirstCopy, workflow: str
) -> None:
    text = read(first_copy.host / workflow)
    assert "working-directory: tools/gate/\n" in text
    # `./` begins the name of an action or a workflow of the repository, and nothing else.
    assert not re.search(r"(?<![\w.])\./(?!\.github)", text)


def test_the_results_of_a_release_are_those_of_the_gates_folder(
    first_copy: FirstCopy,
) -> None:
    assert "path: tools/gate/.compat\n" in read(first_copy.host / RELEASE)


def test_what_the_host_must_set_is_empty_and_printed(
    first_copy: FirstCopy,
) -> None:
    # Not the template's own.
    settings = read(first_copy.host / "tools/gate/.env.example")
    assert "\nEMULATOR_SOURCE=\n" in settings
    for expected in ("RELEASE_TAG_PREFIX", "tools/gate/docs/RELEASING.md"):
        assert expected in first_copy.printed


# --- at the top of a repository


def test_at_the_top_the_hosts_gitignore_keeps_its_lines(
    source: Path, tmp_path: Path
) -> None:
    host = commit(tmp_path / "host", {".gitignore": "own\n"})
    adopt(source, host, ".")
    assert read(host / ".gitignore") == f"own\n{read(source / '.gitignore')}"
    assert read(host / COMPAT) == read(source / COMPAT)
    commit(source, {".gitignore": f"{read(source / '.gitignore')}new\n"})
    adopt(source, host, ".")
    assert read(host / ".gitignore") == f"own\n{read(source / '.gitignore')}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ".env\n.cache\n.compat\n"),
        ("own\n", "own\n.env\n.cache\n.compat\n"),
        ("no line end", "no line end\n.env\n.cache\n.compat\n"),
        (".env\nown\n", ".env\nown\n.cache\n.compat\n"),
    ],
    ids=["none", "one", "without a line end", "with .env"],
)
def test_at_the_top_dockerignore_keeps_the_gates_files_out_of_images(
    source: Path, tmp_path: Path, before: str | None, after: str
) -> None:
    files = {"own": "own\n"}
    if before is not None:
        files[".dockerignore"] = before
    host = commit(tmp_path / "host", files)
    _, changed = adopt(source, host, ".")
    assert read(host / ".dockerignore") == after
    assert ".dockerignore" in changed

    commit(source, {"scripts/new.py": "new\n"})
    _, changed = adopt(source, host, ".")
    assert changed == {"scripts/ADOPTED", "scripts/new.py"}


def test_below_the_top_there_is_no_dockerignore(
    source: Path, host: Path
) -> None:
    _, new = adopt(source, host)
    assert [name for name in new if name.endswith(".dockerignore")] == []


# --- an update


def test_a_years_update_keeps_edits_and_pins_that_moved(
    source: Path, host: Path
) -> None:
    commit(source, {"scripts/gate/old.py": "first\n\n\nlast\n"})
    adopt(source, host)
    actions = re.findall(
        "actions/(?:checkout|setup-python)@.*", read(host / COMPAT)
    )
    checkout, python = actions[:2]
    edit(host / COMPAT, checkout, "actions/checkout@host # v8.1")
    edit(host / EXAMPLE, "COMPAT_RERUNS=1", "COMPAT_RERUNS=0")
    edit(host / FOLDER / "scripts/gate/old.py", "last", "own")
    (host / PROMOTE).unlink()
    commit_all(host)

    edit(
        source / COMPAT,
        checkout,
        "actions/checkout@template # v9\n        id: new",
    )
    edit(source / COMPAT, python, "actions/setup-python@template # v9")
    edit(source / ".env.example", "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=2400")
    (source / "scripts/gate/old.py").rename(source / "scripts/gate/new.py")
    edit(source / "scripts/gate/new.py", "first", "newer")
    (source / "scripts/required.py").unlink()
    commit_all(source)
    _, changed = adopt(source, host)

    workflow = read(host / COMPAT)
    assert "actions/checkout@host # v8.1\n        id: new\n" in workflow
    assert "checkout@template" not in workflow
    assert "actions/setup-python@template # v9\n" in workflow
    settings = read(host / EXAMPLE)
    assert "COMPAT_RERUNS=0\n" in settings
    assert "COMPAT_TIMEOUT=2400\n" in settings
    assert read(host / FOLDER / "scripts/gate/new.py") == "newer\n\n\nown\n"
    names = ("ADOPTED", "required.py", "gate/old.py", "gate/new.py")
    scripts = {f"{FOLDER}/scripts/{name}" for name in names}
    assert changed == {COMPAT, EXAMPLE} | scripts


def test_a_conflict_is_left_with_gits_markers(source: Path, host: Path) -> None:
    adopt(source, host)
    edit(host / EXAMPLE, "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=900")
    commit_all(host)
    edit(source / ".env.example", "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=2400")
    commit(source, {"scripts/new.py": "new\n"})
    done = run(source, host, "")
    assert done.returncode == 2
    assert "error: resolve the conflicts" in done.stderr
    assert git("diff", "--name-only", "--diff-filter=U", cwd=host) == EXAMPLE
    assert "<<<<<<< HEAD\nCOMPAT_TIMEOUT=900\n" in read(host / EXAMPLE)
    assert read(host / FOLDER / "scripts/new.py") == "new\n"


@pytest.mark.parametrize(
    ("of_template", "of_host"),
    [("sha1", "sha256"), ("sha256", "sha1"), ("sha256", "sha256")],
)
def test_template_and_host_may_have_either_kind_of_hashes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_template: str,
    of_host: str,
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", of_template)
    source = make_template(tmp_path / "template")
    monkeypatch.setenv("GIT_DEFAULT_HASH", of_host)
    host = commit(tmp_path / "host", {"own": "own\n"})
    # It is the default of what `make adopt` makes, too.
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    adopt(source, host)
    commit(source, {"scripts/new.py": "new\n"})
    _, changed = adopt(source, host)
    names = ("ADOPTED", "new.py")
    assert changed == {f"{FOLDER}/scripts/{name}" for name in names}


# --- what cannot take the gate


@pytest.mark.parametrize(
    "into", ["", "{tmp}", "{tmp}/missing", "{tmp}/host/scripts", "{template}"]
)
def test_only_the_top_of_another_repository_can_take_the_gate(
    source: Path, host: Path, tmp_path: Path, into: str
) -> None:
    place = into.format(tmp=tmp_path, template=source)
    assert "INTO must be the top of another git repository" in refusal(
        source, place
    )
    assert git("status", "--porcelain", cwd=host) == ""


def test_a_folder_elsewhere_cannot_take_the_gate(
    source: Path, host: Path
) -> None:
    error = refusal(source, host, "../elsewhere")
    assert "FOLDER a folder in it" in error


def test_a_file_in_the_way_is_named_and_nothing_is_written(
    source: Path, host: Path
) -> None:
    assert f"{host} has Makefile already" in refusal(source, host, ".")
    assert git("status", "--porcelain", cwd=host) == ""


def test_an_adopted_commit_that_is_not_in_the_clone_is_named(
    source: Path, host: Path
) -> None:
    commit(host, {f"{FOLDER}/scripts/ADOPTED": "0" * 40})
    assert "000000000000 is not in this clone" in refusal(source, host)


def test_uncommitted_changes_of_the_host_are_left_alone(
    source: Path, host: Path
) -> None:
    edit(host / "Makefile", "own", "edited")
    assert "has uncommitted changes" in refusal(source, host)
    assert git("status", "--porcelain", cwd=host) == "M Makefile"
