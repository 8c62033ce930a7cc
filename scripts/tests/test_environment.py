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


def test_the_suite_gets_the_logins_in_the_callers_home(
    tmp_path: Path,
) -> None:
    """It has a HOME of its own, which is empty."""
    (tmp_path / ".netrc").touch()
    in_home = {"HOME": str(tmp_path)}
    assert environment.inherited(in_home)["NETRC"] == f"{tmp_path}/.netrc"
    both = environment.inherited(REACHES | in_home)
    assert both["NETRC"] == REACHES["NETRC"], "the caller says otherwise"


def test_without_a_home_no_other_folder_is_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").touch()
    monkeypatch.chdir(tmp_path)
    assert "NETRC" not in environment.inherited({"HOME": ""})
    assert "NETRC" not in environment.inherited({})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's home, without a variable of pip."""
    for name in os.environ:
        if name.startswith(("PIP_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("folder", [".pip", ".config/pip", "elsewhere/pip"])
def test_what_pip_reads_in_the_callers_home_reaches_the_suite(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Its `~` is the caller's home, and what moves pip's installations stays out."""
    if folder.startswith("elsewhere"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    (home / folder).mkdir(parents=True)
    (home / folder / "pip.conf").write_text(
        "[global]\ncert = ~/ca.pem\ntarget = x\nindex-url = http://a/simple\n"
        "[download]\nindex-url = http://b/simple\n"
        "extra-index-url =\n  http://c/simple\n  http://d/simple\n"
    )
    variables = environment.pip_variables()
    assert variables["PIP_CERT"] == f"{home}/ca.pem"
    assert variables["PIP_INDEX_URL"] == "http://b/simple"
    both = "http://c/simple http://d/simple"
    assert variables["PIP_EXTRA_INDEX_URL"] == both
    assert "PIP_TARGET" not in variables


def test_variables_of_pip_win_over_its_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".pip").mkdir()
    (home / ".pip/pip.conf").write_text("[global]\nindex-url = http://a\n")
    monkeypatch.setenv("PIP_INDEX_URL", "http://b")
    assert environment.pip_variables()["PIP_INDEX_URL"] == "http://b"


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
