"""aws-sam-cli: which commits the refs name, and each of them installed in its own venv."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from gate import git, workspace
from gate.programs import UV, call, stream, uv_environment
from gate.settings import Settings

# Of one aws-sam-cli with its venv.
INSTALLED_BYTES = 0.5e9


@dataclass
class SamCli:
    """A commit of aws-sam-cli.

    `requested_as`: the words of SAMCLI_REFS and SAMCLI_COMPARED_REFS that name it.
    `only_regressions_count`: no word of SAMCLI_REFS does.
    """

    ref: str
    commit: str
    only_regressions_count: bool
    requested_as: list[str]


@dataclass(frozen=True)
class Checkout:
    """One installed aws-sam-cli: home/src and home/venv."""

    sam_cli: SamCli
    source: str
    home: Path
    version: str

    @property
    def python(self) -> Path:
        """Return the interpreter of its venv."""
        return self.home / "venv/bin/python"


def resolve(settings: Settings) -> list[SamCli]:
    """Return each commit that the refs name, once, those of SAMCLI_REFS first."""
    url = git.source(settings.samcli_source)
    refs = git.refs_of(url, setting="SAMCLI_SOURCE")
    by_commit: dict[str, SamCli] = {}
    for setting in ("SAMCLI_REFS", "SAMCLI_COMPARED_REFS"):
        for word in getattr(settings, setting.lower()):
            for ref in git.expand(word, refs, setting=setting):
                commit = git.commit_of(url, ref, refs, setting=setting)
                new = SamCli(
                    ref=ref.removesuffix(f"@{commit}"),
                    commit=commit,
                    only_regressions_count=setting == "SAMCLI_COMPARED_REFS",
                    requested_as=[],
                )
                by_commit.setdefault(commit, new).requested_as.append(word)
    return list(by_commit.values())


def install_all(settings: Settings) -> list[Checkout]:
    """Install every commit that the refs name, unless it is there."""
    return [_installed(settings, sam_cli) for sam_cli in resolve(settings)]


def _installed(settings: Settings, sam_cli: SamCli) -> Checkout:
    url = git.source(settings.samcli_source)
    python = settings.samcli_python
    home = workspace.CACHE / "samcli" / f"{sam_cli.commit[:12]}-{python}"
    setting = "SAMCLI_REFS"
    if sam_cli.only_regressions_count:
        setting = "SAMCLI_COMPARED_REFS"
    git.fetch(url, sam_cli.commit, setting=setting)
    version = _installed_version(home)
    if not version:
        _install(home, python, url, sam_cli.commit)
        version = _installed_version(home)
    return Checkout(sam_cli, url, home, version)


def _installed_version(home: Path) -> str:
    """Return what `_install` noted; "" if it did not finish, or not in this place."""
    installed = workspace.read_json(home / "installed.json")
    # A venv does not survive a move of the clone, nor the removal of its Python.
    is_here = installed.get("editable_project_location") == f"{home}/src"
    if not is_here or not (home / "venv/bin/python").exists():
        return ""
    return str(installed["version"])


def _install(home: Path, python: str, url: str, commit: str) -> None:
    """Install aws-sam-cli and its development requirements; installed.json is written last."""
    shutil.rmtree(home, ignore_errors=True)
    workspace.shield_from_parents()
    workspace.check_space(
        workspace.CACHE,
        INSTALLED_BYTES,
        what="aws-sam-cli and its packages",
        remedy="free some",
    )
    git.worktree(url, commit, home / "src")
    environ = uv_environment() | {
        "SAM_CLI_DEV": "1",
        # Over a cooldown in the user's uv.toml: some commits require what is newer.
        "UV_EXCLUDE_NEWER": "2999-01-01",
    }
    # `sam build` runs `python3.13 -m pip` of this venv, so it is seeded with pip
    # (FACTS.md#seeded-pip).
    stream(
        [
            UV,
            "venv",
            "--quiet",
            "--seed",
            f"--python={python}",
            "venv",
        ],
        failure=(
            f"there is no Python {python}, or its venv cannot be made (see above): install it, "
            "make it visible (pyenv: `pyenv shell`), or change SAMCLI_PYTHON"
        ),
        cwd=home,
        env=environ,
    )
    install = [UV, "pip", "install", "--python=venv", "--compile-bytecode"]
    stream(
        [*install, "-e", "./src[dev]", "pytest"],
        failure="installing aws-sam-cli failed: check the network connection and SAMCLI_REFS",
        cwd=home,
        env=environ,
    )
    listing = [
        UV,
        "pip",
        "list",
        "--python=venv",
        "--editable",
        "--format=json",
    ]
    failure = "uv cannot list what it installed"
    (installed,) = json.loads(call(listing, failure=failure, cwd=home))
    workspace.write_json(home / "installed.json", installed)
