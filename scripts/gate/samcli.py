"""aws-sam-cli: which commits the refs name, and each of them installed in its own venv."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from gate import git, workspace
from gate.cli import UV, call, stream, uv_environment
from gate.settings import Settings


@dataclass(frozen=True)
class Checkout:
    """One installed aws-sam-cli: home/src and home/venv. `requested_as` names it in the refs."""

    source: str
    home: Path
    ref: str
    commit: str
    version: str
    requested_as: list[str]
    compared: bool  # no entry of SAMCLI_REFS names it


def install_all(settings: Settings) -> list[Checkout]:
    """Install every commit that the refs name, those of SAMCLI_REFS first, unless it is there."""
    url = git.source(settings.samcli_source)
    refs = git.listing(url, setting="SAMCLI_SOURCE")
    found: dict[str, Checkout] = {}
    for setting in ("SAMCLI_REFS", "SAMCLI_COMPARED_REFS"):
        for word in getattr(settings, setting.lower()):
            for ref in git.expand(word, refs, setting=setting):
                commit = git.resolve(url, ref, refs, setting=setting)
                if commit not in found:
                    python, compared = settings.samcli_python, setting != "SAMCLI_REFS"
                    home = workspace.CACHE / "samcli" / f"{commit[:12]}-{python}"
                    version = _install(home, python, url, commit)
                    found[commit] = Checkout(url, home, ref, commit, version, [], compared)
                found[commit].requested_as.append(word)
    return list(found.values())


def _install(home: Path, wanted: str, url: str, commit: str) -> str:
    note = home / "installed.json"  # written last
    about = json.loads(note.read_text()) if note.exists() else {}
    key = "editable_project_location"  # a venv does not survive a move of the clone
    if about.get(key) == f"{home}/src" and (home / "venv/bin/python").exists():
        return str(about["version"])
    shutil.rmtree(home, ignore_errors=True)
    git.worktree(url, commit, home / "src")
    environ = uv_environment() | {"SAM_CLI_DEV": "1"}
    # `sam build` runs `python3.13 -m pip` of this venv, so it is seeded with pip (fact 8).
    command = [UV, "venv", "--quiet", "--seed", f"--python={wanted}", "venv"]
    failure = f"Python {wanted} was not found: install it or change SAMCLI_PYTHON"
    stream(command, failure=failure, cwd=home, env=environ)
    command = [UV, "pip", "install", "--python=venv", "--compile-bytecode", "-e", "./src[dev]"]
    failure = "installing aws-sam-cli failed: check SAMCLI_REFS and the network connection"
    stream([*command, "pytest"], failure=failure, cwd=home, env=environ)
    command = [UV, "pip", "list", "--python=venv", "--editable", "--format=json"]
    (about,) = json.loads(call(command, failure="uv cannot list what it installed", cwd=home))
    workspace.write_json(note, about)
    return str(about["version"])
