"""make samcli: each commit in a venv of its own, whatever the user's other tools are set to."""

import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from gate import git as sources
from gate import samcli, settings, workspace
from gate.programs import GateError
from gate.samcli import SamCli

from .support.gate import Gate, copy_template
from .support.git import commit_all, git
from .support.server import running_server

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
# Of the repository around the gate, which is a project of its own (FACTS.md#uv-parents). Nothing at
# all could be installed by it.
ADOPTERS = """[project]
name = "adopter"
version = "1.0.0"
requires-python = "==2.7.*"
[tool.uv]
required-version = "==0.0.1"
exclude-newer = "2001-01-01T00:00:00Z"
"""
# Of the user's own environment.
USERS = {"UV_REQUIRE_HASHES": "1", "UV_EXCLUDE_NEWER": "2001-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A copy of the gate in an adopter's repository; aws-sam-cli has a release and a develop."""
    source = tmp_path_factory.mktemp("samcli")
    for version in ("1.0.0", "1.1.0"):
        (source / "pyproject.toml").write_text(PROJECT.format(version))
        commit_all(source)
        git("tag", f"v{version}", cwd=source)
    adopter = tmp_path_factory.mktemp("adopter")
    (adopter / "pyproject.toml").write_text(ADOPTERS)
    given = {
        "SAMCLI_SOURCE": str(source),
        "SAMCLI_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "SAMCLI_REFS": "develop latest",
        "SAMCLI_COMPARED_REFS": "latest:2",
    }
    return Gate(copy_template(adopter / "gate"), given)


def installs(gate: Gate, **given: str) -> int:
    """Run `make samcli` and return how many it installed."""
    done = gate.make("samcli", **given)
    assert done.returncode == 0, done.stdout
    assert "aws-sam-cli 1.1.0 (develop, " in done.stdout
    return len(re.findall("(?m)^[+] .*/uv pip install ", done.stdout))


def test_each_commit_is_installed_once(clone: Gate) -> None:
    assert installs(clone, **USERS) == 2
    assert installs(clone) == 0


def test_each_commit_is_installed_once_where_the_cache_is_a_link(
    clone: Gate, tmp_path: Path
) -> None:
    """As to a larger disk."""
    linked = Gate(copy_template(tmp_path / "linked"), clone.settings)
    (linked.root / ".cache").rename(tmp_path / "cache")
    (linked.root / ".cache").symlink_to(tmp_path / "cache")
    assert installs(linked, SAMCLI_COMPARED_REFS="") == 1
    assert installs(linked, SAMCLI_COMPARED_REFS="") == 0


def test_a_commit_is_compared_only_where_no_entry_of_samcli_refs_names_it(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "CACHE", clone.root / ".cache")
    for name, value in clone.settings.items():
        monkeypatch.setenv(name, value)
    develop, release = samcli.install_all(settings.load())
    assert (develop.version, release.version) == ("1.1.0", "1.0.0")
    assert develop.sam_cli.ref == "develop"
    assert develop.sam_cli.requested_as == ["develop", "latest", "latest:2"]
    assert not develop.sam_cli.only_regressions_count
    assert release.sam_cli.ref == "v1.0.0"
    assert release.sam_cli.only_regressions_count


def test_a_clone_that_was_moved_installs_again(
    clone: Gate, tmp_path: Path
) -> None:
    installs(clone)
    moved = Gate(
        shutil.copytree(clone.root, tmp_path / "moved", symlinks=True),
        clone.settings,
    )
    assert installs(moved, SAMCLI_COMPARED_REFS="") == 1


def test_an_installation_that_fails_leaves_none_that_could_be_used(
    clone: Gate,
) -> None:
    installs(clone)
    done = clone.make("samcli", SAMCLI_PYTHON="3.99")
    wrong = (
        "error: there is no Python 3.99, or its venv cannot be made (see above)"
    )
    assert any(line.startswith(wrong) for line in done.stdout.splitlines()), (
        done.stdout
    )
    assert done.returncode == 2
    assert not list(clone.root.glob(".cache/samcli/*-3.99/installed.json"))


def test_a_disk_that_is_too_small_for_aws_sam_cli_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """git, on a full one, names each of three thousand files."""
    monkeypatch.setattr(workspace, "CACHE", tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: SimpleNamespace(free=0.1e9)
    )
    develop = SamCli("develop", "c" * 40, False, ["develop"])
    monkeypatch.setattr(samcli, "resolve", lambda settings: [develop])
    monkeypatch.setattr(sources, "fetch", lambda *_, **options: develop.commit)
    with pytest.raises(GateError) as raised:
        samcli.install_all(settings.load_committed())
    needs = "aws-sam-cli and its packages need 0.5 GB: free some"
    assert str(raised.value) == f"{tmp_path} has 0.1 GB free, {needs}"


def make_venv(
    template: Gate, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Make the venv of the gate's tools again, with one package that is quick to install."""
    requirements = template.root / "scripts/requirements.txt"
    one_package = re.search(
        r"(?ms)^packaging==.*?(?=^\w|\Z)", requirements.read_text()
    )
    assert one_package
    requirements.write_text(one_package[0])
    (template.root / ".cache/venv").unlink(missing_ok=True)
    return template.run(
        "make",
        ".cache/venv/ready",
        f"PYTHON={sys.base_prefix}/bin/python3",
        "IMPORTS=import packaging",
        **environment,
    )


@pytest.mark.parametrize(
    "pip_conf",
    ["[install]\nuser = true", "[global]\ntarget = x", "[global]\nprefix = x"],
    ids=["user", "target", "prefix"],
)
def test_the_users_pip_conf_does_not_move_the_gates_tools(
    template: Gate, tmp_path: Path, pip_conf: str
) -> None:
    (tmp_path / "pip.conf").write_text(pip_conf)
    done = make_venv(template, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert done.returncode == 0, done.stdout


def test_the_users_environment_does_not_move_the_gates_tools(
    template: Gate, tmp_path: Path
) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    done = make_venv(
        template, PIP_USER="1", PIP_TARGET=elsewhere, PYTHONPATH="/nowhere"
    )
    assert done.returncode == 0, done.stdout


def test_a_venv_that_outlives_its_python_is_made_again(
    template: Gate,
) -> None:
    assert make_venv(template).returncode == 0
    python = template.root / ".cache/venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    done = template.run(
        "make",
        ".cache/venv/ready",
        f"PYTHON={sys.base_prefix}/bin/python3",
        "IMPORTS=import packaging",
    )
    assert done.returncode == 0, done.stdout
    subprocess.run([python, "-I", "-c", "import packaging"], check=True)


@pytest.mark.parametrize(
    "noise",
    [{"PYTHONWARNINGS": "bogus"}, {"PYTHONHOME": "/nowhere"}],
    ids=["a warning", "another Python's home"],
)
def test_a_venv_that_works_is_not_made_again(
    template: Gate, noise: dict[str, str]
) -> None:
    done = template.run("make", "--dry-run", "plan", **noise)
    assert done.stdout == ".cache/venv/bin/python scripts/plan.py\n"


def test_uv_asks_the_index_that_only_pips_settings_name(
    clone: Gate, tmp_path: Path
) -> None:
    """As behind a company's mirror (astral-sh/uv#1859)."""
    asked: list[str] = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    with running_server(Index) as server:
        index = f"http://127.0.0.1:{server.server_port}/simple"
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index}\n")
        shutil.rmtree(clone.root / ".cache/samcli", ignore_errors=True)
        given = {
            "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
            "UV_NO_CACHE": "1",
        }
        done = clone.make("samcli", **given)
    assert done.returncode == 2, done.stdout
    assert "/simple/pip/" in asked
