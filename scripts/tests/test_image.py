"""make image: where the candidate comes from, and what it is called and labelled."""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound

from gate import emulator, engine, images, settings, workspace
from gate.images import Package
from gate.programs import GateError
from gate.sdk import Wheel

from .support import emulator as small_emulator
from .support.emulator import untag
from .support.gate import Gate, copy_template
from .support.git import commit_all, git
from .support.machine import missing
from .support.runs import CANDIDATE

REPOSITORY = f"{small_emulator.REPOSITORY}-image"
# What the image's pip shows: a durable package from a wheel that it was given, and another one.
WHEEL = Wheel(
    "/x.whl", "durable-sdk", "1.7.0", sha256="a" * 64, record="b" * 64
)
HASHES = json.dumps({"sha256": WHEEL.sha256})
DURABLE = {
    "metadata": {"name": "Durable.SDK", "version": WHEEL.version},
    "direct_url": {"archive_info": {"hashes": json.loads(HASHES)}},
}
OTHER = {"metadata": {"name": "pip", "version": "24"}}
PACKAGES = json.dumps({"installed": [DURABLE, OTHER]})
FOUND = [Package("durable-sdk", "1.7.0", WHEEL.sha256), Package("pip", "24")]
PREBUILD = "rm -rf dist; mkdir dist; uv --version && touch dist/emulator-1.2.1-py3-none-any.whl"
DOCKERFILE = "FROM scratch\nCOPY busybox pip /bin/\n"
LOGIN = "https://me:s3cret@host/x"


# --- the source


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a Dockerfile in packages/emulator; dist/ is ignored.

    It is at LOGIN too.
    """
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    (folder / "packages/emulator/dist").mkdir(parents=True)
    (folder / "packages/emulator/Dockerfile").write_text(DOCKERFILE)
    (folder / ".gitignore").write_text("dist/\n")
    commit_all(folder)
    (tmp_path / "gitconfig").write_text(
        f'[url "{folder}"]\ninsteadOf = {LOGIN}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return folder


def source_folder(monkeypatch: pytest.MonkeyPatch, source: str) -> Path:
    monkeypatch.setenv("EMULATOR_SOURCE", source)
    return emulator.source_folder(settings.load())


@pytest.mark.parametrize(
    "source",
    [
        f"{LOGIN}#develop:packages/emulator",
        "{repository}/packages/emulator",
        "file://{repository}#develop:packages/emulator",
        "file://{repository}#:packages/emulator",
        "{repository}#develop:packages/emulator",
    ],
)
def test_the_source_is_a_folder_or_a_folder_of_a_git_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    folder = source_folder(monkeypatch, source.format(repository=repository))
    assert (folder / "Dockerfile").exists()
    assert emulator.revision(folder) == git("rev-parse", "HEAD", cwd=repository)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nowhere", "nowhere is not a folder and not a git URL"),
        (
            "file://{repository}#develop:src",
            "there is no folder src at file://",
        ),
        (
            "https://me:s3cret@localhost:1/x",
            "https://localhost:1/x cannot be reached",
        ),
    ],
)
def test_a_source_that_is_not_there_is_named_without_its_password(
    repository: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: str
) -> None:
    with pytest.raises(GateError, match=f"^EMULATOR_SOURCE: {error}"):
        source_folder(monkeypatch, source.format(repository=repository))


def test_a_tree_with_any_change_that_git_does_not_ignore_is_dirty(
    repository: Path,
) -> None:
    folder = repository / "packages/emulator"
    commit = git("rev-parse", "HEAD", cwd=repository)
    git("config", "status.showUntrackedFiles", "no", cwd=repository)
    (folder / "dist/x").touch()
    assert emulator.revision(folder) == commit
    # Outside of the folder, which may copy from there.
    (repository / "new").touch()
    assert emulator.revision(folder) == f"{commit}-dirty"


def test_a_folder_outside_of_git_has_no_revision(tmp_path: Path) -> None:
    assert emulator.revision(tmp_path) == ""


def test_a_repository_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    git("init", "--quiet", cwd=tmp_path)
    assert emulator.revision(tmp_path) == ""


def test_a_repository_that_git_does_not_read_is_an_error_in_its_words(
    repository: Path,
) -> None:
    """As of another owner, in a container that mounts it (actions/checkout#1048)."""
    if os.getuid():
        missing("only root can give a folder to another owner")
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 65534, 65534)
    folder = repository / "packages/emulator"
    with pytest.raises(GateError) as error:
        emulator.revision(folder)
    assert str(error.value).startswith(f"{folder}: git cannot read it: ")
    assert "dubious ownership" in str(error.value)


