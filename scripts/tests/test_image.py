"""make image: where the candidate comes from, and what it is called and labelled."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from gate import emulator, engine, images, settings, workspace
from gate.cli import GateError

from . import conftest
from .conftest import Gate, commit_all, copy_template, git, untag

REPOSITORY = f"{conftest.REPOSITORY}-image"
PACKAGES = '[{"name": "durable-sdk", "version": "1.7.0"}, {"name": "pip", "version": "24"}]'
PREBUILD = "rm -rf dist; mkdir dist; uv --version && touch dist/emulator-1.2.1-py3-none-any.whl"
DOCKERFILE = "FROM scratch\nCOPY busybox pip /bin/\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a Dockerfile in packages/emulator; dist/ is ignored."""
    folder = tmp_path / "repository"
    (folder / "packages/emulator/dist").mkdir(parents=True)
    (folder / "packages/emulator/Dockerfile").write_text(DOCKERFILE)
    (folder / ".gitignore").write_text("dist/\n")
    commit_all(folder)
    return folder


def test_where_the_source_is(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    login = "https://me:s3cret@host/x"
    (tmp_path / "gitconfig").write_text(f'[url "{repository}"]\ninsteadOf = {login}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for source in (
        f"{login}#develop:packages/emulator",
        f"{repository}/packages/emulator",
        f"file://{repository}#develop:packages/emulator",
        f"file://{repository}#:packages/emulator",
        f"{repository}#develop:packages/emulator",
    ):
        monkeypatch.setenv("EMULATOR_SOURCE", source)
        folder = emulator.source_folder(settings.load())
        assert (folder / "Dockerfile").exists()
        assert emulator.revision(folder) == git("rev-parse", "HEAD", cwd=repository)
    for source, says in (
        ("nowhere", "nowhere is not a folder and not a git URL"),
        (f"file://{repository}#develop:src", "there is no folder src at file://"),
        ("https://me:s3cret@localhost:1/x", "https://localhost:1/x cannot be reached"),
    ):
        monkeypatch.setenv("EMULATOR_SOURCE", source)
        with pytest.raises(GateError, match=f"^EMULATOR_SOURCE: {says}"):
            emulator.source_folder(settings.load())


def test_a_tree_with_any_change_that_git_does_not_ignore_is_dirty(repository: Path) -> None:
    folder = repository / "packages/emulator"
    (folder / "dist/x").touch()
    clean = git("rev-parse", "HEAD", cwd=repository)
    git("config", "status.showUntrackedFiles", "no", cwd=repository)
    assert (emulator.revision(folder), emulator.revision(repository.parent)) == (clean, "")
    (repository / "new").touch()  # outside of the folder, which may copy from there
    assert emulator.revision(folder) == f"{clean}-dirty"


@pytest.mark.parametrize("name", ["image.py", "compat.py"])
def test_the_earlier_verdict_goes_before_anything_can_fail(template: Gate, name: str) -> None:
    for failing in ({"COMPAT_JOBS": "x"}, {"DOCKER_HOST": "unix:///nowhere.sock"}):
        for file in ("amd64/verdict.json", "amd64/summary.md", "arm64/verdict.json"):
            (template.root / f".compat/linux-{file}").parent.mkdir(parents=True, exist_ok=True)
            (template.root / f".compat/linux-{file}").touch()
        done = template.script(name, **failing)
        assert (done.returncode, done.stdout.count("error: ")) == (2, 1), done.stdout
        assert len(list(template.root.glob(".compat/*/*"))) < 3


@pytest.fixture(scope="module")
def clone(
    tmp_path_factory: pytest.TempPathFactory, docker_client: docker.DockerClient, busybox: Path
) -> Iterator[Gate]:
    """A copy of the gate, set up for an emulator whose pip lists a durable package."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    source.mkdir()
    shutil.copy2(busybox, source / "busybox")
    (source / "pip").write_text(f"#!/bin/busybox sh\necho '{PACKAGES}'\n")
    (source / "pip").chmod(0o755)
    (source / "Dockerfile").write_text(DOCKERFILE)
    (source / ".gitignore").write_text("dist/\n")
    commit_all(source)
    given = {"EMULATOR_REPOSITORY": REPOSITORY, "EMULATOR_SOURCE": str(source)}
    given |= {"EMULATOR_PREBUILD": PREBUILD, "GITHUB_OUTPUT": str(folder / "output")}
    gate = Gate(copy_template(folder / "template"), given)
    yield gate
    for repository in (REPOSITORY, gate.clone):
        untag(docker_client, repository)


def made(gate: Gate, **given: str) -> dict[str, Any]:
    """Run `make image` and return the candidate, which must be what the engine has."""
    done = gate.make("image", **given)
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = json.loads((gate.findings / "candidate.json").read_text())["candidate"]
    assert engine.connect().images.get(found["reference"]).id == found["image_id"]
    return found


def refused(gate: Gate, says: str, **given: str) -> None:
    """Run `make image` to its one error, after which there is no candidate."""
    done = gate.make("image", **given)
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (2, 1), done.stdout
    assert says in errors[0]
    assert list(gate.root.glob(".compat/*/candidate.json")) == []


@pytest.mark.engine
@pytest.mark.containerd
def test_what_was_built_is_labelled_tagged_kept_and_loaded_again(
    clone: Gate, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    found = made(clone, COMPAT_SAVE_IMAGE="1")
    commit = git("rev-parse", "HEAD", cwd=Path(clone.settings["EMULATOR_SOURCE"]))
    assert found["reference"] == f"{REPOSITORY}:pr-{commit[:12]}"
    assert (found["version"], found["revision"]) == ("1.2.1", commit)
    with tarfile.open(clone.findings / "image.tar") as tar:
        contents = [file.read() for member in tar if (file := tar.extractfile(member))]
    digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    assert found["config_digest"] in digests
    output = Path(clone.settings["GITHUB_OUTPUT"]).read_text().splitlines()[-1]
    assert output == f"digest-{clone.findings.name}={found['config_digest']}"
    shutil.move(clone.findings / "image.tar", tmp_path / "x.tar")
    docker_client.images.remove(found["image_id"], force=True)
    again = made(clone, EMULATOR_IMAGE=str(tmp_path / "x.tar"))
    for what in ("config_digest", "version", "revision", "packages"):
        assert again[what] == found[what]
    assert again["packages"] == {"durable-sdk": "1.7.0"}


@pytest.mark.engine
def test_a_dirty_tree_and_what_the_settings_say(clone: Gate) -> None:
    new = Path(clone.settings["EMULATOR_SOURCE"], "new")
    new.touch()
    dirty = made(clone, EMULATOR_VERSION="9.9")
    assert dirty["reference"] == f"{REPOSITORY}:pr-{dirty['revision'][:12]}-dirty"
    assert (dirty["revision"][40:], dirty["version"]) == ("-dirty", "9.9")
    named = made(clone, EMULATOR_IMAGE=dirty["reference"], EMULATOR_TAG="pr-mine")
    assert named["reference"] == f"{REPOSITORY}:pr-mine"
    assert (named["image_id"], named["version"]) == (dirty["image_id"], "9.9")
    new.unlink()


@pytest.mark.engine
def test_what_cannot_be_a_candidate(clone: Gate) -> None:
    refused(clone, "EMULATOR_PREBUILD failed (exit code 3, see above)", EMULATOR_PREBUILD="exit 3")
    two = f"{PREBUILD} dist/emulator-1.2.0-py3-none-any.whl"
    refused(clone, "/dist has two wheels", EMULATOR_PREBUILD=two)
    refused(clone, "there is no image nowhere.example/x:1", EMULATOR_IMAGE="nowhere.example/x:1")
    other = f"{REPOSITORY}:other"
    command = ["docker", "buildx", "build", "--load", "--platform=linux/s390x", f"--tag={other}"]
    subprocess.run([*command, clone.settings["EMULATOR_SOURCE"]], check=True)
    refused(clone, "the image is for linux/s390x, this engine is linux/", EMULATOR_IMAGE=other)
    refused(clone, "unix:///x.sock: no engine answers: start it", DOCKER_HOST="unix:///x.sock")


@pytest.mark.engine
def test_neither_the_users_builder_nor_platform_matters(clone: Gate, tmp_path: Path) -> None:
    """A builder with a driver of its own sees no local base image (buildx#2348)."""
    base = made(clone)["reference"]
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /\n")
    own = {"BUILDX_CONFIG": str(tmp_path / "buildx"), "DOCKER_DEFAULT_PLATFORM": "linux/s390x"}
    create = ["docker", "buildx", "create", "--use", "--driver=docker-container"]
    subprocess.run(create, check=True, env=os.environ | own)
    found = made(clone, EMULATOR_SOURCE=str(tmp_path), EMULATOR_PREBUILD="", **own)
    assert found["packages"] == {"durable-sdk": "1.7.0"}


def test_a_file_that_is_no_archive_of_an_image_is_named(tmp_path: Path) -> None:
    nothing: Any = None
    (tmp_path / "image.tar").write_text("no archive")
    with pytest.raises(GateError, match=r"/image\.tar is not an archive of one image"):
        images.take(nothing, str(tmp_path / "image.tar"))


def test_a_tars_digest_is_that_of_its_content_whatever_name_it_claims(tmp_path: Path) -> None:
    claimed = "0" * 64
    files = {f"blobs/sha256/{claimed}": b"{}"}
    files["manifest.json"] = json.dumps([{"Config": f"blobs/sha256/{claimed}"}]).encode()
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    found = images.digest_of(tmp_path / "image.tar")
    assert found == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
