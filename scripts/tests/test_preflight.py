"""A machine on which no emulator could pass is an error that names the cause, not a red verdict."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker import DockerClient

from gate import engine as docker_engine
from gate import images, preflight, workspace
from gate.cli import GateError

from .conftest import REPOSITORY, Way

engine = pytest.mark.engine


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders that stand for memory and for .cache/."""
    found = tmp_path / "memory", tmp_path / "cache"
    for name, folder in zip(("MEMORY", "CACHE"), found, strict=True):
        folder.mkdir()
        monkeypatch.setattr(workspace, name, folder)
    return found


def place(client: DockerClient, jobs: int = 2) -> Path:
    """Return where the worktrees were; nothing is left of them."""
    with preflight.worktrees(client, jobs) as folder:
        assert folder.is_dir()
    assert list(folder.parent.iterdir()) == []
    assert not client.containers.list(all=True, filters={"name": workspace.CLONE})
    return folder.parent


def refusal(client: DockerClient) -> str:
    with pytest.raises(GateError) as error, preflight.worktrees(client, 2):
        pass
    return str(error.value)


@engine
def test_worktrees_are_in_memory_if_it_has_room(
    docker_client: DockerClient, places: tuple[Path, Path]
) -> None:
    memory, cache = places
    for folder in places:
        (folder / f"{workspace.CLONE}-of-a-run-that-was-killed").mkdir()
    assert place(docker_client) == memory
    assert list(cache.iterdir()) == []
    assert place(docker_client, jobs=10**9) == cache


@engine
def test_folder_that_the_engine_does_not_see(way: Way, places: tuple[Path, Path]) -> None:
    """First that in memory only, then each: the engine makes an empty one, as elsewhere."""
    (memory, cache), hidden = places, [places[0]]

    def elsewhere(container: dict[str, Any]) -> None:
        ((source, target),) = (bind.split(":", 1) for bind in container["HostConfig"]["Binds"])
        if Path(source).parent in hidden:
            container["HostConfig"]["Binds"] = [f"{cache.parent}/elsewhere:{target}"]

    way.change, client = elsewhere, DockerClient(way.address)
    assert place(client) == cache
    hidden.append(cache)
    assert refusal(client).startswith(f"the engine cannot see {cache}: ")
    assert list(memory.iterdir()) + list(cache.iterdir()) == []


def no_host(container: dict[str, Any]) -> None:
    """As of `dockerd --host-gateway-ip 192.0.2.1`, or behind a firewall."""
    container["HostConfig"]["ExtraHosts"] = ["host.docker.internal:192.0.2.1"]


def no_port(container: dict[str, Any]) -> None:
    """As of an engine on another machine."""
    container["HostConfig"]["PortBindings"] = {}


def foreign(container: dict[str, Any]) -> None:
    """As of an engine that cannot run amd64: the program is none that it knows."""
    program = Path(container["HostConfig"]["Binds"][0].partition(":")[0], "python3")
    program.write_text("of another machine\n")
    program.chmod(0o755)
    container["Entrypoint"] = [f"/worktrees/{program.name}"]


@engine
@pytest.mark.parametrize(
    ("change", "patience", "says"),
    [
        (no_host, 12, "a container cannot reach this machine by host.docker.internal ("),
        (no_port, 2, "a container's port "),
        (foreign, 2, "this engine cannot run the functions under test, x86_64: docker run "),
    ],
)
def test_container_that_cannot_do_what_the_tests_do(
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any], None],
    patience: float,
    says: str,
) -> None:
    monkeypatch.setattr(preflight, "PATIENCE", patience)
    way.change, began = change, time.monotonic()
    assert refusal(DockerClient(way.address)).startswith(says)
    assert time.monotonic() - began < 20


def test_podman_and_a_forced_finch_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in: Any = SimpleNamespace(version=lambda: {"Components": [{"Name": "Podman Engine"}]})
    with pytest.raises(GateError, match="the engine is Podman"):
        docker_engine.platform(stand_in)
    plist = tmp_path / "com.amazon.samcli.plist"
    plist.write_bytes(b"<key>DefaultContainerRuntime</key><string>finch</string>")
    monkeypatch.setattr(preflight, "FINCH", plist)
    assert refusal(stand_in).startswith(f"{plist} makes aws-sam-cli use Finch")


@engine
@pytest.mark.parametrize("answers", [0, 3, 9], ids=["there", "at last", "never"])
def test_base_image_is_pulled_only_where_it_is_missing(
    docker_client: DockerClient, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    base, pulls, name = docker_client.images.get(preflight.BASE_IMAGE), [], f"{REPOSITORY}:base"

    def pull(*arguments: str) -> None:
        pulls.append(arguments)
        if len(pulls) < answers:
            raise GateError("no answer")
        base.tag(name)

    monkeypatch.setattr(images, "pull", pull)
    monkeypatch.setattr(time, "sleep", str)
    monkeypatch.setattr(preflight, "BASE_IMAGE", name)
    if answers == 0:
        base.tag(name)
    if answers == 9:
        assert refusal(docker_client).startswith(f"{name} cannot be pulled (see above): ")
    else:
        place(docker_client)
        docker_client.images.remove(name)
    assert pulls == [(name, "--platform=linux/amd64")] * min(answers, 3)
