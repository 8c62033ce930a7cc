"""make samcli: aws-sam-cli at each ref of SAMCLI_REFS, installed in a venv of its own."""

import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import gitrepo
import state
from command import GateError, call, entry
from config import Config, load, local

NAME = "samcli.json"
# The suite's plugins: aws-sam-cli's own `dev` extra brings them, another consumer's may not.
PLUGINS = ("pytest", "pytest-rerunfailures")


@dataclass(frozen=True)
class Checkout:
    """One installed aws-sam-cli: ref, full commit, version, the Python it runs on (`runtime`); `home` holds src/, venv/
    and the shards' worktrees."""

    source: str
    ref: str
    commit: str
    version: str
    runtime: str
    home: str

    @property
    def slug(self) -> str:
        """Return what files are called after: the ref, and the commit since two refs may look alike."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.ref)}-{self.commit[:7]}"

    @property
    def python(self) -> Path:
        """The interpreter that aws-sam-cli is installed for."""
        return Path(self.home) / "venv/bin/python"

    def worktree(self, slot: int) -> Path:
        """Return a clean checkout for one shard at a time."""
        path = Path(self.home) / f"shard-{slot}"
        gitrepo.checkout(self.source, self.commit, path)
        return path


def main() -> int:
    """Install each of SAMCLI_REFS, note them for `compat`, and return 0. Raises GateError if one cannot be had."""
    config = load()
    with state.lock("samcli"):
        listing = state.CACHE / NAME
        listing.unlink(missing_ok=True)
        checkouts = [install(config, ref) for ref in config.samcli_refs]
        state.write_json(listing, [asdict(checkout) for checkout in checkouts])
    for checkout in checkouts:
        print(f"aws-sam-cli {checkout.version} ({checkout.ref}, {checkout.commit[:12]})", flush=True)
    return 0


def installed(config: Config) -> list[Checkout]:
    """Return what `samcli` left, one for each ref. Raises GateError if the settings ask for something else by now."""
    remedy = "run `make samcli` first"
    checkouts = [Checkout(**row) for row in state.read_json(state.CACHE / NAME, remedy=remedy)]
    wanted = [(source(config), ref, config.samcli_python) for ref in config.samcli_refs]
    if [(checkout.source, checkout.ref, checkout.runtime) for checkout in checkouts] != wanted:
        raise GateError(f"aws-sam-cli is installed for other settings: {remedy}")
    for checkout in checkouts:  # `sam` runs from src/, so that must be the commit and nothing else
        gitrepo.checkout(checkout.source, checkout.commit, Path(checkout.home) / "src", keep_ignored=True)
    return checkouts


def source(config: Config) -> str:
    """Return SAMCLI_SOURCE for git: a URL as it is, a path made absolute."""

    path = local(config.samcli_source)
    return str(path) if path.exists() else config.samcli_source


def install(config: Config, ref: str) -> Checkout:
    """Return the checkout of a ref, made and installed unless an earlier run left it whole."""
    url = source(config)
    commit = gitrepo.resolve(url, ref, setting="SAMCLI_SOURCE")
    home = state.CACHE / "samcli" / f"{commit[:12]}-{config.samcli_python}"
    whole = home / "whole.json"
    # A venv does not survive a move of the clone.
    if not whole.is_file() or not json.loads(whole.read_text()).items() >= {"source": url, "home": str(home)}.items():
        gitrepo.remove(home)
        print(f"installing aws-sam-cli {ref} ({commit[:12]})", flush=True)
        try:
            gitrepo.checkout(url, commit, home / "src")
            version = make_venv(home, config)
            state.write_json(whole, {"source": url, "home": str(home), "version": version})
        except BaseException:
            gitrepo.remove(home)
            raise
    version = json.loads(whole.read_text())["version"]
    return Checkout(url, ref, commit, version, config.samcli_python, str(home))


def make_venv(home: Path, config: Config) -> str:
    """Install home/src into home/venv and return its version."""
    uv, python, log = Path(sys.executable).with_name("uv"), home / "venv/bin/python", state.CACHE / "logs/install.log"
    wanted = config.samcli_python
    # sam build runs `python3.13 -m pip` from this venv, so it is seeded with pip.
    call(
        [uv, "venv", "--seed", "--python", wanted, home / "venv"],
        failure=f"SAMCLI_PYTHON: Python {wanted} is not to be had: install it, or give another version",
        # The Python behind these tools may be the one, and may not be on PATH.
        env=os.environ | {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), f"{sys.base_prefix}/bin"])},
        log=log,
    )
    call(
        [uv, "pip", "install", "--python", python, "--editable", ".[dev]", *PLUGINS],
        failure=f"installing aws-sam-cli failed in {home.name}: mend SAMCLI_REFS or the network, then run it again",
        cwd=home / "src",
        env=os.environ | {"SAM_CLI_DEV": "1"},
        log=log,
    )
    listing = call(
        [uv, "pip", "list", "--python", python, "--editable", "--format=json"],
        failure=f"uv cannot list what is installed in {home.name}",
    )
    return str(json.loads(listing)[0]["version"])


if __name__ == "__main__":
    entry(main)
