"""make publish against a registry on loopback: what is pushed, in which order, and what is not."""

import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from gate import engine, images
from gate import registry as registries
from gate.model import Image

from .support import emulator as small_emulator
from .support.emulator import untag
from .support.gate import Gate, commit_settings
from .support.git import commit_all
from .support.registry import Registry, lagging_front
from .support.verdict import (
    AMD64,
    ARM64,
    PLATFORMS,
    build_labelled,
    leave_verdict,
    work_in,
)

pytestmark = pytest.mark.engine
REPOSITORY = f"{small_emulator.REPOSITORY}-publish"
TAGS = ["v1.2.1-x86_64", "v1.2.1-arm64", "v1.2.1"]


@pytest.fixture
def clone(
    template: Gate,
    docker_client: docker.DockerClient,
    local_registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Gate]:
    """A clone with a green verdict for each platform that publishes to the local registry."""
    work_in(monkeypatch, template.root)
    repositories = {
        "EMULATOR_REPOSITORY": REPOSITORY,
        "PUBLISH_REPOSITORY": local_registry.repository,
    }
    commit_settings(template, **repositories)
    for platform in PLATFORMS:
        pass_gate(template, platform)
    yield template
    for repository in repositories.values():
        untag(docker_client, repository)


def pass_gate(
    clone: Gate, platform: str, *, content: str = "good", version: str = "1.2.1"
) -> Image:
    """Build a candidate and leave its image.tar and a green verdict for it."""
    reference = f"{REPOSITORY}:pr-1"  # the same for both platforms, as they are of one commit
    build_labelled(
        clone.root.parent, reference, platform, content=content, version=version
    )
    built = images.describe(engine.connect(), reference)
    tar = image_tar(clone, platform)
    tar.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["docker", "save", f"--output={tar}", built.image_id], check=True
    )
    candidate = dataclasses.replace(built, config_digest=images.digest_of(tar))
    leave_verdict(candidate)
    return candidate


def image_tar(clone: Gate, platform: str) -> Path:
    return clone.root / ".compat" / platform.replace("/", "-") / "image.tar"


def publish(
    clone: Gate, *, exit_code: int, pushes: list[str], **settings: str
) -> str:
    """Publish, with this exit code and pushes of these tags; return what was printed."""
    done = clone.script("publish.py", **settings)
    pushed = re.findall(r"(?m)^pushed \S+:(\S+) \(sha256:", done.stdout)
    assert (done.returncode, pushed) == (exit_code, pushes), done.stdout
    return done.stdout


def manifests(registry: Registry) -> list[registries.Manifest | None]:
    """Return what the tags of version 1.2.1 and `latest` hold."""
    return [registry.holds(tag) for tag in (*TAGS, "latest")]


def config(reference: str, platform: str) -> str:
    """Return the config digest of a platform's image in the registry."""
    manifest = registries.platform_manifest(reference, platform)
    return manifest.config if manifest else ""


def docker_that_fails(folder: Path, command: str) -> str:
    """Return a PATH on which every docker command fails that contains these words."""
    real = shlex.quote(str(shutil.which("docker")))
    (folder / "bin").mkdir()
    program = folder / "bin/docker"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *"{command}"*) exit 1;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    return f"{folder}/bin{os.pathsep}{os.environ['PATH']}"


@pytest.mark.containerd
def test_two_platforms_are_published_in_two_steps_and_a_third_changes_nothing(
    clone: Gate,
    local_registry: Registry,
    tmp_path: Path,
    docker_client: docker.DockerClient,
) -> None:
    candidates = [
        pass_gate(clone, platform, content="travels") for platform in PLATFORMS
    ]
    for (
        candidate
    ) in candidates:  # as on another machine, which has image.tar only
        with contextlib.suppress(
            ImageNotFound
        ):  # containerd's store drops what lost its tag
            docker_client.images.remove(candidate.image_id, force=True)
    output = publish(clone, exit_code=0, pushes=[], PUBLISH_DRY_RUN="1")
    would_push = [f"{local_registry.repository}:{tag}" for tag in TAGS]
    assert [tag for tag in would_push if tag not in output] == []
    assert manifests(local_registry) == [None] * 4

    handed_on = tmp_path / "output"
    publish(
        clone,
        exit_code=0,
        pushes=TAGS,
        PUBLISH_LATEST="0",
        GITHUB_OUTPUT=str(handed_on),
    )
    x86_64, arm64, index, latest = manifests(local_registry)
    assert x86_64
    assert arm64
    assert index
    assert not latest
    assert index.members == {AMD64: x86_64.digest, ARM64: arm64.digest}
    for candidate in candidates:
        reference = f"{local_registry.repository}:v1.2.1"
        assert config(reference, candidate.platform) == candidate.config_digest
    repository = local_registry.repository
    assert (
        handed_on.read_text() == f"name={repository}\ndigest={index.digest}\n"
    )

    output = publish(clone, exit_code=0, pushes=["latest"])
    assert output.count("already pushed ") == 3
    output = publish(clone, exit_code=0, pushes=[])
    assert (
        f"unchanged {local_registry.repository}:latest ({index.digest})"
        in output
    )
    assert manifests(local_registry) == [x86_64, arm64, index, index]


@pytest.mark.containerd
@pytest.mark.parametrize("tag", ["v1.2.1", "v1.2.1-arm64"])
def test_a_version_with_other_content_is_never_overwritten(
    clone: Gate, local_registry: Registry, tag: str
) -> None:
    publish(clone, exit_code=0, pushes=TAGS, PUBLISH_LATEST="0")
    other = f"{local_registry.repository}:{tag}"
    build_labelled(clone.root.parent, other, ARM64, content="other")
    subprocess.run(["docker", "push", "--quiet", other], check=True)
    before = manifests(local_registry)
    output = publish(clone, exit_code=1, pushes=[])
    assert f"refused: {other} already exists with different content (" in output
    assert manifests(local_registry) == before


