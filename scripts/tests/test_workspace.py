"""One run at a time in a clone, and files that are whole or not there."""

import fcntl
import json
import platform
from pathlib import Path

import pytest

from gate import workspace
from gate.cli import GateError

from .conftest import Gate, commit_all, git


def test_a_run_beside_another_one_is_refused_and_leaves_its_verdict(template: Gate) -> None:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    verdict = template.root / f".compat/linux-{machine}/verdict.json"
    verdict.parent.mkdir(parents=True)
    verdict.touch()
    with (template.root / ".cache/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = template.script("compat.py")
    assert done.stdout.startswith("error: another run is working in this clone: ")
    assert (done.returncode, verdict.exists()) == (2, True)
    commit_all(template.root)
    assert git("ls-files", ".cache", ".compat", cwd=template.root) == ""


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    workspace.write_json(tmp_path / "below/x.json", {"é": 1})
    with (tmp_path / "below/x.json").open() as reader:
        workspace.write_json(tmp_path / "below/x.json", {"é": 2})
        assert json.load(reader) == {"é": 1}


def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text("{")
    for name in ("half.json", "missing.json"):
        with pytest.raises(GateError, match=rf"/{name} is missing or damaged: run it again$"):
            workspace.read_json(tmp_path / name, remedy="run it again")
