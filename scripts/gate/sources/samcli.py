"""aws-sam-cli: which commits the refs name, and each of them installed in a venv of its own."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gate import workspace
from gate.cli import GateError
from gate.decode import decode
from gate.programs import call, stream
from gate.settings import Settings, local
from gate.sources import git
from gate.sources.files import fingerprint, names

TOOLS = ("pytest",)  # aws-sam-cli's own `dev` extra brings it; another consumer's may not
FAST_START = "sam_compat_fast_start"


@dataclass(frozen=True)
class Checkout:
    """One installed aws-sam-cli. `words` are the entries of the refs that name it; `python_version` is SAMCLI_PYTHON.

    `compared`: no entry of SAMCLI_REFS names it. `uses_image`: its source names the emulator's repository.
    """

    source: str
    ref: str
    commit: str
    version: str
    python_version: str
    words: tuple[str, ...]
    compared: bool
    uses_image: bool

    @property
    def slug(self) -> str:
        """Return a name for files: the ref and the commit, since two refs may look alike."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.ref)[:40]}-{self.commit[:7]}"

    @property
    def home(self) -> Path:
        """The folder of src/ and venv/."""
        return workspace.samcli_home(self.commit, self.python_version)

    @property
    def python(self) -> Path:
        """The interpreter that aws-sam-cli is installed for."""
        return self.home / "venv/bin/python"

    def export(self, path: Path) -> Path:
        """Write the files of the commit to a folder, and nothing else, and return it."""
        git.export(self.source, self.commit, path)
        return path


def install_all(settings: Settings) -> list[Checkout]:
    """Install every commit that the refs name and note it for `compat`. Raises GateError if one cannot be installed."""
    workspace.INSTALLED.unlink(missing_ok=True)
    checkouts = [_install(settings, ref, commit, words) for ref, commit, words in _resolved(settings)]
    workspace.write_json(workspace.INSTALLED, [asdict(checkout) for checkout in checkouts])
    return checkouts


def installed(settings: Settings) -> list[Checkout]:
    """Return what `make samcli` installed. Raises GateError if that was for other settings, or was changed since."""
    remedy = "run `make samcli` first"
    try:
        checkouts: list[Checkout] = decode(list[Checkout], workspace.read_json(workspace.INSTALLED, remedy=remedy))
    except ValueError:
        raise GateError(f"{workspace.INSTALLED} is damaged: {remedy}") from None
    wanted = {*settings.samcli_refs, *settings.samcli_compared_refs}
    found = {word for checkout in checkouts for word in checkout.words}
    same = all((c.source, c.python_version) == (source(settings), settings.samcli_python) for c in checkouts)
    if found != wanted or not same:
        raise GateError(f"aws-sam-cli is installed for other settings: {remedy}")
    for checkout in checkouts:
        if not _intact_version(checkout.home, checkout.source):
            raise GateError(f"aws-sam-cli {checkout.ref} was changed since it was installed: {remedy}")
    return checkouts


def source(settings: Settings) -> str:
    """Return SAMCLI_SOURCE for git: a URL as it is, a path made absolute."""
    path = local(settings.samcli_source)
    return str(path) if path.exists() else settings.samcli_source


def origin(settings: Settings) -> str:
    """Return SAMCLI_SOURCE, or what git's configuration (url.….insteadOf) reads in its place."""
    given = source(settings)
    read = git.git("ls-remote", "--get-url", "--", given, failure="git cannot read its configuration")
    return settings.samcli_source if read == given else read


def _resolved(settings: Settings) -> Iterator[tuple[str, str, list[str]]]:
    """Yield ref, commit and words of each aws-sam-cli, those of SAMCLI_REFS first, each commit once."""
    url = source(settings)
    refs = git.listing(url, setting="SAMCLI_SOURCE")
    found: dict[str, tuple[str, list[str]]] = {}
    for word in dict.fromkeys((*settings.samcli_refs, *settings.samcli_compared_refs)):
        setting = "SAMCLI_REFS" if word in settings.samcli_refs else "SAMCLI_COMPARED_REFS"
        for ref in git.expand(word, refs, setting=setting):
            commit = git.resolve(url, ref, refs, setting=setting)
            found.setdefault(commit, (ref, []))[1].append(word)
    for commit, (ref, words) in found.items():
        yield ref, commit, words


