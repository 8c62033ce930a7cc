"""A machine on which no emulator could pass is an error that names the cause, not a red verdict."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import docker
import pytest
from docker.errors import APIError

from gate import engine, images, preflight, workspace
from gate.programs import GateError

from .support.emulator import REPOSITORY
from .support.engine_proxy import EngineProxy


class Places(NamedTuple):
    """Where worktrees can be."""

    memory: Path
    cache: Path


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Folders that stand for /dev/shm and .cache/."""
    places = Places(tmp_path / "memory", tmp_path / "cache")
    for folder in places:
        folder.mkdir()
    monkeypatch.setattr(workspace, "MEMORY", places.memory)
    monkeypatch.setattr(workspace, "CACHE", places.cache)
    return places


def place_of_worktrees(client: docker.DockerClient, jobs: int = 2) -> Path:
    """Return where the worktrees were; nothing may be left of them."""
    with preflight.checked_folder(client, jobs) as folder:
        assert folder.is_dir()
    assert list(folder.parent.iterdir()) == []
    assert not client.containers.list(
        all=True, filters={"name": workspace.CLONE}
    )
    return folder.parent


def refusal(client: docker.DockerClient) -> str:
    """Return the error that the check of the machine ends with."""
    with pytest.raises(GateError) as error, preflight.checked_folder(client, 2):
        pass
    return str(error.value)


# --- where the worktrees are


@pytest.mark.engine
@pytest.mark.parametrize(
    ("jobs", "place"),
    [(2, "memory"), (10**9, "cache")],
    ids=["room", "no room"],
)
def test_worktrees_are_in_memory_if_it_has_room(
    docker_client: docker.DockerClient, places: Places, jobs: int, place: str
) -> None:
    assert place_of_worktrees(docker_client, jobs) == getattr(places, place)


@pytest.mark.engine
def test_worktrees_are_in_the_clone_where_no_folder_is_in_memory(
    docker_client: docker.DockerClient, places: Places
) -> None:
    """As on a Mac."""
    places.memory.rmdir()
    assert place_of_worktrees(docker_client) == places.cache


@pytest.mark.engine
def test_what_a_killed_run_left_is_removed_from_both_places(
    docker_client: docker.DockerClient, places: Places
) -> None:
    docker_client.containers.create(
        preflight.BASE_IMAGE, name=f"{workspace.CLONE}-preflight"
    )
    for folder in places:
        (folder / f"{workspace.CLONE}-of-a-run-that-was-killed").mkdir()
    place_of_worktrees(docker_client)
    assert [*places.memory.iterdir(), *places.cache.iterdir()] == []


@pytest.mark.engine
def test_a_folder_that_cannot_be_removed_is_named_and_is_no_error(
    docker_client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A container's files can belong to root."""
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **options: None)
    with preflight.checked_folder(docker_client, 2) as folder:
        pass
    says = f"{folder} cannot be removed: remove it as root\n"
    assert capsys.readouterr().out == says


@pytest.mark.engine
def test_worktrees_are_where_the_engine_sees_them(
    engine_proxy: EngineProxy, places: Places, tmp_path: Path
) -> None:
    engine_proxy.change = hides(tmp_path / "elsewhere", places.memory)
    assert (
        place_of_worktrees(docker.DockerClient(engine_proxy.address))
        == places.cache
    )


@pytest.mark.engine
def test_an_engine_that_sees_no_folder_is_refused(
    engine_proxy: EngineProxy, places: Places, tmp_path: Path
) -> None:
    engine_proxy.change = hides(tmp_path / "elsewhere", *places)
    error = refusal(docker.DockerClient(engine_proxy.address))
    reason = "[Errno 2] No such file or directory: '/worktrees/probe'"
    assert error.startswith(
        f"the engine cannot see {places.cache} ({reason}): "
    )
    assert [*places.memory.iterdir(), *places.cache.iterdir()] == []


@pytest.mark.engine
def test_worktrees_are_where_containers_can_write(
    engine_proxy: EngineProxy, places: Places
) -> None:
    engine_proxy.change = write_protects(places.memory)
    assert (
        place_of_worktrees(docker.DockerClient(engine_proxy.address))
        == places.cache
    )


@pytest.mark.engine
def test_an_engine_that_can_write_no_folder_is_refused(
    engine_proxy: EngineProxy, places: Places
) -> None:
    engine_proxy.change = write_protects(*places)
    error = refusal(docker.DockerClient(engine_proxy.address))
    cannot_write = f"the engine can read but not write {places.cache} ("
    assert error.startswith(cannot_write)
    assert "Read-only file system" in error


def hides(elsewhere: Path, *places: Path) -> Callable[[dict[str, Any]], None]:
    """Make the engine see another folder where what it shall mount is in one of the places.

    An engine on another machine does that: it makes an empty one.
    """
    return remounts(
        lambda _, target, mode: f"{elsewhere}:{target}:{mode}", *places
    )


def write_protects(*places: Path) -> Callable[[dict[str, Any]], None]:
    """Let containers only read what they mount of the places, as colima and Rancher Desktop do."""
    return remounts(lambda source, target, _: f"{source}:{target}:ro", *places)


def remounts(
    bind_of: Callable[..., str], *places: Path
) -> Callable[[dict[str, Any]], None]:
    """Let the engine mount something else than what a container asks for in one of the places."""

    def change(container: dict[str, Any]) -> None:
        (bind,) = container["HostConfig"]["Binds"]
        source, target, mode = bind.split(":")
        if Path(source).parent in places:
            container["HostConfig"]["Binds"] = [bind_of(source, target, mode)]

    return change


