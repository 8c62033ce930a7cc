"""make image: where the candidate comes from, which commit it is of, and what an engine knows of it."""

import gzip
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
from docker.models.containers import ContainerCollection
from docker.types import LogConfig

from gate import settings as layers
from gate import workspace
from gate.cli import GateError
from gate.containers import engine, images
from gate.sources import emulator as sources
from gate.verdict import candidate

from .conftest import REPOSITORY, Gate, commit_all, ends, git, missing, untag

BOTH = ("linux/amd64", "linux/arm64")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "CACHE", tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(workspace, "COMPAT", tmp_path / "compat")
    monkeypatch.setattr(workspace, "EMULATOR", tmp_path / "cache/emulator")
    for name in ("FETCH_LOG", "PULL_LOG"):
        monkeypatch.setattr(workspace, name, tmp_path / "cache" / name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "packages/emulator").mkdir(parents=True)
    (folder / "packages/emulator/Dockerfile").write_text("FROM scratch\n")
    (folder / ".gitignore").write_text("dist/\n")
    commit_all(folder)
    return folder


def fetch(given: str) -> tuple[Path, str]:
    return sources.fetch(layers.load(environ={"EMULATOR_SOURCE": given}))


def test_source_is_a_folder_with_a_number_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "issue #7").mkdir()
    assert fetch(str(tmp_path / "issue #7")) == (tmp_path / "issue #7", "")


def test_source_is_a_folder(repository: Path) -> None:
    assert fetch(str(repository)) == (repository, "")
    git("remote", "add", "origin", "https://me:token@host/emulator.git", cwd=repository)
    assert fetch(str(repository)) == (repository, "https://host/emulator.git")


@pytest.mark.parametrize("fragment", ["#:packages/emulator", "#develop:packages/emulator", "#v1:packages/emulator"])
def test_source_is_a_git_url(repository: Path, fragment: str) -> None:
    git("tag", "v1", cwd=repository)
    folder, origin = fetch(f"file://{repository}{fragment}")
    assert (folder / "Dockerfile").is_file()
    assert sources.revision(folder) == git("rev-parse", "HEAD", cwd=repository)
    assert origin == f"file://{repository}"


def test_source_is_a_path_with_a_ref(repository: Path) -> None:
    folder, origin = fetch(f"{repository}#develop:packages/emulator")
    assert ((folder / "Dockerfile").is_file(), origin) == (True, "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{}/nowhere", "is not a folder and not a git URL"),
        ("emulator", "is not a folder and not a git URL"),
        ("file://{}#no-such-ref", "has no branch, tag or commit no-such-ref"),
        ("file://{}#develop:packages/nothing", "there is no folder packages/nothing at"),
        ("file://{}#develop:../..", "there is no folder ../.. at"),
        ("file://{}/nowhere", "cannot be reached"),
    ],
)
def test_source_that_is_none(repository: Path, given: str, says: str) -> None:
    with pytest.raises(GateError, match=f"EMULATOR_SOURCE: .*{re.escape(says)}"):
        fetch(given.format(repository))


def test_no_secret_of_a_setting_is_kept() -> None:
    given = {"EMULATOR_SOURCE": "https://me:s3cr3t@host/x.git", "EMULATOR_PREBUILD": "TOKEN=s3cr3t make"}
    digest = f"sha256:{'a' * 64}"
    made = images.Image(digest, digest, f"{REPOSITORY}:pr-1", "linux/amd64")
    candidate.save(made, layers.load(environ=given))
    assert "s3cr3t" not in (workspace.results("linux/amd64") / "candidate.json").read_text()
    assert candidate.load("linux/amd64", layers.load(environ=given)) == made
    with pytest.raises(GateError, match="another EMULATOR_SOURCE, EMULATOR_PREBUILD: run `make image` first"):
        candidate.load("linux/amd64", layers.load(environ={}))


# --- which commit it is of


def test_revision(repository: Path, tmp_path: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=repository)
    emulator = repository / "packages/emulator"
    assert sources.revision(emulator) == commit
    (repository / "dist").mkdir()
    (repository / "dist/x.whl").touch()
    assert sources.revision(emulator) == commit, "what git ignores is no change"
    (repository / "LICENSE").touch()
    assert sources.revision(emulator) == f"{commit}-dirty"
    assert sources.revision(emulator, tracked_only=True) == commit
    assert sources.revision(tmp_path) == ""