def test_a_worktree_without_its_repository_is_an_error_in_gits_words(
    repository: Path, tmp_path: Path
) -> None:
    """As in a container that mounts only the worktree (devcontainers/cli#796)."""
    worktree = tmp_path / "worktree"
    git("worktree", "add", "--quiet", str(worktree), cwd=repository)
    repository.rename(tmp_path / "moved")
    with pytest.raises(GateError, match="not a git repository"):
        emulator.revision(worktree)


# --- the version of the wheel in dist/


def write_wheels(folder: Path, *names: str) -> None:
    (folder / "dist").mkdir()
    for name in names:
        (folder / "dist" / f"{name}-py3-none-any.whl").touch()


@pytest.mark.parametrize(
    "wheel",
    ["durable_emulator_testing-1.3.0", "Durable_Emulator.testing-1.3.0"],
    ids=["as it should be", "as older tools write it"],
)
def test_the_version_is_that_of_the_emulators_wheel_among_others(
    tmp_path: Path, wheel: str
) -> None:
    name = 'name = "Durable-Emulator.testing"'
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{name}\n")
    write_wheels(
        tmp_path,
        wheel,
        "durable_emulator-9.0",
        "sdk-2.0",
    )
    assert emulator.wheel_version(tmp_path) == "1.3.0"


@pytest.mark.parametrize(
    ("wheels", "version"),
    [(["emulator-1.2.1"], "1.2.1"), ([], "")],
    ids=["one wheel", "no wheel"],
)
def test_the_version_without_a_project_is_that_of_the_one_wheel(
    tmp_path: Path, wheels: list[str], version: str
) -> None:
    write_wheels(tmp_path, *wheels)
    assert emulator.wheel_version(tmp_path) == version


def test_a_file_that_is_no_wheel_has_no_version(tmp_path: Path) -> None:
    write_wheels(tmp_path)
    (tmp_path / "dist/nodash.whl").touch()
    assert emulator.wheel_version(tmp_path) == ""


# --- what a build must not take along


@pytest.fixture
def monorepo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The emulator's repository, with the gate in the folder `gate`."""
    monkeypatch.setattr(workspace, "ROOT", tmp_path / "gate")
    (tmp_path / "gate").mkdir()
    return tmp_path


COPIES_ALL = [
    "COPY . .",
    "COPY ./ /app/",
    "copy --chown=me:me . /app",
    'COPY ["." , "/app"]',
    "ADD * /app/",
    "COPY ./* /app/",
    "  COPY . .",
    "COPY src . /app/",
    'COPY ["src", ".", "/app/"]',
    "COPY \\\n  . /app",
    "# caf\udce9\nCOPY . .",
]


@pytest.mark.parametrize("instruction", COPIES_ALL)
def test_a_build_that_would_take_the_gates_own_files_along_is_refused(
    monorepo: Path, instruction: str
) -> None:
    """.env may hold secrets, and the image is published."""
    (monorepo / "Dockerfile").write_text(
        f"FROM scratch\n{instruction}\n", errors="surrogateescape"
    )
    (monorepo / ".dockerignore").write_text("\ufeffgate/.compat\n")
    with pytest.raises(GateError) as error:
        emulator.refuse_own_files(monorepo)
    assert str(error.value) == (
        f"{monorepo}/Dockerfile copies gate/.env gate/.cache into the image: "
        f"add them to {monorepo}/.dockerignore"
    )