def test_a_folder_that_docker_desktop_does_not_share_is_named(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "Mounts denied: the path is not shared from the host"

    def denied(*_: Any) -> str:
        raise APIError("500 Server Error", explanation=says)

    monkeypatch.setattr(preflight, "_probe", denied)
    monkeypatch.setattr(engine, "image_id", lambda *_: "sha256:base")
    # No engine is asked.
    client: Any = None
    error = refusal(client)
    assert error.startswith(f"the engine cannot see {places.cache} ({says}): ")


# --- what a container must be able to do


def no_host(container: dict[str, Any]) -> None:
    """As of `dockerd --host-gateway-ip 192.0.2.1`, or behind a firewall."""
    container["HostConfig"]["ExtraHosts"] = ["host.docker.internal:192.0.2.1"]


def no_port(container: dict[str, Any]) -> None:
    """As of an engine on another machine."""
    container["HostConfig"]["PortBindings"] = {}


def foreign(container: dict[str, Any]) -> None:
    """As of an engine that cannot run amd64: the program is none that it knows."""
    program = Path(
        container["HostConfig"]["Binds"][0].partition(":")[0], "python3"
    )
    program.write_text("of another machine\n")
    program.chmod(0o755)
    container["Entrypoint"] = [f"/worktrees/{program.name}"]


def full(container: dict[str, Any]) -> None:
    """As of an engine whose disk has less room than is needed: here that much is needed."""
    container["Cmd"][-1] = "9" * 18


@pytest.mark.engine
@pytest.mark.parametrize(
    ("change", "patience", "error"),
    [
        (
            no_host,
            12,
            "a container cannot reach this machine by host.docker.internal (",
        ),
        (no_port, 2, "a container's port "),
        (
            foreign,
            2,
            "this engine cannot run the functions under test, x86_64: docker run ",
        ),
        (full, 12, "the engine's own disk has "),
    ],
    ids=["no host", "no port", "foreign", "full"],
)
def test_an_engine_whose_containers_cannot_do_what_the_tests_do_is_refused(
    engine_proxy: EngineProxy,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any], None],
    patience: float,
    error: str,
) -> None:
    monkeypatch.setattr(preflight, "PROBE_TIMEOUT", patience)
    engine_proxy.change = change
    began = time.monotonic()
    assert refusal(docker.DockerClient(engine_proxy.address)).startswith(error)
    assert time.monotonic() - began < 20


def test_podman_is_refused_by_name() -> None:
    podman: Any = SimpleNamespace(
        version=lambda: {"Components": [{"Name": "Podman Engine"}]}
    )
    with pytest.raises(GateError, match="the engine is Podman"):
        engine.platform(podman)


@pytest.fixture
def preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Mac's preferences for aws-sam-cli, which force Finch on it."""
    file = tmp_path / "com.amazon.samcli.plist"
    file.write_bytes(
        b"<key>DefaultContainerRuntime</key><string>finch</string>"
    )
    monkeypatch.setattr(preflight, "FINCH_PREFERENCES", file)
    return file


def test_a_finch_that_is_forced_on_aws_sam_cli_is_refused_by_name(
    preferences: Path,
) -> None:
    # No engine is asked.
    client: Any = None
    assert refusal(client).startswith(
        f"{preferences} makes aws-sam-cli use Finch"
    )


def test_a_mac_on_which_aws_sam_cli_shall_use_docker_is_not_refused(
    preferences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferences.write_bytes(
        preferences.read_bytes().replace(b"finch", b"docker")
    )

    def asked(*_: Any) -> str:
        raise GateError("the engine was asked")

    monkeypatch.setattr(engine, "image_id", asked)
    client: Any = None
    assert refusal(client) == "the engine was asked"


# --- the functions' base image


class BaseImage:
    """A base image of the functions that is missing until the registry has answered."""

    name = f"{REPOSITORY}:base"

    def __init__(self, client: docker.DockerClient) -> None:
        self.image = client.images.get(preflight.BASE_IMAGE)
        self.pulls: list[list[str]] = []
        # The number of the pull that the registry answers.
        self.answers_at = 1

    def appear(self) -> None:
        self.image.tag(self.name)

    def run(self, command: list[str], *, failure: str) -> None:
        """Answer `docker pull`."""
        self.pulls.append(command)
        if len(self.pulls) < self.answers_at:
            raise GateError(failure)
        self.appear()


@pytest.fixture
def base_image(
    docker_client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BaseImage]:
    base_image = BaseImage(docker_client)
    monkeypatch.setattr(images, "stream", base_image.run)
    monkeypatch.setattr(images, "PULL_INTERVAL", 0.0)
    monkeypatch.setattr(preflight, "BASE_IMAGE", base_image.name)
    yield base_image
    if engine.image_id(docker_client, base_image.name):
        docker_client.images.remove(base_image.name)


PULL = [
    "docker",
    "pull",
    "--quiet",
    "--platform=linux/amd64",
    BaseImage.name,
]


@pytest.mark.engine
def test_a_base_image_that_is_there_is_not_pulled(
    docker_client: docker.DockerClient, base_image: BaseImage
) -> None:
    base_image.appear()
    place_of_worktrees(docker_client)
    assert base_image.pulls == []


@pytest.mark.engine
def test_a_missing_base_image_is_pulled_again_until_the_registry_answers(
    docker_client: docker.DockerClient, base_image: BaseImage
) -> None:
    base_image.answers_at = 3
    place_of_worktrees(docker_client)
    assert base_image.pulls == [PULL] * 3


@pytest.mark.engine
def test_a_base_image_that_cannot_be_pulled_is_named(
    docker_client: docker.DockerClient, base_image: BaseImage
) -> None:
    base_image.answers_at = 9
    error = refusal(docker_client)
    gone = f"{BaseImage.name} is not here and cannot be pulled: check the "
    assert error.startswith(gone)
    assert base_image.pulls == [PULL] * 3
