"""What of the caller's environment reaches the suite, and what each shard has of its own."""

import os
import socket
from pathlib import Path

import pytest

from gate import environment

STAYS_OUT = {
    "HOME": "/home/me",
    "PYTEST_ADDOPTS": "-x",
    "PYTHONPATH": "/mine",
    "AWS_ACCESS_KEY_ID": "secret",
    "SAM_CLI_POLL_DELAY": "9",
    "DURABLE_EXECUTIONS_EXTERNAL_EMULATOR_PORT": "80",
    "GITHUB_TOKEN": "secret",
    "CI": "true",
    "DOCKER_CONFIG": "/docker",
    "UV_PUBLISH_TOKEN": "secret",
}
for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"):
    STAYS_OUT[name] = "moves an installation"
REACHES = {
    "LANG": "C.UTF-8",
    "https_proxy": "http://proxy",
    "HTTP_PROXY": "http://proxy",
    "PIP_INDEX_URL": "http://index",
    "PIP_CONFIG_FILE": "/etc/pip.conf",
    "UV_INDEX_URL": "http://index",
    "NETRC": "/etc/netrc",
    "SSL_CERT_FILE": "/certs",
    "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "90",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_only_where_tools_and_networks_are_reaches_the_suite() -> None:
    found = environment.inherited(STAYS_OUT | REACHES)
    assert {name: found[name] for name in found if name.lower() != "no_proxy"} == REACHES


def test_what_the_suite_is_given_unless_the_caller_says_otherwise(home: Path) -> None:
    """Pip's settings and logins are in the caller's HOME, which the suite does not have."""
    hosts = "localhost,127.0.0.1"
    given = {"SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "60", "no_proxy": hosts, "NO_PROXY": hosts}
    assert environment.inherited({}) == given
    for place in (".netrc", ".pip/pip.conf", ".config/pip/pip.conf"):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).touch()
        name = "NETRC" if place == ".netrc" else "PIP_CONFIG_FILE"
        given[name] = f"{home}/{place}"
        assert environment.inherited({}) == given
    assert environment.inherited(REACHES)["PIP_CONFIG_FILE"] == "/etc/pip.conf"


def test_no_proxy_is_asked_for_emulators() -> None:
    for environ, around in (({"NO_PROXY": "a"}, "a"), ({"no_proxy": "b", "NO_PROXY": "a"}, "b")):
        found = environment.inherited(environ)
        assert found["no_proxy"] == found["NO_PROXY"] == f"{around},localhost,127.0.0.1"


def test_each_shard_has_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STAYS_OUT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(home))
    shards = []
    for name in ("one", "two"):
        (home / name).mkdir()
        python, worktree = Path("/venv/bin/python"), home / name / "src"
        shards.append(environment.of_shard(python, worktree, f"run-{name}", "pr-1"))
    for name in ("HOME", "TMPDIR", "SAM_COMPAT_RECORDS", "SAM_COMPAT_WORKTREE"):
        assert shards[0][name] != shards[1][name], name
    for name in ("CONTAINER_NAME", "EMULATOR_PORT"):
        assert len({shard[f"DURABLE_EXECUTIONS_{name}"] for shard in shards}) == 2, name
    found = shards[0]
    assert found["FORCE_RUN_DOCKER_TEST"] == found["SAM_SKIP_PULL_IMAGE"] == "1"
    assert found["PATH"] == os.pathsep.join(["/venv/bin", os.environ["PATH"]])
    assert list(Path(found["HOME"]).iterdir()) == []
    assert (STAYS_OUT.keys() & found.keys()) == {"HOME", "PYTHONPATH"}
    assert not STAYS_OUT.items() & found.items()


def test_port_is_kept_from_other_programs_until_its_emulator_listens() -> None:
    port = environment.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    socket.create_server(("127.0.0.1", port)).close()  # with SO_REUSEADDR, as Docker's
