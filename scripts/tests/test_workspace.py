"""The folders that the gate writes: whole files, one run at a time, and what `make clean` does."""

import errno
import fcntl
import sys
from pathlib import Path

import pytest

from gate import images, model, workspace
from gate.programs import GateError

from .support.gate import Gate
from .support.git import commit_all, git
from .support.verdict import AMD64, work_in


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without anything in it."""
    work_in(monkeypatch, tmp_path)
    return tmp_path


# --- files


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run trusts what it finds."""
    file = tmp_path / "folder/x.json"
    workspace.write_json(file, {"run": 1})
    write_text = Path.write_text

    def write_half(path: Path, text: str, **options: str) -> None:
        write_text(path, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left on device"):
        workspace.write_json(file, {"run": 2})
    assert workspace.read_json(file) == {"run": 1}


@pytest.mark.parametrize(
    "content",
    ['{"cut": ', "", "[]", None],
    ids=["cut off", "empty", "another shape", "missing"],
)
def test_a_damaged_file_is_one_line_that_says_what_to_do(
    clone: Path, content: str | None
) -> None:
    folder = clone / ".compat/linux-amd64"
    folder.mkdir(parents=True)
    for name in ("candidate.json", "verdict.json"):
        if content is not None:
            (folder / name).write_text(content)
    damaged = "is missing or damaged: run `make"
    with pytest.raises(GateError, match=f"/candidate.json {damaged} image`$"):
        images.load_candidate(AMD64)
    with pytest.raises(
        GateError, match=f"/verdict.json {damaged} compat` there$"
    ):
        model.load(AMD64)


def test_a_candidate_of_another_gate_is_one_line_that_says_what_to_do(
    clone: Path,
) -> None:
    path = clone / ".compat/linux-amd64/candidate.json"
    workspace.write_json(path, {"candidate": {}, "made_by": {}})
    error = "/candidate.json is of gate None: run `make image`$"
    with pytest.raises(GateError, match=error):
        images.load_candidate(AMD64)


def test_git_ignores_what_the_gate_writes(template: Gate) -> None:
    (template.root / ".compat").mkdir()
    for folder in (".cache", ".compat"):
        (template.root / folder / "file").touch()
    commit_all(template.root)
    assert git("ls-files", ".cache", ".compat", cwd=template.root) == ""


# --- one run at a time


def test_a_run_beside_another_one_is_refused_and_leaves_its_verdict(
    template: Gate,
) -> None:
    verdict = template.root / ".compat/linux-amd64/verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.touch()
    with (template.root / ".cache/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = template.script("compat.py")
    assert done.returncode == 2
    assert done.stdout == f"error: {ANOTHER_RUN}\n"
    assert verdict.exists()


ANOTHER_RUN = (
    "another run is working in this clone: wait for it, or use a second clone"
)


def test_clean_beside_a_run_is_refused_and_removes_nothing(
    template: Gate,
) -> None:
    (template.root / ".compat").mkdir()
    before = sorted(template.root.rglob("*"))
    lock = template.root / ".cache/lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = template.make("clean")
    assert done.returncode == 2
    assert done.stdout.startswith(f"error: {ANOTHER_RUN}\n")
    lock.unlink()
    assert sorted(template.root.rglob("*")) == before


def test_clean_removes_all_that_the_gate_wrote_and_nothing_behind_a_link(
    template: Gate, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    for folder in (
        template.root / ".cache/samcli/x",
        template.root / ".compat/y",
        outside,
    ):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (template.root / ".cache/linked").symlink_to(outside)
    (template.root / ".cache/uv.toml").touch()
    done = template.make("clean")
    assert (done.returncode, done.stdout) == (0, "")
    assert not (template.root / ".cache").exists()
    assert not (template.root / ".compat").exists()
    assert (outside / "file").exists()


def test_clean_removes_a_link_and_not_what_it_leads_to(
    template: Gate, tmp_path: Path
) -> None:
    """It may be the user's own folder of caches."""
    cache = tmp_path / "cache"
    (template.root / ".cache").rename(cache)
    (template.root / ".cache").symlink_to(cache)
    (cache / "of-another-program").touch()
    done = template.make("clean")
    stays = f"{cache} stays, .cache was a link to it\n"
    assert (done.returncode, done.stdout) == (0, stays)
    assert not (template.root / ".cache").is_symlink()
    assert (cache / "of-another-program").exists()


def test_clean_of_a_clone_that_is_clean_does_nothing(template: Gate) -> None:
    for _ in range(2):
        done = template.make("clean")
        assert (done.returncode, done.stdout) == (0, "")


def test_a_cache_that_is_a_link_has_one_name(
    template: Gate, tmp_path: Path
) -> None:
    """Otherwise aws-sam-cli would be installed in each run: its venv knows where it is."""
    (template.root / ".cache").rename(tmp_path / "cache")
    (template.root / ".cache").symlink_to(tmp_path / "cache")
    done = template.run(
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, 'scripts')\n"
        "from gate import workspace; print(workspace.CACHE)",
    )
    assert done.stdout == f"{tmp_path}/cache\n"
