import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import ContainerCollection
from docker.types import LogConfig

import candidate
import config
import context
import image
import state
from command import GateError

from .conftest import REPOSITORY, Gate, commit_all, git


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "CACHE", tmp_path / "cache")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "packages/emulator").mkdir(parents=True)
    (folder / "packages/emulator/Dockerfile").write_text("FROM scratch\n")
    (folder / ".gitignore").write_text("dist/\n")
    commit_all(folder)
    return folder


def source(given: str) -> tuple[Path, str]:
    return image.source(config.load(environ={"EMULATOR_SOURCE": given}))


def test_source_is_a_folder(repository: Path) -> None:
    assert source(str(repository)) == (repository, "")
    git("remote", "add", "origin", "https://me:token@host/emulator.git", cwd=repository)
    assert source(str(repository)) == (repository, "https://host/emulator.git")


@pytest.mark.parametrize("fragment", ["#:packages/emulator", "#develop:packages/emulator", "#v1:packages/emulator"])
def test_source_is_a_git_url(repository: Path, fragment: str) -> None:
    git("tag", "v1", cwd=repository)
    folder, origin = source(f"file://{repository}{fragment}")
    assert (folder / "Dockerfile").is_file()
    assert image.revision_of(folder) == git("rev-parse", "HEAD", cwd=repository)
    assert origin == f"file://{repository}"


def test_source_is_a_path_with_a_ref(repository: Path) -> None:
    folder, origin = source(f"{repository}#develop:packages/emulator")
    assert ((folder / "Dockerfile").is_file(), origin) == (True, "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{}/nowhere", "is no folder and no git URL"),
        ("emulator", "is no folder and no git URL"),
        ("file://{}#no-such-ref", "has no branch, tag or commit no-such-ref"),
        ("file://{}#develop:packages/nothing", "there is no folder packages/nothing at"),
        ("file://{}#develop:../..", "there is no folder ../.. at"),
        ("file://{}/nowhere", "cannot be reached"),
    ],
)
def test_source_that_is_none(repository: Path, given: str, says: str) -> None:
    with pytest.raises(GateError, match=f"EMULATOR_SOURCE: .*{re.escape(says)}"):
        source(given.format(repository))


def test_no_secret_of_a_setting_is_kept() -> None:
    config_of = {"EMULATOR_SOURCE": "https://me:s3cr3t@host/x.git", "EMULATOR_PREBUILD": "TOKEN=s3cr3t make"}
    kept = candidate.settings(config.load(environ=config_of))
    assert kept.keys() >= {"emulator_source", "emulator_prebuild"}
    assert kept != candidate.settings(config.load(environ={}))
    assert "s3cr3t" not in str(kept)


def test_revision(repository: Path, tmp_path: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=repository)
    emulator = repository / "packages/emulator"
    assert image.revision_of(emulator) == commit
    (repository / "dist").mkdir()
    (repository / "dist/x.whl").touch()
    assert image.revision_of(emulator) == commit, "what git ignores is no change"
    (repository / "LICENSE").touch()
    assert image.revision_of(emulator) == f"{commit}-dirty"
    assert image.revision_of(tmp_path) == ""


