"""Whose fault a failure is, and refs of which only regressions are red."""

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from gate import baseline, engine, images, runner
from gate.model import Comparison, Image, Outcome, Run
from gate.programs import GateError
from gate.settings import Settings, load_committed

from .support.emulator import REPOSITORY, build, build_variant, untag
from .support.gate import Gate, Judged
from .support.registry import Registry
from .support.runs import CANDIDATE, result_of, run_of, shard_of

PUBLISHED = Image("sha256:old", "", "repo/emulator:pr-old", "linux/amd64")
ID = "tests/test_a.py::test_x"


# --- one failure, by what both images did


Answers = dict[str, list[int]]


def run_with(
    outcome: Outcome = "failed",
    answers: Answers | None = None,
    shard: str = "answered",
) -> Run:
    """Return a run of one test; its shard's emulator answered, crashed or was not started."""
    result = result_of(ID, outcome)
    result.answers = answers or {}
    image_id = "" if shard == "not started" else "sha256:any"
    return run_of(
        [result], [shard_of(image_id=image_id, answered=shard == "answered")]
    )


def compare(
    monkeypatch: pytest.MonkeyPatch, run: Run, published: Run | Exception
) -> Comparison:
    """Compare a run with what the published image gives."""

    def rerun(*arguments: Any, published: bool) -> Run:
        *_, image, folder, tests = arguments
        assert (image, folder, tests) == (PUBLISHED, Path(), [ID])
        assert published
        if isinstance(of_published, Exception):
            raise of_published
        return of_published

    of_published = published
    # Only handed on to the runner.
    checkout: Any = None
    monkeypatch.setattr(engine, "connect", lambda: None)
    monkeypatch.setattr(baseline, "tag_published", lambda *arguments: PUBLISHED)
    monkeypatch.setattr(runner, "run", rerun)
    return baseline.compare(run, load_committed(), checkout, CANDIDATE, Path())


NOT_FOUND: Answers = {"GET /x": [404]}


@pytest.mark.parametrize(
    ("run", "published", "attribution"),
    [
        (run_with(), run_with("passed"), "regression"),
        (
            run_with(answers=NOT_FOUND),
            run_with(answers=NOT_FOUND),
            "pre-existing",
        ),
        (run_with(), run_with(answers=NOT_FOUND), "pre-existing"),
        (
            run_with(shard="not started"),
            run_with(shard="not started"),
            "pre-existing",
        ),
        (run_with(answers=NOT_FOUND), run_with(), "unknown"),
        (run_with(), run_with(shard="crashed"), "unknown"),
        (run_with(), run_with(shard="not started"), "unknown"),
        (run_with(shard="crashed"), run_with(shard="crashed"), "unknown"),
        (run_with(), run_with("skipped"), "unknown"),
        (run_with(), GateError("no engine"), "unknown"),
        (run_with(), OSError("timed out"), "unknown"),
    ],
    ids=[
        "passes with the published one",
        "both gave the same answer",
        "only the published one was asked",
        "fails before any emulator",
        "the published one hangs",
        "the published one crashes",
        "the published one is not started",
        "both crash",
        "skipped with the published one",
        "the gate gives up",
        "the engine gives up",
    ],
)
def test_a_failure_is_pre_existing_only_where_the_published_image_answered_too(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    published: Run | Exception,
    attribution: str,
) -> None:
    comparison = compare(monkeypatch, run, published)
    assert comparison.attributions.get(ID, "unknown") == attribution