@pytest.mark.parametrize(
    "ignored",
    [
        "gate",
        "# x\n\n/gate/\n",
        "**/.env\n**/.cache\n**/.compat",
        "gate/.env*\ngate/.cache/*\ngate/.compat/**",
        "*\n!src",
    ],
    ids=["the folder", "slashes", "everywhere", "its content", "all but"],
)
@pytest.mark.parametrize("file", [".dockerignore", "Dockerfile.dockerignore"])
def test_a_build_that_ignores_the_gates_own_files_is_not_refused(
    monorepo: Path, file: str, ignored: str
) -> None:
    (monorepo / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    (monorepo / file).write_text(ignored)
    emulator.refuse_own_files(monorepo)


@pytest.mark.parametrize(
    ("folder", "instruction"),
    [
        (".", "COPY src /src"),
        (".", "COPY src ."),
        (".", "COPY --from=builder . ."),
        ("packages/emulator", "COPY . ."),
        ("elsewhere", "COPY . ."),
    ],
    ids=[
        "a folder of it",
        "to here",
        "another stage's",
        "a folder beside the gate",
        "no Dockerfile",
    ],
)
def test_a_build_that_takes_nothing_of_the_gate_is_not_refused(
    monorepo: Path, folder: str, instruction: str
) -> None:
    emulators = monorepo / folder
    emulators.mkdir(parents=True, exist_ok=True)
    if folder != "elsewhere":
        (emulators / "Dockerfile").write_text(f"FROM scratch\n{instruction}\n")
    emulator.refuse_own_files(emulators)


# --- what an earlier run left


@pytest.mark.parametrize("script", ["image.py", "compat.py"])
@pytest.mark.parametrize(
    "failing",
    [{"COMPAT_JOBS": "x"}, {"DOCKER_HOST": "unix:///nowhere.sock"}],
    ids=["a wrong setting", "no engine"],
)
def test_the_earlier_verdict_goes_before_anything_can_fail(
    template: Gate, script: str, failing: dict[str, str]
) -> None:
    for name in (
        "amd64/verdict.json",
        "amd64/summary.md",
        "arm64/verdict.json",
    ):
        path = template.root / f".compat/linux-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = template.script(script, **failing)
    assert (done.returncode, done.stdout.count("error: ")) == (2, 1), (
        done.stdout
    )
    assert list(template.root.glob(".compat/*/*")) == []


# --- with an engine


@pytest.fixture(scope="module")
def clone(
    tmp_path_factory: pytest.TempPathFactory,
    docker_client: docker.DockerClient,
    busybox: Path,
) -> Iterator[Gate]:
    """A copy of the gate, set up for an emulator whose pip lists a durable package."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    source.mkdir()
    write_source(source, busybox, f"echo '{PACKAGES}'")
    (source / ".gitignore").write_text("dist/\n")
    commit_all(source)
    given = {
        "EMULATOR_REPOSITORY": REPOSITORY,
        "EMULATOR_SOURCE": str(source),
        "EMULATOR_PREBUILD": PREBUILD,
        "GITHUB_OUTPUT": str(folder / "output"),
    }
    gate = Gate(copy_template(folder / "template"), given)
    yield gate
    for repository in (REPOSITORY, gate.clone):
        untag(docker_client, repository)


def write_source(folder: Path, busybox: Path, pip: str) -> None:
    """Write the source of an image whose pip is a shell command."""
    shutil.copy2(busybox, folder / "busybox")
    (folder / "pip").write_text(f"#!/bin/busybox sh\n{pip}\n")
    (folder / "pip").chmod(0o755)
    (folder / "Dockerfile").write_text(DOCKERFILE)


def make_image(gate: Gate, **given: str) -> dict[str, Any]:
    """Run `make image` and return the candidate, which must be what the engine has."""
    return candidate_of(gate, gate.make("image", **given))


def candidate_of(
    gate: Gate, done: "subprocess.CompletedProcess[str]"
) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout
    written = json.loads((gate.results_folder / "candidate.json").read_text())
    candidate: dict[str, Any] = written["image"]
    assert (
        engine.connect().images.get(candidate["reference"]).id
        == candidate["image_id"]
    )
    return candidate


def error_of_image(gate: Gate, **given: str) -> str:
    """Run `make image` to its one error, after which there is no candidate; return that."""
    done = gate.make("image", **given)
    assert done.returncode == 2, done.stdout
    (error,) = [
        line for line in done.stdout.splitlines() if line.startswith("error: ")
    ]
    assert list(gate.root.glob(".compat/*/candidate.json")) == []
    return error.removeprefix("error: ")


@pytest.mark.engine
@pytest.mark.containerd
def test_what_was_built_is_labelled_tagged_kept_and_loaded_again(
    clone: Gate, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    built = make_image(clone, COMPAT_SAVE_IMAGE="1")
    commit = git(
        "rev-parse", "HEAD", cwd=Path(clone.settings["EMULATOR_SOURCE"])
    )
    assert built["reference"] == f"{REPOSITORY}:pr-{commit[:12]}"
    assert built["version"] == "1.2.1"
    assert built["revision"] == commit
    assert built["packages"] == {"durable-sdk": "1.7.0"}
    with tarfile.open(clone.results_folder / "image.tar") as tar:
        contents = [
            file.read() for member in tar if (file := tar.extractfile(member))
        ]
    digests = [
        f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents
    ]
    assert built["config_digest"] in digests
    output = Path(clone.settings["GITHUB_OUTPUT"]).read_text().splitlines()[-1]
    assert (
        output == f"digest-{clone.results_folder.name}={built['config_digest']}"
    )

    shutil.move(clone.results_folder / "image.tar", tmp_path / "x.tar")
    docker_client.images.remove(built["image_id"], force=True)
    loaded = make_image(clone, EMULATOR_IMAGE=str(tmp_path / "x.tar"))
    same = ("config_digest", "version", "revision", "packages")
    assert {name: loaded[name] for name in same} == {
        name: built[name] for name in same
    }


@pytest.mark.engine
def test_a_dirty_tree_shows_in_tag_and_revision_and_settings_win(
    clone: Gate,
) -> None:
    new = Path(clone.settings["EMULATOR_SOURCE"], "new")
    new.touch()
    built = make_image(clone, EMULATOR_VERSION="9.9")
    new.unlink()
    commit, dirty, rest = built["revision"].partition("-dirty")
    assert (len(commit), dirty, rest) == (40, "-dirty", "")
    assert built["reference"] == f"{REPOSITORY}:pr-{commit[:12]}-dirty"
    assert built["version"] == "9.9"

    taken = make_image(
        clone, EMULATOR_IMAGE=built["reference"], EMULATOR_TAG="pr-mine"
    )
    assert taken["reference"] == f"{REPOSITORY}:pr-mine"
    assert (taken["image_id"], taken["version"]) == (built["image_id"], "9.9")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"EMULATOR_PREBUILD": "exit 3"},
            "EMULATOR_PREBUILD failed (exit code 3, see above)",
        ),
        (
            {
                "EMULATOR_PREBUILD": f"{PREBUILD} dist/emulator-1.2.0-py3-none-any.whl"
            },
            "/dist has two wheels",
        ),
        (
            {"EMULATOR_IMAGE": "nowhere.example/x:1"},
            "nowhere.example/x:1 is not here and cannot be pulled (exit code 1",
        ),
        (
            {"DOCKER_HOST": "unix:///x.sock"},
            "unix:///x.sock: no engine answers (No such file or directory): start it",
        ),
    ],
    ids=["prebuild fails", "two wheels", "no image", "no engine"],
)
def test_without_an_image_there_is_one_error_and_no_candidate(
    clone: Gate, given: dict[str, str], error: str
) -> None:
    assert error in error_of_image(clone, **given)


@pytest.mark.engine
def test_an_image_of_another_platform_is_refused(clone: Gate) -> None:
    other = f"{REPOSITORY}:other"
    command = [
        "docker",
        "buildx",
        "build",
        "--load",
        "--platform=linux/s390x",
        f"--tag={other}",
    ]
    subprocess.run([*command, clone.settings["EMULATOR_SOURCE"]], check=True)
    error = error_of_image(clone, EMULATOR_IMAGE=other)
    assert error.startswith("the image is for linux/s390x, not for linux/")
    assert ": build or pull one for linux/" in error


@pytest.mark.engine
def test_an_image_that_is_here_is_not_pulled_over(clone: Gate) -> None:
    """It may be the user's own build under a name that a registry has too."""
    name = f"{REPOSITORY}-users"
    subprocess.run(
        ["docker", "tag", make_image(clone)["reference"], name], check=True
    )
    done = clone.make("image", EMULATOR_IMAGE=name)
    engine.connect().images.remove(name)
    assert "docker pull --quiet" not in done.stdout
    says = f"{name} is tested as it is on this machine; `docker pull` it first"
    assert done.stdout.startswith(says)
    # An id names nothing else.
    image_id = candidate_of(clone, done)["image_id"]
    assert "as it is" not in clone.make("image", EMULATOR_IMAGE=image_id).stdout


@pytest.mark.engine
def test_a_hooks_variables_do_not_lead_to_another_repository(
    clone: Gate, tmp_path: Path
) -> None:
    """git sets them for its hooks, and `git bisect run` may be in one."""
    commit_all(tmp_path)
    hook = {"GIT_DIR": f"{tmp_path}/.git", "GIT_WORK_TREE": str(tmp_path)}
    candidate = candidate_of(clone, clone.script("image.py", **hook))
    source = Path(clone.settings["EMULATOR_SOURCE"])
    assert candidate["revision"] == git("rev-parse", "HEAD", cwd=source)


@pytest.mark.engine
def test_the_gates_own_files_are_not_in_the_image(
    tmp_path: Path, docker_client: docker.DockerClient
) -> None:
    """Where the gate is at the top of the emulator's repository."""
    given = {
        "EMULATOR_REPOSITORY": f"{REPOSITORY}-all",
        "EMULATOR_SOURCE": ".",
        "EMULATOR_PREBUILD": "",
    }
    gate = Gate(copy_template(tmp_path / "template"), given)
    (gate.root / ".env").write_text("TOKEN=secret\n")
    (gate.root / "Dockerfile").write_text("FROM scratch\nCOPY . /all\n")
    assert error_of_image(gate) == (
        f"{gate.root}/Dockerfile copies .env .cache .compat into the image: "
        f"add them to {gate.root}/.dockerignore"
    )
    (gate.root / ".dockerignore").write_text(".env\n.cache\n.compat\n")
    reference = make_image(gate)["reference"]
    container = docker_client.containers.create(reference, "x")
    container.get_archive("/all/Makefile")
    with pytest.raises(NotFound):
        container.get_archive("/all/.env")
    container.remove()
    for repository in (given["EMULATOR_REPOSITORY"], gate.clone):
        untag(docker_client, repository)


@pytest.mark.engine
def test_a_docker_without_buildx_is_named_with_how_to_get_it(
    clone: Gate, tmp_path: Path
) -> None:
    real = shutil.which("docker")
    no_buildx = "echo \"docker: 'buildx' is not a docker command.\" >&2; exit 1"
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\n[ "$1" != buildx ] || {{ {no_buildx}; }}\nexec {real} "$@"\n'
    )
    (tmp_path / "docker").chmod(0o755)
    error = error_of_image(clone, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert error.startswith("docker has no buildx: install docker-buildx (")


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ({}, f"pr-{'c' * 12}-dirty"),
        ({"emulator_image": "other:1"}, "pr-good"),
        ({"emulator_tag": "pr-mine"}, "pr-mine"),
    ],
    ids=["built here", "built elsewhere", "named"],
)
def test_a_tag_names_a_commit_only_of_an_image_that_was_built_here(
    given: dict[str, Any], tag: str
) -> None:
    image = dataclasses.replace(CANDIDATE, revision=f"{'c' * 40}-dirty")
    ours = dataclasses.replace(settings.load_committed(), **given)
    repository = ours.emulator_repository
    assert images.candidate_reference(image, ours) == f"{repository}:{tag}"


