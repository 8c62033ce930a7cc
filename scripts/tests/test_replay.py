"""The incident again, by make replay: the emulator that broke aws-sam-cli, and the one that fixed that."""

import re
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from gate.workspace import ROOT

from .conftest import Gate, commit_all, copy_template

engine = pytest.mark.engine
PUBLISHED = "public.ecr.aws/durable-functions/aws-durable-execution-emulator"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient) -> Iterator[str]:
    """What `make replay` prints in a copy of the template, where it found red and green as they should be."""
    gate = Gate(copy_template(tmp_path_factory.mktemp("replay") / "template"), {})
    commit_all(gate.root)
    done = gate.make("replay")
    assert done.returncode == 0, done.stdout
    yield done.stdout
    for tag in {tag for image in docker_client.images.list(PUBLISHED) for tag in image.tags if ":pr-replay-" in tag}:
        docker_client.images.remove(tag, force=True)


@engine
@pytest.mark.replay
def test_incident_is_red_with_the_route_and_its_fix_is_green(printed: str) -> None:
    broken, fixed = re.findall(r"^\| 1\.2\.[01] \|.*$", printed, re.MULTILINE)
    assert re.fullmatch(
        r"\| 1\.2\.0 \| red \| 0 of 10 \| GET /2025-12-01/durable-executions/\{\}.*: 404 with .*\|", broken
    )
    assert re.fullmatch(r"\| 1\.2\.1 \| green \| 10 of 10 \| none \|", fixed)


@engine
@pytest.mark.replay
def test_every_failure_of_the_incident_is_a_regression(printed: str) -> None:
    assert "red: develop: 10 failed (10 regressions)" in printed


@engine
@pytest.mark.replay
def test_readme_shows_this_table(printed: str) -> None:
    readme = (Path(ROOT) / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| 1\.2\.[01] \|.*$", printed, re.MULTILINE)
    assert [row for row in rows if row not in readme] == []


def test_without_an_engine_there_is_one_error(tmp_path: Path) -> None:
    done = Gate(copy_template(tmp_path / "template"), {}).make("replay", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 2
    assert len(re.findall("(?m)^error: .*(?:no Docker engine answers|docker was not found)", done.stdout)) == 1
    assert done.stdout.count("error:") == 1, done.stdout
