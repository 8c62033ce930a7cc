"""Every make command that the two documents show, run as written, and what they say of settings."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

import engine
from config import ROOT, load

from .conftest import REPOSITORY, SETTINGS, Gate, Registry, commit_all, git

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="a copy of the template without its documents")

TEXT = "\n".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).is_file())
IN_BLOCKS = re.findall(r"^ {4,}(make\b.*?)(?: +# .*)?$", TEXT, re.MULTILINE)
IN_TEXT = re.findall(r"`(make(?: [^`]+)?)`", TEXT)
# The adoption's own are run where it is tried.
COMMANDS = [command for command in dict.fromkeys(IN_BLOCKS + IN_TEXT) if not command.startswith("make -C ")]


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory,
    docker_client: docker.DockerClient,
    gate: Gate,
    emulator: Path,
    consumer: Path,
) -> Iterator[Gate]:
    """A checkout of the template, and all that the documents name: beside it, or by git's `insteadOf` at its address.

    The emulator and aws-sam-cli are the small ones, so the settings that go with them are small, too.
    """
    top = tmp_path_factory.mktemp("reader")
    ignored = shutil.ignore_patterns(".git", ".cache", ".compat", ".env", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, top / "gate", ignore=ignored)
    commit_all(top / "gate")
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=top / "gate")
    (top / "gate/.cache").mkdir()
    (top / "gate/.cache/venv").symlink_to(sys.prefix)

    git("clone", "--quiet", str(consumer), "aws-sam-cli", cwd=top)
    for ref in ("branch my-branch", "tag v1.160.0", "tag v1.164.0"):
        git(*ref.split(), cwd=top / "aws-sam-cli")
    shutil.copytree(emulator, top / "emulator")
    for folder in ("aws-durable-execution-sdk-python-testing", "emulator"):
        shutil.copytree(emulator, top / "monorepo/packages" / folder)
    commit_all(top / "monorepo")
    for branch in ("main", "my-branch"):
        git("branch", branch, cwd=top / "monorepo")

    addresses = {
        "aws/aws-sam-cli": "aws-sam-cli",
        "you/aws-sam-cli": "aws-sam-cli",
        "aws/aws-durable-execution-sdk-python": "monorepo",
        "you/emulator": "monorepo",
    }
    redirects = {"GIT_CONFIG_COUNT": str(len(addresses))}
    for number, (address, folder) in enumerate(addresses.items()):
        redirects[f"GIT_CONFIG_KEY_{number}"] = f"url.{top / folder}.insteadOf"
        redirects[f"GIT_CONFIG_VALUE_{number}"] = f"https://github.com/{address}.git"
    small = {name: value for name, value in gate.settings.items() if name not in ("EMULATOR_SOURCE", "SAMCLI_SOURCE")}
    published = {"EMULATOR_VERSION": "1.2.1", "PUBLISH_PLATFORMS": engine.platform(docker_client)}
    subprocess.run(["docker", "build", "--quiet", f"--tag={REPOSITORY}:latest", top / "emulator"], check=True)
    yield Gate(top / "gate", small | published | redirects | {"PYTEST_ADDOPTS": "--collect-only --quiet"})
    docker_client.images.remove(f"{REPOSITORY}:latest", force=True)


@pytest.mark.engine
@pytest.mark.parametrize("command", COMMANDS)
def test_command_works_as_written(reader: Gate, loopback: Registry, command: str) -> None:
    if command.startswith("make publish"):
        assert reader.popen("make", "compat").wait() == 0
    here = command.replace(load(environ={}).emulator_repository, REPOSITORY)
    process = reader.popen("bash", "-c", here, PUBLISH_REPOSITORY=loopback.repository, BASH_ENV="")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    last = output.splitlines()[-1]
    if command.startswith("make compat"):
        assert last.startswith("green: "), output
    if command == "make publish":
        assert loopback.holds("latest"), output
    if command == "make publish PUBLISH_DRY_RUN=1":
        assert "would move" in last, output
        assert not loopback.holds("latest")


def test_there_are_commands() -> None:
    assert {"make", "make compat", "make test", "make publish", "make lint test"} <= set(COMMANDS)


def test_documents_name_no_setting_or_target_that_does_not_exist() -> None:
    named = set(re.findall(r"\b(?:EMULATOR|SAMCLI|COMPAT|PUBLISH|GATED)_[A-Z_]+\b", TEXT))
    assert named <= SETTINGS | {"COMPAT_REQUIRE_ENGINE"}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = {word for command in COMMANDS for word in command.split()[1:] if word.isalpha()}
    assert words <= targets