# --- what is in an image


@pytest.mark.engine
@pytest.mark.parametrize(
    ("pip", "found"),
    [
        (f"echo '{PACKAGES}'", FOUND),
        ("echo 'WARNING: not JSON'", []),
        ("echo '{}' | /bin/busybox head -c 1", []),
        ("""echo '{"installed": [{}]}'""", []),
        ("""echo '{"installed": ["a"]}'""", []),
        (f"echo '{PACKAGES.replace(HASHES, '[]')}'", []),
        ("echo null", []),
        ("exit 3", []),
        ("exec /bin/busybox sleep 3600", []),
    ],
    ids=[
        "a list",
        "text",
        "cut off",
        "no name",
        "names only",
        "another shape",
        "null",
        "fails",
        "hangs",
    ],
)
def test_packages_are_unknown_where_the_images_pip_does_not_work(
    docker_client: docker.DockerClient,
    busybox: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pip: str,
    found: list[Package],
) -> None:
    write_source(tmp_path, busybox, pip)
    name = f"{REPOSITORY}:pip"
    subprocess.run(
        ["docker", "build", "--tag", name, str(tmp_path)], check=True
    )
    hangs = "sleep" in pip
    monkeypatch.setattr(images, "PIP_TIMEOUT", 2 if hangs else 60)
    # Not the name that other tests use at the same time.
    monkeypatch.setattr(workspace, "CLONE", f"{workspace.PREFIX}pip")
    assert images.packages(docker_client, name) == found
    containers = docker_client.api.containers(all=True)
    names = [name for each in containers for name in each["Names"] or []]
    assert f"/{workspace.CLONE}-packages" not in names
    docker_client.images.remove(name)