@pytest.mark.parametrize("name", ["LITERAL", "GLOB", "NOGLOB", "ICASE"])
def test_no_variable_of_git_hides_an_edit(repository: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    commit = git("rev-parse", "HEAD", cwd=repository)
    (repository / "packages/emulator/Dockerfile").write_text("FROM other")
    monkeypatch.setenv(f"GIT_{name}_PATHSPECS", "1")
    assert sources.revision(repository) == f"{commit}-dirty"
    assert sources.revision(repository, tracked_only=True) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "hide",
    [
        ["update-index", "--assume-unchanged", "packages/emulator/Dockerfile"],
        ["update-index", "--skip-worktree", "packages/emulator/Dockerfile"],
        ["config", "core.fsmonitor", "true"],
        ["config", "core.checkStat", "minimal"],
        ["config", "core.ignoreStat", "true"],
        ["config", "status.showUntrackedFiles", "no"],
    ],
    ids=lambda hide: hide[1],
)
@pytest.mark.parametrize("edit", ["other content", "same size and time", "deleted"])
def test_edit_that_git_was_asked_not_to_look_at_is_a_change(repository: Path, hide: list[str], edit: str) -> None:
    file = repository / "packages/emulator/Dockerfile"
    old = file.stat()
    os.utime(file, ns=(old.st_atime_ns, 10**18))
    git("status", cwd=repository)
    git(*hide, cwd=repository)
    assert not sources.revision(repository).endswith("-dirty"), "what only could hide a change is none"
    if edit == "deleted":
        file.unlink()
    else:
        file.write_text(
            "FROM scratch\n"[:: -1 if edit == "same size and time" else 1] + "x" * (edit == "other content")
        )
    if edit == "same size and time":
        os.utime(file, ns=(old.st_atime_ns, 10**18))
    for tracked_only in (False, True):
        assert sources.revision(repository / "packages", tracked_only=tracked_only).endswith("-dirty")


def test_new_file_counts_whatever_the_users_settings(repository: Path) -> None:
    git("config", "status.showUntrackedFiles", "no", cwd=repository)
    (repository / "new").touch()
    assert sources.revision(repository).endswith("-dirty")


def test_submodule_with_changes_counts_whatever_the_users_settings(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("one")
    commit_all(tmp_path / "other")
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "--quiet", "add", str(tmp_path / "other"), "packages/other", cwd=repository)
    commit = commit_all(repository)
    git("config", "submodule.packages/other.ignore", "all", cwd=repository)
    git("config", "diff.ignoreSubmodules", "all", cwd=repository)
    assert sources.revision(repository) == commit
    (repository / "packages/other/file").write_text("two")
    assert sources.revision(repository) == f"{commit}-dirty"


def test_revision_leaves_the_users_index_as_it_is(repository: Path) -> None:
    (repository / "staged").touch()
    git("add", "staged", cwd=repository)
    before = (repository / ".git/index").read_bytes()
    assert sources.revision(repository).endswith("-dirty")
    assert (repository / ".git/index").read_bytes() == before


