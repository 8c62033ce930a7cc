"""What the documents show: targets, settings and links that exist, and the incident replayed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from gate.settings import KNOWN
from gate.workspace import ROOT

from .conftest import MAKEFILES, Gate, commit_all, copy_template

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILES, re.MULTILINE))
# A command in a block of its own or in backticks: make, then targets, options and settings.
COMMAND = re.compile(r"(?:^ {4,}|`)(?:[A-Z_]+=\S+ )*make\b([^`#\n]*)", re.MULTILINE)
SETTING = re.compile(r"\b(?:EMULATOR|SAMCLI|COMPAT|PUBLISH|RELEASE|GATED)_[A-Z_]+\b")
OTHERS = {"RELEASE_TAG"}  # of the workflows
PUBLISHED = "public.ecr.aws/durable-functions/aws-durable-execution-emulator"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_what_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    commands = COMMAND.findall(text)
    assert commands
    words = {word for command in commands for word in command.split() if word.isalpha()}
    assert words <= TARGETS
    assert set(SETTING.findall(text)) <= KNOWN.keys() | OTHERS
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_make_alone_lists_every_target_and_every_script_has_one() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  ([a-z]+) +\S", listed.stdout, re.MULTILINE)) == TARGETS
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} <= TARGETS


# --- the incident again, by make replay


@pytest.fixture(scope="module")
def printed(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient
) -> Iterator[str]:
    """What `make replay` prints in a copy of the template, if it found red and green."""
    gate = Gate(copy_template(tmp_path_factory.mktemp("replay") / "template"), {})
    commit_all(gate.root)
    done = gate.make("replay")
    assert done.returncode == 0, done.stdout
    yield done.stdout
    for image in docker_client.images.list(PUBLISHED):
        if any(":pr-replay-" in tag for tag in image.tags):
            docker_client.images.remove(str(image.id), force=True)


@pytest.mark.engine
@pytest.mark.replay
def test_the_incident_is_red_with_its_route_and_the_next_version_is_green(printed: str) -> None:
    broken, fixed = re.findall(r"^\| 1\.2\.[01] \|.*$", printed, re.MULTILINE)
    route = "GET /2025-12-01/durable-executions/{}: candidate 404, published image 200"
    assert broken == f"| 1.2.0 | red | 0 of 10 | {route} |"
    assert fixed == "| 1.2.1 | green | 10 of 10 | none |"
    assert "red: develop: 10 failed (10 regressions)" in printed
    for row in (broken, fixed):
        assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_without_an_engine_there_is_one_error(tmp_path: Path) -> None:
    gate = Gate(copy_template(tmp_path / "template"), {})
    done = gate.make("replay", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 2
    errors = re.findall("^error: .*", done.stdout, re.MULTILINE)
    assert len(errors) == 1
    assert re.search("no engine answers|docker", errors[0])