def test_an_image_that_is_not_the_tested_one_is_refused(
    clone: Gate, local_registry: Registry, docker_client: docker.DockerClient
) -> None:
    gone = pass_gate(clone, ARM64, content="gone")
    docker_client.images.remove(gone.image_id, force=True)
    tar = image_tar(clone, ARM64)
    shutil.copy(image_tar(clone, AMD64), tar)
    output = publish(clone, exit_code=1, pushes=[])
    assert f"refused: digest mismatch: {tar} " in output
    tar.unlink()
    output = publish(clone, exit_code=1, pushes=[])
    assert f"refused: {ARM64}: {gone.image_id} is not in this" in output
    assert manifests(local_registry) == [None] * 4


def test_an_image_that_was_built_on_a_stand_in_is_refused(
    clone: Gate, local_registry: Registry
) -> None:
    pass_gate(clone, ARM64, content="stand-in")
    output = publish(clone, exit_code=1, pushes=[])
    assert f"refused: {ARM64}: it was built on a stand-in of its" in output
    assert manifests(local_registry) == [None] * 4


def test_a_release_that_failed_half_way_goes_on_with_the_same_images(
    clone: Gate, local_registry: Registry, tmp_path: Path
) -> None:
    for platform in PLATFORMS:  # as on the machine that tested
        image_tar(clone, platform).unlink()
    path = docker_that_fails(
        tmp_path, f"create --tag {local_registry.repository}:v1.2.1 "
    )
    output = publish(clone, exit_code=2, pushes=TAGS[:2], PATH=path)
    assert (
        f"error: {local_registry.repository}:v1.2.1 cannot be written" in output
    )
    x86_64, arm64, *others = manifests(local_registry)
    assert others == [None, None]
    publish(clone, exit_code=0, pushes=["v1.2.1", "latest"])
    assert manifests(local_registry)[:2] == [x86_64, arm64]


LAG = 2.0  # seconds; less than registry.PAUSE, so that one of these is enough


@pytest.fixture
def lagging(
    docker_client: docker.DockerClient, local_registry: Registry
) -> Iterator[str]:
    """A repository that shows each tag late, as it was before (FACTS.md#registry-lag)."""
    with lagging_front(local_registry, LAG) as repository:
        yield repository
        untag(docker_client, repository)


def test_a_registry_that_shows_a_push_late_is_waited_for(
    clone: Gate, local_registry: Registry, lagging: str
) -> None:
    """The tags of a new version are absent at first, `latest` is the earlier version's."""
    commit_settings(clone, PUBLISH_PLATFORMS=AMD64)
    publish(clone, exit_code=0, pushes=["v1.2.1-x86_64", "v1.2.1", "latest"])
    pass_gate(clone, AMD64, version="1.3.0")
    pushes = ["v1.3.0-x86_64", "v1.3.0", "latest"]
    output = publish(
        clone, exit_code=0, pushes=pushes, PUBLISH_REPOSITORY=lagging
    )
    for tag in pushes:
        manifest = local_registry.holds(tag)
        assert manifest
        assert f"pushed {lagging}:{tag} ({manifest.digest})\n" in output
    assert local_registry.holds("latest") == local_registry.holds("v1.3.0")


def test_latest_stays_where_it_is_a_newer_version(
    clone: Gate, local_registry: Registry
) -> None:
    commit_settings(clone, PUBLISH_PLATFORMS=AMD64)
    pass_gate(clone, AMD64, version="1.3.0")
    publish(clone, exit_code=0, pushes=["v1.3.0-x86_64", "v1.3.0", "latest"])
    newest = local_registry.holds("latest")
    pass_gate(clone, AMD64, version="1.2.9")
    output = publish(clone, exit_code=0, pushes=["v1.2.9-x86_64", "v1.2.9"])
    latest = f"{local_registry.repository}:latest"
    assert f"{latest} stays: it is 1.3.0, newer than 1.2.9" in output
    assert local_registry.holds("latest") == newest


@pytest.mark.containerd
def test_what_a_green_run_tested_becomes_latest(
    gate: Gate,
    emulator: Path,
    local_registry: Registry,
    tmp_path: Path,
    docker_client: docker.DockerClient,
) -> None:
    shutil.copytree(emulator, tmp_path / "emulator")
    commit_all(tmp_path / "emulator")
    platform = engine.platform(docker_client)
    committed = gate.settings | {
        "EMULATOR_SOURCE": str(tmp_path / "emulator"),
        "EMULATOR_VERSION": "1.2.1",
        "SAMCLI_TESTS": "tests/test_steps.py",
        "PUBLISH_PLATFORMS": platform,
        "COMPAT_MIN_PASSED": "1",
    }
    commit_settings(gate, **committed)
    repository = local_registry.repository
    given = committed | {
        "COMPAT_SAVE_IMAGE": "1",
        "PUBLISH_REPOSITORY": repository,
    }
    done = gate.make("compat", **given)
    assert done.returncode == 0, done.stdout
    tested = gate.verdict()["candidate"]
    docker_client.images.remove(tested["image_id"], force=True)
    done = gate.make("publish", **given, BUILT_DIGESTS=f"{platform}=sha256:0")
    assert (done.returncode, local_registry.holds("v1.2.1")) == (2, None), (
        done.stdout
    )
    done = gate.make("publish", **given, RELEASE_TAG="sdk-v1.0.0,v1.2.1")
    assert done.returncode == 0, done.stdout
    assert config(f"{repository}:latest", platform) == tested["config_digest"]
    untag(docker_client, repository)
