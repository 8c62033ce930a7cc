"""aws-sam-cli: which commits the refs name, and each of them installed in its own venv."""

import json
import os
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from gate import git, workspace
from gate.cli import GateError, call, stream
from gate.settings import Settings

INSTALLED = workspace.CACHE / "samcli.json"


@dataclass(frozen=True)
class Checkout:
    """One installed aws-sam-cli: home/src and home/venv. `requested_as` names it in the refs."""

    source: str
    home: str
    ref: str
    commit: str
    version: str
    requested_as: list[str]
    compared: bool  # no entry of SAMCLI_REFS names it

    @property
    def slug(self) -> str:
        # Of files: ref and commit, since two refs may look alike.
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.ref)[:40]}-{self.commit[:7]}"


def install_all(settings: Settings) -> list[Checkout]:
    """Install every commit that the refs name, those of SAMCLI_REFS first; note it for `compat`."""
    INSTALLED.unlink(missing_ok=True)
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
                    found[commit] = Checkout(url, str(home), ref, commit, version, [], compared)
                found[commit].requested_as.append(word)
    checkouts = list(found.values())
    workspace.write_json(INSTALLED, list(map(asdict, checkouts)))
    return checkouts


def installed(settings: Settings) -> list[Checkout]:
    """Return what `make samcli` installed. Raises GateError if that was for other settings."""
    remedy = "run `make samcli` first"
    checkouts = [Checkout(**value) for value in workspace.read_json(INSTALLED, remedy=remedy)]
    found = {(checkout.source, word) for checkout in checkouts for word in checkout.requested_as}
    words = settings.samcli_refs + settings.samcli_compared_refs
    if found != {(git.source(settings.samcli_source), word) for word in words}:
        raise GateError(f"the installed aws-sam-cli does not match SAMCLI_REFS: {remedy}")
    return checkouts


def _install(home: Path, wanted: str, url: str, commit: str) -> str:
    """Install a commit for a Python version, unless it is there, and return its own version."""
    # Written last. It names its place, since a venv does not survive a move of the clone.
    note = home / "installed.json"
    about = json.loads(note.read_text()) if note.exists() else {}
    if about.get("home") == str(home) and (home / "venv/bin/python").exists():
        return str(about["version"])
    shutil.rmtree(home, ignore_errors=True)
    git.worktree(url, commit, home / "src")
    uv = str(Path(sys.executable).with_name("uv"))
    # The Python behind these tools may be the one that is wanted, and may not be on PATH.
    path = f"{os.environ['PATH']}:{sys.base_prefix}/bin"
    environ = os.environ | {"PATH": path, "SAM_CLI_DEV": "1"}
    # `sam build` runs `python3.13 -m pip` of this venv, so it is seeded with pip (fact 8).
    command = [uv, "venv", "--quiet", "--seed", f"--python={wanted}", "venv"]
    failure = f"Python {wanted} was not found: install it or change SAMCLI_PYTHON"
    stream(command, failure=failure, cwd=home, env=environ)
    command = [uv, "pip", "install", "--python=venv", "--compile-bytecode", "-e", "./src[dev]"]
    failure = "installing aws-sam-cli failed: check SAMCLI_REFS and the network connection"
    stream([*command, "pytest"], failure=failure, cwd=home, env=environ)
    command = [uv, "pip", "list", "--python=venv", "--editable", "--format=json"]
    (about,) = json.loads(call(command, failure="uv cannot list what it installed", cwd=home))
    workspace.write_json(note, about | {"home": str(home)})
    return str(about["version"])
