"""The runner: how tests are split into shards, and what becomes of their results."""

import contextlib
import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from gate import engine, git, runner, workspace
from gate.images import Image
from gate.model import Run
from gate.monitor import Watch
from gate.settings import load_committed

CONTEXT = '[{"Endpoints": {"docker": {"Host": "unix:///nowhere"}}}]'  # as docker prints it
IMAGE = Image("sha256:good", "", "repo/emulator:pr-1", "linux/amd64")


def test_each_test_is_in_one_shard_of_its_file_and_the_longest_come_first() -> None:
    ids = [f"tests/test_short.py::T::test_{number}" for number in range(4)]
    ids += [f"tests/test_long.py::T::test_{number}" for number in range(12)]
    for slots, sizes in ((2, [12, 4]), (4, [6, 6, 4]), (6, [4, 4, 4, 4]), (99, [1] * 16)):
        shards = runner.split(ids, slots, "retry1-")
        assert [len(shard.tests) for shard in shards] == sizes
        assert sorted(test for shard in shards for test in shard.tests) == sorted(ids)
        assert len({shard.name for shard in shards}) == len(shards)
        for shard in shards:
            (file,) = {test.partition("::")[0] for test in shard.tests}
            assert shard.name.startswith(f"retry1-{file[11:-3]}-")


def test_shards_at_once_are_for_the_cores_of_the_engine_too() -> None:
    """Of Docker in a virtual machine, which often has fewer."""
    engine_of_one: Any = SimpleNamespace(info=lambda: {"NCPU": 1})
    settings = load_committed()
    assert runner.jobs(settings, engine_of_one) == 3
    assert runner.jobs(dataclasses.replace(settings, compat_jobs=7), engine_of_one) == 7


# As if an engine whose clock is a minute ahead had logged an answer while `test_good` ran.
TESTS = """
import datetime, os, pathlib

def test_good():
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)
    answer = f'{at:%Y-%m-%dT%H:%M:%S.%f}000Z "GET /x HTTP/1.1" 200 -'
    pathlib.Path("FOLDER", os.environ["DURABLE_EXECUTIONS_CONTAINER_NAME"]).write_text(answer)

def test_second_time_lucky():
    seen = pathlib.Path("FOLDER", "seen")
    assert seen.exists() or seen.touch()
"""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, drift: float) -> Run:
    """Return a run without an engine, whose clock moves meanwhile."""

    @contextlib.contextmanager
    def monitor(watch: Watch) -> Iterator[None]:
        watch.clocks.append(60.0)
        yield
        watch.clocks.append(60.0 + drift)
        for answer in folder.glob(f"{watch.name}-*"):
            shard = answer.name.removeprefix(f"{watch.name}-")
            answer.rename(watch.log(shard))
            watch.started[shard] = Counter({IMAGE.image_id: 1})

    def worktree(url: str, commit: str, path: Path) -> Path:
        (path / "tests").mkdir(parents=True)
        (path / "tests/test_it.py").write_text(TESTS.replace("FOLDER", str(folder)))
        return path

    for name in ("ROOT", "CACHE", "COMPAT"):
        monkeypatch.setattr(workspace, name, folder)
    monkeypatch.setattr(runner, "monitor", monitor)
    monkeypatch.setattr(git, "worktree", worktree)
    monkeypatch.setattr(engine, "call", lambda *command, **options: CONTEXT)
    monkeypatch.setattr(docker, "from_env", lambda **options: None)
    (folder / "venv").symlink_to(sys.prefix)
    worktree("", "", folder / "src")
    checkout: Any = SimpleNamespace(home=folder, source="", ref="develop")
    checkout.commit, checkout.version, checkout.requested_as = "c" * 40, "1.164.0", ["develop"]
    checkout.compared = False
    given: dict[str, Any] = {"samcli_tests": ("tests/test_it.py",), "compat_jobs": 2}
    settings = dataclasses.replace(load_committed(), **given)
    return runner.run(settings, checkout, IMAGE, folder)


def test_retry_that_passes_is_flaky_and_answers_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, 0.1)
    assert (found.problems, found.notes) == ([], [])
    good, lucky = found.tests
    assert (good.outcome, lucky.outcome) == ("passed", "passed")
    assert (good.flaky, lucky.flaky) == (False, True)
    assert good.requests == {"GET /x 200": 1}
    assert found.shard(good.shard).answered
    assert not found.shard(lucky.shard).answered


def test_clock_that_moves_is_noted_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an engine in a virtual machine that slept."""
    found = run(tmp_path, monkeypatch, 5.0)
    assert ["clock moved by 5 s" in note for note in found.notes] == [True]
    assert found.tests[0].requests == {}
