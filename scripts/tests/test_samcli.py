"""make samcli: each commit in a venv of its own, whatever the user's other tools are set to."""

import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gate import samcli, settings, workspace

from .conftest import Gate, commit_all, copy_template, git

PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "small-sam-cli"
version = "{}"
[project.optional-dependencies]
dev = []
[tool.setuptools]
packages = []
"""
# Of the repository around the gate (fact 29). Nothing at all could be installed by it.
TOOL_UV = '[tool.uv]\nrequired-version = "==0.0.1"\nexclude-newer = "2001-01-01T00:00:00Z"\n'


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A copy of the gate in an adopter's repository; aws-sam-cli has a release and a develop."""
    source = tmp_path_factory.mktemp("samcli")
    for version in ("1.0.0", "1.1.0"):
        (source / "pyproject.toml").write_text(PROJECT.format(version))
        commit_all(source)
        git("tag", f"v{version}", cwd=source)
    adopter = tmp_path_factory.mktemp("adopter")
    (adopter / "pyproject.toml").write_text(TOOL_UV)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    given = {"SAMCLI_SOURCE": str(source), "SAMCLI_PYTHON": python}
    given |= {"SAMCLI_REFS": "develop latest", "SAMCLI_COMPARED_REFS": "latest:2"}
    return Gate(copy_template(adopter / "gate"), given)


def installs(gate: Gate, **given: str) -> int:
    """Run `make samcli` and return how many it installed."""
    done = gate.make("samcli", **given)
    assert done.returncode == 0, done.stdout
    assert "aws-sam-cli 1.1.0 (develop, " in done.stdout
    return len(re.findall("(?m)^[+] .*/uv pip install ", done.stdout))


def test_each_commit_is_installed_once(clone: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installs(clone, UV_REQUIRE_HASHES="1") == 2
    assert installs(clone) == 0
    monkeypatch.setattr(workspace, "CACHE", clone.root / ".cache")
    for name, value in clone.settings.items():
        monkeypatch.setenv(name, value)
    develop, release = samcli.install_all(settings.load())
    assert (develop.ref, develop.version, develop.compared) == ("develop", "1.1.0", False)
    assert (release.ref, release.version, release.compared) == ("v1.0.0", "1.0.0", True)
    assert develop.requested_as == ["develop", "latest", "latest:2"]


def test_a_clone_that_was_moved_installs_again(clone: Gate, tmp_path: Path) -> None:
    installs(clone)
    moved = Gate(shutil.copytree(clone.root, tmp_path / "moved", symlinks=True), clone.settings)
    assert installs(moved, SAMCLI_COMPARED_REFS="") == 1


def test_an_installation_that_fails_leaves_none_that_could_be_used(clone: Gate) -> None:
    installs(clone)
    done = clone.make("samcli", SAMCLI_PYTHON="3.99")
    wrong = "error: Python 3.99 was not found: install it or change SAMCLI_PYTHON"
    assert any(line.startswith(wrong) for line in done.stdout.splitlines()), done.stdout
    assert done.returncode == 2
    assert not list(clone.root.glob(".cache/samcli/*-3.99/installed.json"))


def test_the_users_pip_settings_do_not_move_the_gates_tools(template: Gate, tmp_path: Path) -> None:
    requirements = template.root / "scripts/requirements.txt"
    found = re.search(r"(?ms)^packaging==.*?(?=^\w|\Z)", requirements.read_text())
    requirements.write_text(found[0] if found else "")
    (template.root / ".cache/venv").unlink()
    python = f"{sys.base_prefix}/bin/python3"
    moved = {"PIP_USER": "1", "PIP_TARGET": str(tmp_path / "elsewhere")}
    done = template.make(".cache/venv/ready", PYTHON=python, PYTHONPATH="/nowhere", **moved)
    assert done.returncode == 0, done.stdout
    venv = template.root / ".cache/venv/bin/python"
    subprocess.run([venv, "-I", "-c", "import packaging"], check=True)


def test_uv_asks_the_index_that_only_pips_settings_name(clone: Gate, tmp_path: Path) -> None:
    """As behind a company's mirror (uv#1859)."""
    asked: list[str] = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}/simple"
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index}\n")
        shutil.rmtree(clone.root / ".cache/samcli", ignore_errors=True)
        given = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "UV_NO_CACHE": "1"}
        done = clone.make("samcli", **given)
        server.shutdown()
    assert (done.returncode, "/simple/pip/" in asked) == (2, True), done.stdout