@pytest.mark.parametrize("gate", [".", ".sam-cli-compat", "packages/emulator/[x]"])
def test_the_gates_own_settings_are_no_change_wherever_it_lies(
    repository: Path, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository / gate
    monkeypatch.setattr(workspace, "ROOT", root.resolve())
    root.mkdir(parents=True, exist_ok=True)
    (root / "file").touch()
    commit = commit_all(repository)
    (root / ".env").touch()
    for folder in (repository, repository / "packages/emulator"):
        assert sources.revision(folder) == commit
    (repository / "packages/.env").touch()
    assert sources.revision(repository) == f"{commit}-dirty", "another .env may well get into the image"


def test_folder_that_a_repository_around_it_ignores_has_no_revision(repository: Path) -> None:
    (repository / "dist").mkdir()
    assert sources.revision(repository / "dist") == ""


def test_version_is_the_wheels(tmp_path: Path) -> None:
    assert sources.wheel_version(tmp_path) == ""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/aws_emulator-1.2.1-py3-none-any.whl").touch()
    assert sources.wheel_version(tmp_path) == "1.2.1"
    (tmp_path / "dist/aws_emulator-1.2.0-py3-none-any.whl").touch()
    with pytest.raises(GateError, match=r"more than one wheel .*1\.2\.0.*1\.2\.1"):
        sources.wheel_version(tmp_path)


@pytest.mark.parametrize("name", ["nodash.whl", "a-b.whl", "a-1-2-3-4-5-6.whl"])
def test_wheel_without_a_wheels_name_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / name).touch()
    with pytest.raises(GateError, match=f"dist/{re.escape(name)} does not have the name of a wheel") as caught:
        sources.wheel_version(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


# --- what the build gets


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
    lies_in(repository / gate, monkeypatch)
    (repository / "Dockerfile").write_text("FROM scratch\n")
    (repository / ".dockerignore").write_text("not this one")
    (repository / own).write_text("**\n!tools")
    assert sources._without_the_gate(repository / "packages", tmp_path) == []
    assert sources._without_the_gate(repository, tmp_path) == [f"--file={tmp_path}/Dockerfile"]
    assert (tmp_path / "Dockerfile").read_text() == "FROM scratch\n"
    assert (tmp_path / "Dockerfile.dockerignore").read_text() == f"**\n!tools\n{kept}"


def lies_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in (("ROOT", root), ("CACHE", root / ".cache"), ("COMPAT", root / ".compat")):
        monkeypatch.setattr(workspace, name, path)


def test_env_that_is_committed_is_of_the_image(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lies_in(repository, monkeypatch)
    (repository / "Dockerfile").touch()
    (repository / ".env").write_text("PORT=1\n")
    sources._without_the_gate(repository, tmp_path)
    assert "/.env" in (tmp_path / "Dockerfile.dockerignore").read_text().splitlines()
    commit = commit_all(repository)
    sources._without_the_gate(repository, tmp_path)
    assert "/.env" not in (tmp_path / "Dockerfile.dockerignore").read_text().splitlines()
    (repository / ".env").write_text("PORT=2\n")
    assert sources.revision(repository) == f"{commit}-dirty"


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


@pytest.mark.engine
def test_prebuild_that_leaves_a_process_does_not_hold_the_gate(
    docker_client: docker.DockerClient, tmp_path: Path, template: Gate
) -> None:
    seconds = f"985.{os.getpid()}"
    done = template.script(
        "image.py", EMULATOR_SOURCE=str(tmp_path), EMULATOR_PREBUILD=f"sleep {seconds} & echo started"
    )
    assert done.returncode == 2
    assert "  | started\n" in done.stdout
    assert done.stdout.splitlines()[-1] == f"error: EMULATOR_SOURCE: {tmp_path} has no Dockerfile"
    ends(f"sleep {seconds}")


# --- the engine


@pytest.mark.parametrize("target", ["image", "compat"])
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
        r"error: .*(no Docker engine answers: start it, set DOCKER_HOST|docker was not found)", done.stdout
    )
    assert "Traceback" not in done.stdout
    assert [verdict.exists() for verdict in verdicts].count(True) == 1, "this machine's earlier verdict is gone"


def test_engine_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise docker.errors.DockerException("Error while fetching server API version: PermissionError(13, 'denied')")

    monkeypatch.setattr(engine, "environment", lambda: {"DOCKER_HOST": "unix:///var/run/docker.sock"})
    monkeypatch.setattr(docker, "DockerClient", refuse)
    with pytest.raises(GateError, match=r"docker\.sock: permission denied: join the group `docker`"):
        engine.connect()


@pytest.fixture(scope="module")
def pip(docker_client: docker.DockerClient, emulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image whose pip prints the file that its second argument names: FORMAT of `pip list --format=json`."""
    folder = tmp_path_factory.mktemp("pip")
    shutil.copy2(emulator / "busybox", folder)
    (folder / "pip").write_text("#!/bin/busybox sh\n. /says/$SAYS\n")
    (folder / "pip").chmod(0o755)
    (folder / "says").mkdir()
    for number, (says, _) in enumerate(SAYS):
        (folder / "says" / str(number)).write_text(f"{says}\n")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY busybox pip /bin/\nCOPY says /says\n")
    reference = f"{REPOSITORY}:pip"
    build(folder, reference)
    yield reference
    docker_client.images.remove(reference)


def build(folder: Path, reference: str, *options: str) -> None:
    if subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode:
        missing("no buildx: install its docker plugin")
    command = ["docker", "buildx", "build", "--load", "--quiet", "--tag", reference, *options, str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"})


SAYS: list[tuple[str, dict[str, str]]] = [
    ('echo warning >&2; echo \'[{"name": "durable-x", "version": "1.0"}]\'', {"durable-x": "1.0"}),
    ("echo Killed", {}),
    ("/bin/busybox sleep 3600", {}),
    ('echo \'{"error": "x"}\'', {}),
    ("echo '[1]'", {}),
    ("echo '[{\"x\": 1}]'", {}),
    ('echo \'[{"name": null, "version": "1"}]\'', {}),
    ('echo \'[{"name": "durable-x"}]\'', {}),
    ("echo null", {}),
    ("echo 5", {}),
    ("/bin/busybox printf '[%.0s' $(/bin/busybox seq 9999)", {}),
    ("/bin/busybox printf '\\377\\376'", {}),
    ("exit 1", {}),
]


@pytest.mark.engine
@pytest.mark.parametrize("number", range(len(SAYS)), ids=[says for says, _ in SAYS])
def test_packages_are_those_that_pip_lists(
    docker_client: docker.DockerClient, pip: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An engine may keep logs otherwise than the SDK expects, a pip may never end, and print anything."""
    create = ContainerCollection.create
    driver = ("json-file", "local")[number % 2]

    def keeps_logs_its_own_way(self: ContainerCollection, *arguments: str, **options: Any) -> object:
        options |= {"log_config": LogConfig(type=driver), "environment": {"SAYS": str(number)}}
        return create(self, *arguments, **options)

    monkeypatch.setattr(ContainerCollection, "create", keeps_logs_its_own_way)
    monkeypatch.setattr(images, "LISTING", 2)
    name = f"{workspace.clone_name()}-packages"
    assert images.packages(docker_client, pip) == SAYS[number][1]
    assert not docker_client.containers.list(all=True, filters={"name": name})


# --- one image, in any engine


@pytest.fixture(scope="module")
def made(docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The references of an image for each platform, labelled."""
    folder, found = tmp_path_factory.mktemp("made"), {}
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY content /\nCMD ["/content"]\n')
    for platform in BOTH:
        (folder / "content").write_text(platform)
        found[platform] = f"{REPOSITORY}-identity:{platform.replace('/', '-')}"
        label = f"--label={images.LABEL}.version=1.2.1"
        build(folder, found[platform], f"--platform={platform}", label, f"--label={images.LABEL}.revision=abc")
    yield found
    untag(docker_client, f"{REPOSITORY}-identity")


def config_in(tar: Path) -> tuple[str, str]:
    """Return the hash and the architecture of the configuration in an archive, by its content."""
    with tarfile.open(tar) as archive:
        (image,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        content = archive.extractfile(image["Config"]).read()  # type: ignore[union-attr]
    done = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True)
    return f"sha256:{done.stdout.split()[0].decode()}", json.loads(content)["architecture"]


@pytest.mark.engine
@pytest.mark.containerd
@pytest.mark.parametrize("platform", BOTH)
def test_image_is_described_by_what_is_the_same_in_every_engine(
    docker_client: docker.DockerClient, made: dict[str, str], tmp_path: Path, platform: str
) -> None:
    found = images.describe(docker_client, made[platform])
    subprocess.run(["docker", "save", "--output", tmp_path / "x.tar", made[platform]], check=True)
    assert config_in(tmp_path / "x.tar") == (found.config_digest, platform.partition("/")[2])
    assert images.digest_of(tmp_path / "x.tar") == found.config_digest
    assert (found.platform, found.version, found.revision) == (platform, "1.2.1", "abc")
    assert images.describe(docker_client, found.image_id).config_digest == found.config_digest
    status = docker_client.info()["DriverStatus"]
    classic = ["driver-type", "io.containerd.snapshotter.v1"] not in status
    assert (found.image_id == found.config_digest) == classic


@pytest.mark.engine
@pytest.mark.containerd
def test_second_archive_moves_the_tag_and_the_first_image_stays(
    docker_client: docker.DockerClient, made: dict[str, str], tmp_path: Path
) -> None:
    """As the platforms' archives do in a publishing job: both hold the candidate's one name."""
    shared, found = f"{REPOSITORY}-identity:pr-shared", {}
    for platform in BOTH:
        docker_client.images.get(made[platform]).tag(*shared.split(":"))
        found[platform] = images.describe(docker_client, shared)
        subprocess.run(["docker", "save", "--output", tmp_path / f"{platform[6:]}.tar", shared], check=True)
    docker_client.images.remove(shared)
    for platform in BOTH:
        assert images.load(tmp_path / f"{platform[6:]}.tar") == shared
        assert images.describe(docker_client, shared).config_digest == found[platform].config_digest
    for platform in BOTH:
        first = images.describe(docker_client, found[platform].image_id)
        assert (first.platform, first.config_digest) == (platform, found[platform].config_digest)
    docker_client.images.remove(shared)


@pytest.mark.engine
@pytest.mark.containerd
def test_saved_image_is_the_described_one(
    docker_client: docker.DockerClient, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = images.describe(docker_client, made["linux/arm64"])
    images.save(tested)
    tar = workspace.results("linux/arm64") / "image.tar"
    assert images.digest_of(tar) == tested.config_digest
    tar.unlink()
    other = images.Image(tested.image_id, f"sha256:{'0' * 64}", tested.reference, tested.platform)
    with pytest.raises(GateError, match=f"was moved from sha256:0+ to {tested.config_digest} meanwhile"):
        images.save(other)
    assert [path.name for path in tar.parent.iterdir()] == ["logs"]


@pytest.mark.engine
@pytest.mark.containerd
def test_image_is_made_of_an_archive(gate: Gate, docker_client: docker.DockerClient, tmp_path: Path) -> None:
    """`build` saves, `gate` loads: one candidate, known by one digest."""
    output = tmp_path / "output"
    done = gate.make("image", COMPAT_SAVE_IMAGE="1", GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stdout
    built = json.loads((gate.findings / "candidate.json").read_text())["candidate"]
    assert f"={built['config_digest']}\n" in output.read_text()
    tar = shutil.copy(gate.findings / "image.tar", tmp_path / "x.tar")
    docker_client.images.remove(built["reference"], force=True)
    done = gate.make("image", EMULATOR_IMAGE=str(tar))
    assert done.returncode == 0, done.stdout
    loaded = json.loads((gate.findings / "candidate.json").read_text())["candidate"]
    for what in ("config_digest", "platform", "version", "revision"):
        assert loaded[what] == built[what]
    (gate.findings / "image.tar").unlink()


def archive(folder: Path, **files: object) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, value in files.items():
            data = json.dumps(value).encode()
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


ENTRY = {"Config": f"blobs/sha256/{'a' * 64}", "RepoTags": ["x:1"], "Layers": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"no tar at all", ""),
        (gzip.compress(b"no tar at all"), ""),
        (gzip.compress(b"no tar at all")[:15], ""),
        (archive(Path(), index_json=[]), "no manifest.json"),
        (archive(Path(), manifest_json=[]), "it has 0"),
        (archive(Path(), manifest_json=[ENTRY, ENTRY]), "it has 2"),
        (archive(Path(), manifest_json=[{}]), ""),
        (archive(Path(), manifest_json=[{"Config": "x"}]), ""),
        (archive(Path(), manifest_json={"Config": "x"}), ""),
        (archive(Path(), manifest_json=None), ""),
        (archive(Path(), manifest_json=[ENTRY])[:600], ""),
    ],
)
def test_archive_that_is_none_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(GateError, match=r"x\.tar: not an archive of one image, as `docker save` makes it") as caught:
        images.load(tmp_path / "x.tar")
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_archive_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(gzip.compress(archive(tmp_path, manifest_json=[ENTRY])))
    assert images.digest_of(tmp_path / "x.tar") == f"sha256:{'a' * 64}"


@pytest.mark.engine
@pytest.mark.parametrize("content", [b"no tar at all", archive(Path(), manifest_json=[ENTRY]), None])
def test_make_image_of_an_archive_that_is_none(
    docker_client: docker.DockerClient, template: Gate, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "x.tar").write_bytes(content)
    done = template.script("image.py", EMULATOR_IMAGE=str(tmp_path / "x.tar"))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith(f"error: {tmp_path}/x.tar")
    assert done.stdout.count("error: ") == 1