@pytest.mark.parametrize("gate", [".", ".sam-cli-compat", "packages/emulator/[x]"])
def test_the_gates_own_settings_are_no_change_wherever_it_lies(
    repository: Path, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository / gate
    monkeypatch.setattr(image, "ROOT", root)
    root.mkdir(parents=True, exist_ok=True)
    (root / "file").touch()
    commit = commit_all(repository)
    (root / ".env").touch()
    for folder in (repository, repository / "packages/emulator"):
        assert image.revision_of(folder) == commit
    (repository / "packages/.env").touch()
    assert image.revision_of(repository) == f"{commit}-dirty", "another .env may well get into the image"


def test_env_that_is_committed_is_of_the_image(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image, "ROOT", repository)
    monkeypatch.setattr(context, "ROOT", repository)
    monkeypatch.setattr(context, "buildkit", lambda: "1")
    (repository / "Dockerfile").touch()
    (repository / ".env").write_text("PORT=1\n")
    context.options(repository, tmp_path)
    assert "/.env" in (tmp_path / "Dockerfile.dockerignore").read_text().splitlines()
    commit = commit_all(repository)
    context.options(repository, tmp_path)
    assert "/.env" not in (tmp_path / "Dockerfile.dockerignore").read_text().splitlines()
    (repository / ".env").write_text("PORT=2\n")
    assert image.revision_of(repository) == f"{commit}-dirty"


def test_revision_of_new_files_whatever_the_users_settings(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("config", "status.showUntrackedFiles", "no", cwd=repository)
    (repository / "new").touch()
    assert image.revision_of(repository).endswith("-dirty")


def test_folder_that_a_repository_around_it_ignores_has_no_revision(repository: Path) -> None:
    (repository / "dist").mkdir()
    assert image.revision_of(repository / "dist") == ""


def test_version_is_the_wheels(tmp_path: Path) -> None:
    assert image.wheel_version(tmp_path) == ""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/aws_emulator-1.2.1-py3-none-any.whl").touch()
    assert image.wheel_version(tmp_path) == "1.2.1"
    (tmp_path / "dist/aws_emulator-1.2.0-py3-none-any.whl").touch()
    with pytest.raises(GateError, match=r"more than one wheel .*1\.2\.0.*1\.2\.1"):
        image.wheel_version(tmp_path)


@pytest.mark.parametrize(
    ("gate", "kept"),
    [
        ("", "/.cache\n/.cache/**\n/.compat\n/.compat/**\n/.env\n/.env/**"),
        ("tools/gate", "/tools/gate\n/tools/gate/**"),
    ],
)
@pytest.mark.parametrize("own", [".dockerignore", "Dockerfile.dockerignore"])
def test_nothing_that_the_gate_keeps_is_sent_to_the_engine(
    repository: Path, gate: str, kept: str, own: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(context, "ROOT", repository / gate)
    monkeypatch.setattr(context, "buildkit", lambda: "1")
    (repository / "Dockerfile").write_text("FROM scratch\n")
    (repository / ".dockerignore").write_text("not this one")
    (repository / own).write_text("**\n!tools")
    assert context.options(repository / "packages", tmp_path) == []
    assert context.options(repository, tmp_path) == ["--file", str(tmp_path / "Dockerfile")]
    assert (tmp_path / "Dockerfile").read_text() == "FROM scratch\n"
    assert (tmp_path / "Dockerfile.dockerignore").read_text() == f"**\n!tools\n{kept}"


def test_the_classic_builder_cannot_leave_the_gate_out(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(context, "ROOT", repository)
    monkeypatch.setattr(context, "buildkit", lambda: "0")
    assert context.options(repository / "packages", tmp_path) == []
    with pytest.raises(GateError, match="install buildx"):
        context.options(repository, tmp_path)


@pytest.mark.engine
def test_prebuild_that_is_make_knows_nothing_of_the_gates_make(
    docker_client: docker.DockerClient, tmp_path: Path, template: Gate
) -> None:
    """Its command-line variables, its job slots and its Python settings are the gate's alone."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "Makefile").write_text(
        "VENV = own\nall:\n\t@echo venv=$(VENV) level=$(MAKELEVEL) flags=$(MAKEFLAGS) $$PYTHONDONTWRITEBYTECODE\n"
    )
    settings = {"EMULATOR_SOURCE": str(folder), "EMULATOR_PREBUILD": "make all >said 2>&1"}
    for target in ("image", "compat"):  # the latter by a make that is called by make
        assert "has no Dockerfile" in template.make(target, **settings).stdout
        assert (folder / "said").read_text().split() == ["venv=own", "level=0", "flags="]


@pytest.mark.parametrize("target", ["image", "compat"])
@pytest.mark.fault("there is no engine", "error")
def test_no_engine(template: Gate, target: str) -> None:
    """Also what `make compat` says, where aws-sam-cli would be installed meanwhile."""
    unreachable = {"SAMCLI_SOURCE": "nowhere", "DOCKER_HOST": "unix:///nowhere.sock"}
    verdicts = [template.root / f".compat/linux-{arch}/verdict.json" for arch in ("amd64", "arm64")]
    for verdict in verdicts:
        verdict.parent.mkdir(parents=True)
        verdict.write_text("{}")
    done = template.make(target, **unreachable)
    assert done.returncode == 2
    assert re.search(
        r"error: .*(no Docker engine answers; start it or set DOCKER_HOST|docker is not there)", done.stdout
    )
    assert "Traceback" not in done.stdout
    assert [verdict.exists() for verdict in verdicts].count(True) == 1, "this machine's earlier verdict is gone"


def test_engine_not_permitted(template: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine

    def refuse(**_: object) -> None:
        raise docker.errors.DockerException("Error while fetching server API version: PermissionError(13, 'denied')")

    monkeypatch.setattr(engine, "environment", lambda: {"DOCKER_HOST": "unix:///var/run/docker.sock"})
    monkeypatch.setattr(docker, "DockerClient", refuse)
    with pytest.raises(GateError, match=r"docker\.sock: not permitted; join the `docker` group"):
        engine.connect()


@pytest.mark.engine
@pytest.mark.parametrize("driver", ["json-file", "local"])
@pytest.mark.parametrize(
    ("says", "found"),
    [
        ('echo warning >&2; echo \'[{"name": "durable-x", "version": "1.0"}]\'', {"durable-x": "1.0"}),
        ("echo Killed", {}),
        ("/bin/busybox sleep 3600", {}),
    ],
)
def test_packages_are_those_that_pip_lists(
    docker_client: docker.DockerClient,
    emulator: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    found: dict[str, str],
    driver: str,
) -> None:
    """An engine may keep logs otherwise than the SDK expects, and a pip may never end."""
    (tmp_path / "pip").write_text(f"#!/bin/busybox sh\n{says}\n")
    (tmp_path / "pip").chmod(0o755)
    shutil.copy2(emulator / "busybox", tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY busybox pip /bin/\n")
    reference = f"{REPOSITORY}:pip"
    subprocess.run(["docker", "build", "--quiet", "--tag", reference, str(tmp_path)], check=True)
    create = ContainerCollection.create

    def keeps_logs_its_own_way(self: ContainerCollection, *arguments: str, **options: Any) -> object:
        return create(self, *arguments, log_config=LogConfig(type=driver), **options)

    monkeypatch.setattr(ContainerCollection, "create", keeps_logs_its_own_way)
    monkeypatch.setattr(image, "LISTING", 3)
    listed = image.packages(docker_client, reference)
    docker_client.images.remove(reference)
    assert listed == found
