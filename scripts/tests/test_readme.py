"""What README shows: make lists its targets, and the incident is replayed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from gate.workspace import ROOT

from .support.gate import MAKEFILES, Gate, copy_template
from .support.git import commit_all

PUBLISHED = "public.ecr.aws/durable-functions/aws-durable-execution-emulator"


def listed_targets() -> set[str]:
    """Return the targets that `make` alone lists, each with a sentence."""
    listed = subprocess.run(
        ["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(re.findall(r"^  ([a-z]+) +\S", listed.stdout, re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    assert listed_targets() == set(
        re.findall(r"^([a-z]+):", MAKEFILES, re.MULTILINE)
    )


@pytest.mark.parametrize(
    "script", sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
)
def test_a_script_has_a_target_of_its_name(script: str) -> None:
    assert script in listed_targets()


# --- the incident again, by make replay


@pytest.fixture(scope="module")
def printed(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient
) -> Iterator[str]:
    """What `make replay` prints in a copy of the template, if it found red and green."""
    gate = Gate(
        copy_template(tmp_path_factory.mktemp("replay") / "template"), {}
    )
    commit_all(gate.root)
    done = gate.make("replay")
    assert done.returncode == 0, done.stdout
    yield done.stdout
    for image in docker_client.images.list(PUBLISHED):
        if any(":pr-replay-" in tag for tag in image.tags):
            docker_client.images.remove(str(image.id), force=True)


@pytest.mark.engine
@pytest.mark.replay
def test_the_incident_is_red_with_its_route_and_the_next_version_is_green(
    printed: str,
) -> None:
    broken, fixed = re.findall(r"^\| 1\.2\.[01] \|.*$", printed, re.MULTILINE)
    route = "GET /2025-12-01/durable-executions/{}: candidate 404, published image 200"
    assert broken == f"| 1.2.0 | red | 0 of 10 | {route} |"
    assert fixed == "| 1.2.1 | green | 10 of 10 | none |"
    assert "red: develop: 10 failed (10 regressions)" in printed


@pytest.mark.engine
@pytest.mark.replay
@pytest.mark.parametrize("version", ["1.2.0", "1.2.1"])
def test_readme_has_the_row_that_the_replay_prints(
    printed: str, version: str
) -> None:
    (row,) = re.findall(
        rf"^\| {re.escape(version)} \|.*$", printed, re.MULTILINE
    )
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_without_an_engine_there_is_one_error(tmp_path: Path) -> None:
    gate = Gate(copy_template(tmp_path / "template"), {})
    done = gate.make("replay", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 2
    errors = re.findall("^error: .*", done.stdout, re.MULTILINE)
    assert len(errors) == 1
    assert re.search("no engine answers|docker", errors[0])
