"""What of the caller's environment reaches the suite, and what the suite is given."""

import os
import socket
from pathlib import Path

import pytest

from gate.suite import environment

CALLERS = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "PYTEST_ADDOPTS": "-x",
    "PYTHONPATH": "/mine",
    "AWS_ACCESS_KEY_ID": "secret",
    "AWS_PROFILE": "production",
    "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "1",
    "DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT": "80",
    "GITHUB_TOKEN": "secret",
    "BY_CANARY": "1",
    "CI": "true",
    "DOCKER_CONTEXT": "mine",
    "DOCKER_AUTH_CONFIG": "secret",
    "DOCKER_HUB_PASSWORD": "secret",
    "UV_PUBLISH_TOKEN": "secret",
}
WANTED = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C",
    "TZ": "UTC",
    "https_proxy": "http://proxy",
    "HTTP_PROXY": "http://proxy",
    "PIP_INDEX_URL": "http://index",
    "UV_INDEX_URL": "http://index",
    "DOCKER_CONFIG": "/docker",
    "SSL_CERT_FILE": "/certs",
}


def test_only_where_tools_and_networks_are_is_inherited() -> None:
    found = environment.inherited(CALLERS | WANTED)
    assert {name: value for name, value in found.items() if name.lower() != "no_proxy"} == WANTED


@pytest.mark.parametrize(
    ("environ", "hosts"),
    [
        ({}, "localhost,127.0.0.1"),
        ({"NO_PROXY": "a"}, "a,localhost,127.0.0.1"),
        ({"no_proxy": "b", "NO_PROXY": "a"}, "b,localhost,127.0.0.1"),
    ],
)
def test_no_proxy_is_asked_for_emulators(environ: dict[str, str], hosts: str) -> None:
    found = environment.inherited(environ)
    assert (found["no_proxy"], found["NO_PROXY"]) == (hosts, hosts)


def test_each_shard_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in CALLERS.items():
        monkeypatch.setenv(name, value)
    shards = [
        environment.of_shard(
            Path("/venv/bin/python"), Path(f"/work{n}"), tmp_path / f"home{n}", f"run-a-{n}", tmp_path / "report"
        )
        for n in (1, 2)
    ]
    for name in ("HOME", "TMPDIR", "DURABLE_EXECUTIONS_CONTAINER_NAME", "DURABLE_EXECUTIONS_EMULATOR_PORT"):
        assert shards[0][name] != shards[1][name], name
    for found in shards:
        assert found["FORCE_RUN_DOCKER_TEST"] == "1", "else every test is skipped where CI is set"
        assert found["PATH"].split(os.pathsep)[:2] == ["/venv/bin", "/bin"]
        assert Path(found["HOME"]).parent == tmp_path
        assert "secret" not in found.values()
        assert "CI" not in found
    assert {found["DURABLE_EXECUTIONS_CONTAINER_NAME"] for found in shards} == {
        "sam-compat-run-a-1",
        "sam-compat-run-a-2",
    }


def test_a_port_stays_this_runs_until_its_emulator_listens_there() -> None:
    """Docker sets SO_REUSEADDR, as here."""
    port = environment.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as emulator:
        emulator.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        emulator.bind(("127.0.0.1", port))
        emulator.listen()
