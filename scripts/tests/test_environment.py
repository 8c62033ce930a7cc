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
REACHES = {
    "LANG": "C.UTF-8",
    "https_proxy": "http://proxy",
    "HTTP_PROXY": "http://proxy",
    "PIP_INDEX_URL": "http://index",
    "PIP_CONFIG_FILE": "/etc/pip.conf",
    "UV_INDEX_URL": "http://index",
    "NETRC": "/etc/netrc",
    "SSL_CERT_FILE": "/certs",
    "LD_LIBRARY_PATH": "/opt/python/lib",
    "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "90",
}
LOOPBACK = "localhost,127.0.0.1"


# --- what the suite inherits


@pytest.mark.parametrize("name", STAYS_OUT)
def test_what_would_steer_the_suite_stays_out(name: str) -> None:
    assert name not in environment.inherited({name: STAYS_OUT[name]})


@pytest.mark.parametrize("name", REACHES)
def test_where_tools_and_networks_are_reaches_the_suite(name: str) -> None:
    assert environment.inherited({name: REACHES[name]})[name] == REACHES[name]


def test_an_empty_environment_gives_a_timeout_and_no_proxy_only() -> None:
    assert environment.inherited({}) == {
        "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "60",
        "no_proxy": LOOPBACK,
        "NO_PROXY": LOOPBACK,
    }


@pytest.mark.parametrize(
    ("places", "name"),
    [
        ([".netrc"], "NETRC"),
        ([".pip/pip.conf"], "PIP_CONFIG_FILE"),
        ([".pip/pip.conf", ".config/pip/pip.conf"], "PIP_CONFIG_FILE"),
    ],
    ids=[
        "logins",
        "pip's settings",
        "pip's settings in both places: the newer one",
    ],
)
def test_the_suite_is_told_of_files_in_the_callers_home(
    tmp_path: Path, places: list[str], name: str
) -> None:
    """It has a HOME of its own, which is empty."""
    write(*(tmp_path / place for place in places))
    in_home = {"HOME": str(tmp_path)}
    assert environment.inherited(in_home)[name] == f"{tmp_path}/{places[-1]}"
    assert environment.inherited(REACHES | in_home)[name] == REACHES[name], (
        "the caller says otherwise"
    )


def test_pips_settings_are_found_where_xdg_config_home_says(
    tmp_path: Path,
) -> None:
    write(
        tmp_path / ".config/pip/pip.conf", tmp_path / "elsewhere/pip/pip.conf"
    )
    found = environment.inherited(
        {"HOME": str(tmp_path), "XDG_CONFIG_HOME": f"{tmp_path}/elsewhere"}
    )
    assert found["PIP_CONFIG_FILE"] == f"{tmp_path}/elsewhere/pip/pip.conf"


def test_without_a_home_no_other_folder_is_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / ".pip/pip.conf")
    monkeypatch.chdir(tmp_path)
    assert "PIP_CONFIG_FILE" not in environment.inherited({"HOME": ""})
    assert "PIP_CONFIG_FILE" not in environment.inherited({})


def write(*files: Path) -> None:
    """Write empty files."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize(
    ("environ", "exceptions"),
    [({"NO_PROXY": "a"}, "a"), ({"no_proxy": "b", "NO_PROXY": "a"}, "b")],
    ids=["NO_PROXY", "no_proxy wins"],
)
def test_no_proxy_is_asked_for_emulators(
    environ: dict[str, str], exceptions: str
) -> None:
    inherited = environment.inherited(environ)
    assert (
        inherited["no_proxy"]
        == inherited["NO_PROXY"]
        == f"{exceptions},{LOOPBACK}"
    )


# --- what a shard has of its own


def shard(folder: Path, name: str) -> dict[str, str]:
    """Return the environment of a shard."""
    (folder / name).mkdir()
    worktree = folder / name / "src"
    return environment.prepare_shard(
        Path("/venv/bin/python"), worktree, f"run-{name}", "pr-1"
    )


@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "TMPDIR",
        "SAM_COMPAT_RECORDS",
        "SAM_COMPAT_WORKTREE",
        "DURABLE_EXECUTIONS_CONTAINER_NAME",
        "DURABLE_EXECUTIONS_EMULATOR_PORT",
    ],
)
def test_each_shard_has_its_own(tmp_path: Path, name: str) -> None:
    assert shard(tmp_path, "one")[name] != shard(tmp_path, "two")[name]


def test_a_shard_has_nothing_that_would_steer_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in STAYS_OUT.keys() - {"HOME"}:
        monkeypatch.setenv(name, STAYS_OUT[name])
    environ = shard(tmp_path, "one")
    assert STAYS_OUT.keys() & environ.keys() == {"HOME", "PYTHONPATH"}
    assert environ["PYTHONPATH"] != STAYS_OUT["PYTHONPATH"]
    assert list(Path(environ["HOME"]).iterdir()) == []
    assert environ["PATH"] == os.pathsep.join(["/venv/bin", os.environ["PATH"]])
    assert environ["FORCE_RUN_DOCKER_TEST"] == "1"
    assert environ["SAM_SKIP_PULL_IMAGE"] == "1"


def test_a_port_is_kept_from_other_programs_until_its_emulator_listens() -> (
    None
):
    port = environment.reserve_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    # With SO_REUSEADDR, as Docker's.
    socket.create_server(("127.0.0.1", port)).close()
