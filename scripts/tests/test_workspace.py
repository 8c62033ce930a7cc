"""The paths of a clone, its lock, and files that are whole or not there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gate import workspace
from gate.cli import GateError

from .conftest import commit_all, git

REPOSITORY = workspace.ROOT  # whatever a test puts in its place


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another clone, as if the gate had been imported there."""
    move(monkeypatch, tmp_path)
    return tmp_path


def move(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    for name, path in (("ROOT", root), ("CACHE", root / ".cache"), ("COMPAT", root / ".compat")):
        monkeypatch.setattr(workspace, name, path)


HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from gate import workspace
workspace.ROOT, workspace.CACHE, workspace.COMPAT = (Path(sys.argv[2], name) for name in ("", ".cache", ".compat"))
with workspace.lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_run_at_a_time_and_a_killed_one_holds_nothing(clone: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(Path(workspace.__file__).parents[1]), str(clone)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(GateError, match="another run is working in this clone"), workspace.lock():
            pass
        other.kill()
    with workspace.lock():
        pass


def test_git_ignores_what_a_run_leaves(clone: Path) -> None:
    (clone / "file").touch()
    commit_all(clone)
    with workspace.lock():
        workspace.write(workspace.log("linux/amd64", "x"), "")
    assert git("status", "--porcelain", cwd=clone) == ""


ODD = ["$HOME", "$(touch x)", "a:b", "a\nb", "a\\b", 'a"b']
FINE = ["a b", "it's", "é", "#1", "50%", "[x]", "a;b&c", "a`touch x`b", "-x", "~"]


@pytest.mark.parametrize("odd", [*ODD, "a\udcff"], ids=ascii)
def test_a_folder_that_tools_cannot_handle_is_refused_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    move(monkeypatch, tmp_path / odd)
    (tmp_path / odd).mkdir()
    with pytest.raises(GateError, match="in a folder's name: move this clone"), workspace.lock():
        pass
    assert list((tmp_path / odd).iterdir()) == []


@pytest.mark.parametrize("name", FINE)
def test_a_folder_with_another_name_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    move(monkeypatch, tmp_path / name)
    (tmp_path / name).mkdir()
    with workspace.lock():
        pass


def make(folder: Path, python: str = "echo no venv in", target: str = "image") -> "subprocess.CompletedProcess[str]":
    """Run make in a folder up to where it would make its venv."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "scripts/requirements.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", target, f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, env=own | {"PWD": str(folder)}, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["image", "engine", "clean"])
def test_missing_python_is_one_line_that_names_its_package(tmp_path: Path, target: str) -> None:
    done = make(tmp_path / "clone", "python9", target)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(
        "error: python9 was not found: install Python 3.11 or newer, on Debian"
    )


def test_venv_whose_python_is_gone_is_made_again(tmp_path: Path) -> None:
    venv = tmp_path / "clone/.cache/venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(tmp_path / "removed/python3")
    for name in ("ready", "pyvenv.cfg"):
        (venv / name).touch()
    os.utime(venv / "ready", (2e9, 2e9))  # newer than what it is made of
    assert "no venv in -m venv --clear .cache/venv" in make(tmp_path / "clone").stdout


def test_venv_of_another_clone_behind_a_link_is_not_emptied(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("ready", "pyvenv.cfg"):
        (other / name).touch()
    (tmp_path / "clone/.cache").mkdir(parents=True)
    (tmp_path / "clone/.cache/venv").symlink_to(other)
    done = make(tmp_path / "clone")
    assert done.stderr.startswith("error: .cache/venv exists and is not a venv of this clone: remove it\n")
    assert "venv --clear" not in done.stdout
    assert (other / "pyvenv.cfg").exists()


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_make_refuses_such_a_folder_before_it_makes_a_venv(tmp_path: Path, odd: str) -> None:
    done = make(tmp_path / odd)
    assert done.stderr.startswith("error: ")
    assert "tools cannot handle" in done.stderr.splitlines()[0]
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(path.name for path in (tmp_path / odd).iterdir()) == ["Makefile", "scripts"]


@pytest.mark.parametrize("name", FINE)
def test_make_goes_on_in_a_folder_with_another_name(tmp_path: Path, name: str) -> None:
    done = make(tmp_path / name)
    assert "no venv in -m venv" in done.stdout, done.stderr
    assert "tools cannot handle" not in done.stderr
    assert not (tmp_path / name / "x").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b"\0" * 9, b"[" * 100_000, b"9" * 5000],
    ids=lambda content: repr(content[:9]),
)
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(GateError, match=f"^{re.escape(str(tmp_path))}/x.json is damaged: run it again$"):
        workspace.read_json(tmp_path / "x.json", remedy="run it again")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=f"^{re.escape(str(tmp_path))}/x.json is missing: run it again$"):
        workspace.read_json(tmp_path / "x.json", remedy="run it again")


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    workspace.write_json(tmp_path / "below/x.json", {"é": 1})
    with (tmp_path / "below/x.json").open() as reader:
        workspace.write_json(tmp_path / "below/x.json", {"é": [1.5, None]})
        assert json.load(reader) == {"é": 1}
    with pytest.raises(UnicodeEncodeError):
        workspace.write(tmp_path / "below/x.json", "new \udcff")
    with pytest.raises(TypeError):
        workspace.write_json(tmp_path / "below/x.json", {"new": object()})
    assert json.loads((tmp_path / "below/x.json").read_text()) == {"é": [1.5, None]}
    assert list((tmp_path / "below").iterdir()) == [tmp_path / "below/x.json"]


def test_paths_are_as_the_caller_of_make_can_open_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLER_PWD", str(tmp_path))
    assert workspace.shown(tmp_path / "gate/.compat/x") == "gate/.compat/x"
    assert workspace.shown(tmp_path.parent / "x") == str(tmp_path.parent / "x")


def test_what_an_earlier_run_found_goes_and_its_candidate_stays(clone: Path) -> None:
    kept = {"candidate.json", "image.tar", "logs/build.log", "logs/prebuild.log"}
    gone = {"junit/a-1.xml", "logs/suite-a-1.log", "logs/emulator-a-1.log"}
    folder = workspace.results("linux/amd64")
    for name in kept | gone | {"verdict.json", "summary.md"}:
        workspace.write(folder / name, "")
    workspace.delete_verdict("linux/amd64")
    workspace.delete_findings("linux/amd64")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == kept


def test_the_verdict_of_this_machine_goes_before_an_engine_is_asked(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for machine, platform in {"x86_64": "linux-amd64", "aarch64": "linux-arm64", "arm64": "linux-arm64"}.items():
        for name in ("verdict.json", "summary.md"):
            workspace.write(clone / ".compat" / platform / name, "")
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        workspace.delete_verdict()
        assert list((clone / ".compat" / platform).iterdir()) == []


def test_clones_have_names_of_their_own(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = workspace.clone_name()
    move(monkeypatch, clone / "other")
    assert workspace.clone_name() != one
    assert one.startswith(workspace.PREFIX)