def test_an_image_with_exactly_this_wheel_is_taken() -> None:
    images.check_wheel(FOUND, WHEEL)


@pytest.mark.parametrize(
    "found",
    [
        [Package("durable-sdk", "1.7.0", "c" * 64)],
        [Package("durable-sdk", "1.7.0")],
        [],
    ],
    ids=["another wheel", "from the index", "unknown"],
)
def test_an_image_without_this_wheel_is_refused(found: list[Package]) -> None:
    says = "^the image does not hold durable-sdk 1.7.0 of SDK_SOURCE: "
    with pytest.raises(GateError, match=says):
        images.check_wheel(found, WHEEL)


@pytest.mark.engine
def test_the_published_image_need_not_hold_the_wheel_of_this_commit(
    clone: Gate, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    """Users have it; the functions under test get the wheel."""
    built = make_image(clone)
    docker_client.images.get(built["image_id"]).tag(f"{REPOSITORY}:latest")
    (tmp_path / "durable.py").write_text(
        '"""The SDK."""\n__version__ = "3.1"\n'
    )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "durable-sdk"\ndynamic = ["version", "description"]\n'
        '[tool.flit.module]\nname = "durable"\n[build-system]\n'
        'requires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
    )
    source = {"COMPAT_SDK": "source", "SDK_SOURCE": str(tmp_path)}
    published = make_image(clone, EMULATOR_IMAGE="published", **source)
    assert published["image_id"] == built["image_id"]
    error = error_of_image(clone, EMULATOR_IMAGE=built["image_id"], **source)
    assert error.startswith("the image does not hold durable-sdk 3.1 of ")


