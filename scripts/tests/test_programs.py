"""What the gate says of programs that are missing or fail, and which engine docker leads to."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from docker.utils import kwargs_from_env

from gate import engine, programs
from gate.programs import GateError

from .support.gate import Gate
from .support.machine import missing

NOT_INSTALLED = (
    "docker is not installed, or not on PATH: install Docker with buildx"
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write_program(path: Path, name: str, commands: str) -> None:
    """Write a shell script that is found in a folder of PATH."""
    (path / name).write_text(f"#!/bin/sh\n{commands}\n")
    (path / name).chmod(0o755)


# --- docker


def test_a_docker_that_is_missing_is_named_with_how_to_get_it(
    template: Gate, tmp_path: Path
) -> None:
    done = template.script("image.py", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout.startswith(f"error: {NOT_INSTALLED} (")
    assert done.stdout.count("\n") == 1


def test_a_program_that_prints_its_reason_to_stdout_is_quoted(
    template: Gate, path: Path
) -> None:
    """As WSL's stub of docker does (beeware/briefcase#1634)."""
    reason = "The command 'docker' could not be found in this WSL 2 distro."
    write_program(path, "docker", f'echo "{reason}"; echo; exit 1')
    done = template.script("image.py", PATH=os.environ["PATH"])
    assert done.stdout == f"error: docker has no current context: {reason}\n"
    assert done.returncode == 2


def test_stderr_is_quoted_before_stdout() -> None:
    command = ["sh", "-c", "echo half a result; echo the reason >&2; exit 1"]
    with pytest.raises(GateError, match=r"^it failed: the reason$"):
        programs.call(command, failure="it failed")


def test_a_reason_of_thousands_of_lines_is_cut() -> None:
    """git names each file that it cannot write to a full disk."""
    command = ["sh", "-c", "yes unable to write file x | head -99999; exit 1"]
    with pytest.raises(GateError) as raised:
        programs.call(command, failure="it failed")
    reason = str(raised.value)
    assert reason.startswith("it failed: unable to write file x unable")
    assert len(reason) < 1100


def test_an_engine_of_ssh_is_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "ssh://me@engine.example"
    monkeypatch.setattr(
        engine, "docker_environment", lambda: {"DOCKER_HOST": address}
    )
    with pytest.raises(GateError, match=f"^{address} is another machine: "):
        engine.connect()


def test_a_docker_that_knows_no_context_is_named(path: Path) -> None:
    """podman-docker's `docker context inspect` prints nothing and succeeds."""
    write_program(path, "docker", "exit 0")
    error = "^`docker context inspect` prints nothing: is `docker` Docker's own program"
    with pytest.raises(GateError, match=error):
        engine.docker_environment()


# --- contexts


@pytest.fixture
def remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker_client: object
) -> Path:
    """The docker CLI's configuration, whose current context is an engine behind TLS."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    if not shutil.which("openssl"):
        missing("no openssl")
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    subprocess.run(["openssl", "req", *options, *map(str, files)], check=True)
    shutil.copy(tmp_path / "cert.pem", tmp_path / "ca.pem")
    material = "".join(
        f",{name}={tmp_path / name}.pem" for name in ("ca", "cert", "key")
    )
    endpoint = f"--docker=host=tcp://engine.example:2376{material}"
    subprocess.run(
        ["docker", "context", "create", "remote", endpoint], check=True
    )
    subprocess.run(["docker", "context", "use", "remote"], check=True)
    return tmp_path


def test_a_context_with_tls_hands_on_its_certificates(remote: Path) -> None:
    variables = engine.docker_environment()
    folder = Path(variables.pop("DOCKER_CERT_PATH"))
    assert variables == {
        "DOCKER_HOST": "tcp://engine.example:2376",
        "DOCKER_TLS_VERIFY": "1",
    }
    # Under the names that docker's SDK looks for.
    for name in ("ca.pem", "cert.pem", "key.pem"):
        assert (folder / name).read_text() == (remote / name).read_text()


def test_a_context_that_skips_the_check_of_the_engines_certificate_still_does(
    remote: Path,
) -> None:
    """As docker's SDK, and with it aws-sam-cli, reads these variables: `verify` is False."""
    subprocess.run(
        [
            "docker",
            "context",
            "update",
            "remote",
            f"--docker=host=tcp://engine.example:2376,skip-tls-verify=true,"
            f"cert={remote}/cert.pem,key={remote}/key.pem",
        ],
        check=True,
    )
    variables = engine.docker_environment()
    assert variables["DOCKER_TLS_VERIFY"] == ""
    tls = kwargs_from_env(environment=variables)["tls"]
    assert tls.cert
    assert tls.verify is False


def test_the_callers_engine_wins_over_the_context(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://other.example:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(remote))
    assert engine.docker_environment() == {
        "DOCKER_HOST": "tcp://other.example:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(remote),
    }


# --- uv, which reads no settings of pip


@pytest.fixture
def pip_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one pip.conf; no variable of pip or uv is set."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_", "SSL_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    file = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    return file


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        (
            "index-url = http://a/simple",
            {"UV_DEFAULT_INDEX": "http://a/simple"},
        ),
        (
            "extra-index-url =\n  http://a/simple\n  http://b/simple",
            {"UV_INDEX": "http://a/simple http://b/simple"},
        ),
        ("cert = /ca.pem", {"SSL_CERT_FILE": "/ca.pem"}),
        (
            "proxy = http://p:1",
            {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1"},
        ),
        ("trusted-host = a b", {"UV_INSECURE_HOST": "a b"}),
    ],
)
def test_uv_finds_packages_where_pips_settings_say(
    pip_conf: Path, line: str, variables: dict[str, str]
) -> None:
    pip_conf.write_text(f"[global]\n{line}\n")
    environ = programs.uv_environment()
    assert environ | variables == environ


def test_uv_finds_packages_where_pips_variables_say(
    pip_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They win over pip.conf, and what uv reads by itself over both."""
    pip_conf.write_text("[global]\nindex-url = http://a\nproxy = http://a\n")
    monkeypatch.setenv("PIP_INDEX_URL", "http://b")
    monkeypatch.setenv("HTTPS_PROXY", "http://c")
    environ = programs.uv_environment()
    assert environ["UV_DEFAULT_INDEX"] == "http://b"
    assert environ["HTTP_PROXY"] == "http://a"
    assert environ["HTTPS_PROXY"] == "http://c"


def test_uv_takes_the_systems_certificates_and_the_best_of_all_indexes(
    pip_conf: Path,
) -> None:
    """As pip does (astral-sh/uv#1474)."""
    environ = programs.uv_environment()
    assert environ["UV_SYSTEM_CERTS"] == "1"
    assert environ["UV_INDEX_STRATEGY"] == "unsafe-best-match"