def test_a_failure_is_unknown_where_another_image_ran(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_with()
    published = run_with()
    published.unexpected = ["x from repo/emulator:latest (sha256:bad)"]
    comparison = compare(monkeypatch, run, published)
    assert comparison.attributions == {}
    assert comparison.error == published.unexpected[0]


def test_a_shard_that_ended_badly_leaves_what_the_others_showed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = run_with("passed")
    published.problems = ["shard b-1 was stopped", "shard c-1 too"]
    comparison = compare(monkeypatch, run_with(), published)
    assert comparison.attributions == {ID: "regression"}
    assert comparison.error == "shard b-1 was stopped; shard c-1 too"


def test_what_keeps_a_comparison_from_running_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comparison = compare(monkeypatch, run_with(), GateError("the disk is full"))
    assert comparison.error == "the disk is full"


@pytest.mark.parametrize("error", [GateError, OSError])
def test_of_a_compared_ref_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Nothing else makes it red."""
    run = run_with()
    run.only_regressions_count = True
    with pytest.raises(error, match="the disk is full"):
        compare(monkeypatch, run, error("the disk is full"))


def test_a_comparison_names_the_image_that_it_is_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comparison = compare(monkeypatch, run_with(), run_with())
    assert comparison.published == PUBLISHED
    assert comparison.error == ""


def test_without_compat_baseline_that_is_said() -> None:
    checkout: Any = None
    nothing = dataclasses.replace(load_committed(), compat_baseline="")
    comparison = baseline.compare(
        run_with(), nothing, checkout, CANDIDATE, Path()
    )
    assert comparison == Comparison(error="COMPAT_BASELINE is empty")


def test_nothing_is_compared_where_every_test_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = run_with("passed")
    not_asked = GateError("the published image ran")
    assert compare(monkeypatch, passed, not_asked) == Comparison()


def test_routes_that_both_were_asked_for_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_with(
        answers={"POST /b": [200], "GET /x": [404, 500], "GET /same": [200]}
    )
    published = run_with(
        answers={"PUT /c": [200], "GET /x": [200], "GET /same": [200]}
    )
    comparison = compare(monkeypatch, run, published)
    differences = [
        dataclasses.astuple(difference) for difference in comparison.differences
    ]
    assert differences == [
        ("GET /x", [404, 500], [200], [ID]),
        ("POST /b", [200], [], [ID]),
        ("PUT /c", [], [200], [ID]),
    ]


def test_routes_of_more_tests_come_first() -> None:
    pairs = []
    for number, (route, status) in enumerate(
        [("GET /x", 200), ("GET /y", 200), ("GET /y", 200)]
    ):
        both = [result_of(f"{ID}[{number}]", "failed") for _ in range(2)]
        both[0].answers, both[1].answers = {route: [404]}, {route: [status]}
        pairs.append((both[0], both[1]))
    differences = baseline.differences(pairs)
    assert [difference.route for difference in differences] == [
        "GET /y",
        "GET /x",
    ]


@pytest.mark.parametrize("asked", ["candidate", "published"])
def test_no_route_differs_where_one_image_was_asked_nothing(asked: str) -> None:
    """That it was not is the difference, and no single route."""
    test, published = (
        result_of(ID, "failed"),
        result_of(ID, "failed"),
    )
    one = test if asked == "candidate" else published
    one.answers = NOT_FOUND
    assert baseline.differences([(test, published)]) == []


# --- with a small emulator and a small consumer


@pytest.fixture(scope="module")
def compared(
    gate: Gate, emulator: Path, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    """A run of a candidate that lost a route."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(emulator, folder / "worse")
    (folder / "worse/health").write_text("")
    worse = Gate(
        gate.root, gate.settings | {"EMULATOR_SOURCE": str(folder / "worse")}
    )
    return worse.judged(
        "tests/test_steps.py tests/test_failing.py",
        COMPAT_BASELINE=build_variant(
            emulator, folder, "published", "LABEL published=1"
        ),
        UV_TEST_FOLDER=str(folder),
    )


@pytest.mark.engine
@pytest.mark.containerd
def test_each_failure_is_a_regression_or_pre_existing(compared: Judged) -> None:
    """A test that passes with the published image on its retry there is a regression."""
    comparison = compared.run["comparison"]
    assert comparison["attributions"] == {
        "tests/test_steps.py::test_health": "regression",
        "tests/test_failing.py::test_bad": "pre-existing",
        "tests/test_failing.py::test_race": "regression",
    }
    assert comparison["published"]["reference"].startswith(
        f"{REPOSITORY}:pr-baseline-"
    )
    assert (
        "develop: 3 of 6 tests failed: 1 pre-existing, 2 regressions"
        in compared.reasons
    )


@pytest.mark.engine
def test_the_report_begins_with_what_the_emulator_answered(
    compared: Judged,
) -> None:
    report = compared.output.partition("\n\n")[2].strip().splitlines()
    route = "GET /cgi-bin/health: candidate 404, published image 200"
    assert report[0] == f"- {route} (3 tests)", compared.output


@pytest.mark.engine
@pytest.mark.parametrize(
    ("tag", "instruction", "attribution"),
    [
        ("older", "LABEL older=1", "pre-existing"),
        ("crashes", 'ENTRYPOINT ["/bin/busybox", "false"]', "unknown"),
    ],
    ids=["the published one answers", "the published one crashes"],
)
def test_of_a_compared_ref_only_what_got_worse_or_is_unknown_is_red(
    gate: Gate,
    emulator: Path,
    tmp_path: Path,
    tag: str,
    instruction: str,
    attribution: str,
) -> None:
    refs = {"SAMCLI_REFS": "", "SAMCLI_COMPARED_REFS": "develop HEAD"}
    judged = Gate(gate.root, gate.settings | refs).judged(
        "tests/test_failing.py::test_good tests/test_failing.py::test_bad",
        COMPAT_BASELINE=build_variant(emulator, tmp_path, tag, instruction),
        COMPAT_RERUNS="0",
    )
    (run,) = judged.verdict["runs"]
    assert run["requested_as"] == ["develop", "HEAD"]
    assert run["only_regressions_count"]
    attributions = run["comparison"]["attributions"]
    test_id = "tests/test_failing.py::test_bad"
    assert attributions.get(test_id, "unknown") == attribution
    assert judged.green == (attribution == "pre-existing"), judged.reasons


# --- what failing tests are compared with


@pytest.fixture
def published(docker_client: docker.DockerClient, emulator: Path) -> Image:
    """An image that COMPAT_BASELINE=published names in this engine; no registry has it."""
    return images.describe(docker_client, build(emulator, "published"))


def settings(
    tag: str, repository: str = REPOSITORY, compat_sdk: str = "released"
) -> Settings:
    return dataclasses.replace(
        load_committed(),
        emulator_repository=repository,
        compat_baseline=tag,
        compat_sdk=compat_sdk,
    )


@pytest.mark.engine
@pytest.mark.parametrize(
    ("tag", "candidate", "says"),
    [
        ("no-such-tag", {}, r"cannot read .*, and there is no local copy"),
        ("published", {}, r"\S+:published is the candidate itself"),
        (
            "published",
            {"image_id": "sha256:other", "platform": "linux/s390x"},
            r"\S+:published is for linux/(?!s390x)",
        ),
    ],
    ids=["nowhere", "the candidate itself", "another platform"],
)
def test_what_is_no_baseline_is_named(
    docker_client: docker.DockerClient,
    published: Image,
    tag: str,
    candidate: dict[str, str],
    says: str,
) -> None:
    tested = dataclasses.replace(published, **candidate)  # type: ignore[arg-type]
    with pytest.raises(GateError, match=f"^no baseline: {says}"):
        baseline.tag_published(docker_client, settings(tag), tested)


@pytest.mark.engine
def test_the_candidate_itself_is_compared_with_another_sdk(
    docker_client: docker.DockerClient, published: Image
) -> None:
    with_sdk = settings("published", compat_sdk="source")
    compared = baseline.tag_published(docker_client, with_sdk, published)
    assert compared.image_id == published.image_id


@pytest.fixture
def own_build(
    docker_client: docker.DockerClient,
    local_registry: Registry,
    emulator: Path,
    tmp_path: Path,
) -> Iterator[Image]:
    """A user's image under the name of another one that a registry holds."""
    latest = f"{local_registry.repository}:latest"
    for content in ("published", "own"):
        tag = build_variant(emulator, tmp_path, content, f"LABEL is={content}")
        image = images.describe(docker_client, f"{REPOSITORY}:{tag}")
        docker_client.api.tag(image.image_id, latest)
        if content == "published":
            subprocess.run(["docker", "push", "--quiet", latest], check=True)
    yield image
    untag(docker_client, local_registry.repository)


@pytest.mark.engine
@pytest.mark.containerd
def test_a_users_own_image_of_that_name_is_not_compared_with_and_stays(
    docker_client: docker.DockerClient,
    local_registry: Registry,
    own_build: Image,
) -> None:
    latest = f"{local_registry.repository}:latest"
    compared = baseline.tag_published(
        docker_client, settings("latest", local_registry.repository), CANDIDATE
    )
    pushed = images.describe(docker_client, f"{REPOSITORY}:published")
    assert compared.image_id == pushed.image_id != own_build.image_id
    assert engine.image_id(docker_client, compared.reference) == pushed.image_id
    assert engine.image_id(docker_client, latest) == own_build.image_id


@pytest.mark.engine
def test_a_local_copy_is_taken_where_the_registry_does_not_answer(
    docker_client: docker.DockerClient,
    local_registry: Registry,
    own_build: Image,
    capsys: pytest.CaptureFixture[str],
) -> None:
    local_registry.stop()
    with_latest = settings("latest", local_registry.repository)
    found = baseline.find_published(docker_client, with_latest)
    assert found.image_id == own_build.image_id
    assert capsys.readouterr().out.endswith("; the local copy is used\n")


@pytest.mark.engine
def test_an_image_that_is_neither_in_the_registry_nor_here_is_named(
    docker_client: docker.DockerClient, local_registry: Registry
) -> None:
    name = f"{local_registry.repository}:latest"
    says = f"^no baseline: {name} is not in the registry, and there is no local"
    with_latest = settings("latest", local_registry.repository)
    with pytest.raises(GateError, match=says):
        baseline.find_published(docker_client, with_latest)
