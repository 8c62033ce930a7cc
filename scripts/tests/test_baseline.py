"""Whose fault a failure is, and refs of which only regressions are red."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import docker
import pytest

from gate import baseline, images, runner
from gate.cli import GateError
from gate.images import Image
from gate.model import Run, ShardResult, TestResult
from gate.settings import load_committed

from .conftest import REPOSITORY, Gate, Judged, build

CANDIDATE, PUBLISHED = (Image(name, "", "repo/it:pr-1", "linux/amd64") for name in ("new", "old"))
ID = "tests/test_a.py::test_x"
FAILING = "tests/test_failing.py::test_good tests/test_failing.py::test_bad"


# --- one failure, by what both images did


def failed(outcome: str = "failed", answers: str = "", shard: str = "answered") -> Run:
    """Return a run of one test; its shard's emulator answered, crashed or was not started."""
    run = Run("develop", "c" * 40, "1.164.0", ["develop"], compared=False)
    run.tests = [TestResult(ID, outcome, shard="a-1", began=1.0, ended=2.0)]
    run.tests[0].requests = dict.fromkeys(answers.split(","), 1) if answers else {}
    started = {} if shard == "none" else {"sha256:any": 1}
    run.shards = [ShardResult("a-1", 1.0, [], started, answered=shard == "answered")]
    return run


def compare(monkeypatch: pytest.MonkeyPatch, run: Run, other: Run | Exception) -> str:
    """Compare a run with what the published image gives, and return the attribution."""

    def rerun(*arguments: Any) -> Run:
        assert arguments[-1] == [ID]
        if isinstance(other, Exception):
            raise other
        return other

    nothing: Any = None
    monkeypatch.setattr(baseline, "pull_published", lambda *arguments: PUBLISHED)
    monkeypatch.setattr(runner, "run", rerun)
    baseline.attribute(load_committed(), nothing, CANDIDATE, Path(), run)
    return run.tests[0].attribution


@pytest.mark.parametrize(
    ("run", "other", "attribution"),
    [
        (failed(), failed("passed"), "regression"),
        (failed(answers="GET /x 404"), failed(answers="GET /x 404"), "pre-existing"),
        (failed(), failed(answers="GET /x 404"), "pre-existing"),
        (failed(shard="none"), failed(shard="none"), "pre-existing"),  # before any emulator
        (failed(answers="GET /x 404"), failed(), "unknown"),  # the published one hangs
        (failed(), failed(shard="crashed"), "unknown"),
        (failed(), failed(shard="none"), "unknown"),
        (failed(shard="crashed"), failed(shard="crashed"), "unknown"),
        (failed(), failed("skipped"), "unknown"),
        (failed(), GateError("no engine"), "unknown"),
        (failed(), OSError("timed out"), "unknown"),
    ],
)
def test_pre_existing_only_where_the_published_image_answered_too(
    monkeypatch: pytest.MonkeyPatch, run: Run, other: Run | Exception, attribution: str
) -> None:
    assert compare(monkeypatch, run, other) == attribution


def test_nothing_is_known_where_another_image_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = failed(), failed()
    other.unexpected = ["x from repo/emulator:latest (sha256:bad)"]
    assert compare(monkeypatch, run, other) == "unknown"
    assert other.unexpected[0] in run.not_compared


def test_routes_that_both_were_asked_for_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    run = failed(answers="POST /b 200,GET /x 404,GET /x 500,GET /same 200")
    compare(monkeypatch, run, failed(answers="GET /x 200,GET /same 200"))
    found = [(each.route, each.candidate, each.baseline, each.tests) for each in run.differences]
    assert found == [("GET /x", [404, 500], [200], [ID]), ("POST /b", [200], [], [ID])]


# --- with a small emulator and a small consumer


def variant(emulator: Path, folder: Path, tag: str, dockerfile: str) -> str:
    """Build another image of the repository and return its tag."""
    shutil.copytree(emulator, folder / tag)
    with (folder / tag / "Dockerfile").open("a") as file:
        file.write(f"{dockerfile}\n")
    build(folder / tag, tag)
    return tag


@pytest.fixture(scope="module")
def compared(gate: Gate, emulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A run of a candidate that lost a route."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(emulator, folder / "worse")
    (folder / "worse/health").write_text("")
    worse = Gate(gate.root, gate.settings | {"EMULATOR_SOURCE": str(folder / "worse")})
    return worse.judged(
        "tests/test_steps.py tests/test_failing.py",
        COMPAT_BASELINE=variant(emulator, folder, "published", "LABEL published=1"),
        UV_TEST_FOLDER=str(folder),
    )


@pytest.mark.engine
@pytest.mark.containerd
def test_regressions_and_pre_existing_failures(compared: Judged) -> None:
    """A test that passes with the published image on its retry there is a regression."""
    failed = [test for test in compared.run["tests"] if test["outcome"] == "failed"]
    assert {test["id"]: test["attribution"] for test in failed} == {
        "tests/test_steps.py::test_health": "regression",
        "tests/test_failing.py::test_bad": "pre-existing",
        "tests/test_failing.py::test_race": "regression",
    }
    assert compared.run["baseline"]["reference"].startswith(f"{REPOSITORY}:pr-baseline-")
    assert "develop: 3 of 6 tests failed: 1 pre-existing, 2 regressions" in compared.reasons


@pytest.mark.engine
def test_report_begins_with_what_the_emulator_answered(compared: Judged) -> None:
    report = compared.output.partition("\n\n")[2].strip().splitlines()
    route = "GET /cgi-bin/health: candidate 404, published image 200"
    assert report[0] == f"- {route} (3 tests)", compared.output


@pytest.mark.engine
@pytest.mark.parametrize(
    ("tag", "dockerfile", "attribution"),
    [
        ("older", "LABEL older=1", "pre-existing"),
        ("crashes", 'ENTRYPOINT ["/bin/busybox", "false"]', "unknown"),
    ],
)
def test_of_compared_refs_alone_only_what_got_worse_is_red(
    gate: Gate, emulator: Path, tmp_path: Path, tag: str, dockerfile: str, attribution: str
) -> None:
    refs = {"SAMCLI_REFS": "", "SAMCLI_COMPARED_REFS": "develop HEAD"}
    one = Gate(gate.root, gate.settings | refs)
    published = variant(emulator, tmp_path, tag, dockerfile)
    found = one.judged(FAILING, COMPAT_BASELINE=published, COMPAT_RERUNS="0")
    (run,) = found.verdict["runs"]
    assert (run["requested_as"], run["compared"]) == (["develop", "HEAD"], True)
    assert found.tests["test_failing.py::test_bad"]["attribution"] == attribution
    assert found.green == (attribution == "pre-existing"), found.reasons


@pytest.mark.engine
def test_published_image_that_cannot_be_compared_with(
    gate: Gate, docker_client: docker.DockerClient, emulator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(load_committed(), emulator_repository=REPOSITORY)
    candidate = images.describe(docker_client, build(emulator, "same"))
    other = dataclasses.replace(candidate, image_id="sha256:other", platform="linux/s390x")
    for tag, of, says in (
        ("none", candidate, "cannot be pulled"),
        ("same", candidate, ":same is the candidate itself"),
        ("same", other, f":same is for {candidate.platform}"),
    ):
        of_tag = dataclasses.replace(settings, compat_baseline=tag)
        with pytest.raises(GateError, match=f"^no baseline: .*{says}"):
            baseline.pull_published(of_tag, of)