def _install(settings: Settings, ref: str, commit: str, words: list[str]) -> Checkout:
    url, home = source(settings), workspace.samcli_home(commit, settings.samcli_python)
    version = _intact_version(home, url)
    if not version:
        for path in (home, _note(home)):
            if path.is_dir():
                git.remove(path)
            else:
                path.unlink(missing_ok=True)
        print(f"installing aws-sam-cli {ref} ({commit[:12]})", flush=True)
        try:
            git.export(url, commit, home / "src")
            version = _make_venv(home, settings)
        except BaseException:
            git.remove(home)
            raise
        note = {"source": url, "home": str(home), "gate": workspace.version(), "version": version}
        workspace.write_json(_note(home), note | {"fingerprint": fingerprint(home)})
    return Checkout(
        source=url,
        ref=ref,
        commit=commit,
        version=version,
        python_version=settings.samcli_python,
        words=tuple(words),
        compared=not set(words) & set(settings.samcli_refs),
        uses_image=any(names(folder, settings.emulator_repository) for folder in _sources(home)),
    )


def _make_venv(home: Path, settings: Settings) -> str:
    """Install home/src into home/venv and return its version."""
    uv, python, log = Path(sys.executable).with_name("uv"), home / "venv/bin/python", workspace.INSTALL_LOG
    wanted = settings.samcli_python
    # The Python behind these tools may be the one, and may not be on PATH.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), f"{sys.base_prefix}/bin"])
    # sam build runs `python3.13 -m pip` from this venv, so it is seeded with pip. Copied: a hard link's change time
    # changes when another venv gets one.
    stream(
        [uv, "venv", "--seed", "--link-mode=copy", "--python", wanted, home / "venv"],
        failure=f"no venv of Python {wanted} can be made: install it, change SAMCLI_PYTHON, or check the network",
        env=os.environ | {"PATH": path}, log=log,
    )  # fmt: skip
    # Copied: an edit of an installed file cannot reach uv's cache. Compiled: no later start writes here.
    stream(
        [uv, "pip", "install", "--python", python, "--link-mode=copy", "--compile-bytecode", "-e", ".[dev]", *TOOLS],
        failure=f"installing aws-sam-cli failed in {home.name}: check SAMCLI_REFS and the network connection",
        cwd=home / "src", env=os.environ | {"SAM_CLI_DEV": "1"}, log=log,
    )  # fmt: skip
    where = "import site; print(site.getsitepackages()[0])"
    site = Path(call([python, "-c", where], failure="no site-packages").strip())
    shutil.copy(workspace.PLUGIN / f"{FAST_START}.py", site)
    (site / f"{FAST_START}.pth").write_text(f"import {FAST_START}\n", encoding="utf-8")
    # What is left to compile: pip, which seeded the venv, and aws-sam-cli itself.
    compiling: list[str | Path] = [python, "-m", "compileall", "-q", "-j0", "-x", "/src/tests/", site, home / "src"]
    stream(compiling, failure="compiling aws-sam-cli failed", log=log)
    listing: list[str | Path] = [uv, "pip", "list", "--python", python, "--editable", "--format=json"]
    return str(json.loads(call(listing, failure=f"uv cannot list what is installed in {home.name}"))[0]["version"])


def _note(home: Path) -> Path:
    return home.with_suffix(f"{home.suffix}.json")


def _intact_version(home: Path, url: str) -> str:
    """Return the version of what an installation from `url` left in `home`, "" if that is no longer so.

    A test may have edited or added files there.
    """
    try:
        note = workspace.read_json(_note(home), remedy="")
        # A venv does not survive a move of the clone.
        same = (note["source"], note["home"], note["gate"]) == (url, str(home), workspace.version())
        # Its interpreter is a link: the Python behind it may be gone.
        intact = same and (home / "venv/bin/python").exists() and note["fingerprint"] == fingerprint(home)
        return str(note["version"]) if intact else ""
    except (GateError, KeyError, TypeError):
        return ""


def _sources(home: Path) -> list[Path]:
    """Return the folders that may name the image: the checkout, and an aws-sam-cli that it only depends on."""
    return [home / "src", *home.glob("venv/lib/python*/site-packages/samcli")]