@pytest.mark.engine
def test_neither_the_users_builder_nor_platform_matters(
    clone: Gate, tmp_path: Path
) -> None:
    """A builder with a driver of its own sees no local base image (docker/buildx#2348)."""
    base = make_image(clone)["reference"]
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nCOPY Dockerfile /\n")
    users = {
        "BUILDX_CONFIG": str(tmp_path / "buildx"),
        "DOCKER_DEFAULT_PLATFORM": "linux/s390x",
    }
    create = [
        "docker",
        "buildx",
        "create",
        "--use",
        "--driver=docker-container",
    ]
    subprocess.run(create, check=True, env=os.environ | users)
    built = make_image(
        clone, EMULATOR_SOURCE=str(tmp_path), EMULATOR_PREBUILD="", **users
    )
    assert built["packages"] == {"durable-sdk": "1.7.0"}


# --- archives


@pytest.mark.parametrize("name", ["image.tar", "image.tar.gz", "image.tgz"])
def test_a_file_that_is_no_archive_of_an_image_is_named(
    tmp_path: Path, name: str
) -> None:
    # No engine is asked.
    client: Any = None
    (tmp_path / name).write_text("no archive")
    with pytest.raises(
        GateError, match=f"/{re.escape(name)} is not an archive of one image"
    ):
        images.take(client, str(tmp_path / name))


def test_an_archives_digest_is_that_of_its_content_whatever_name_it_claims(
    tmp_path: Path,
) -> None:
    claimed = f"blobs/sha256/{'0' * 64}"
    files = {
        claimed: b"{}",
        "manifest.json": json.dumps([{"Config": claimed}]).encode(),
    }
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    digest = images.digest_of(tmp_path / "image.tar")
    assert digest == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
