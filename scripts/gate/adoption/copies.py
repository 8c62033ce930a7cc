"""A copy of the gate in another repository, the host: its list of files, and what each of them holds."""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gate import workspace
from gate.cli import GateError
from gate.programs import call
from gate.sources.git import environment
from gate.workspace import ROOT

SETTINGS, LICENSE, CONTRACT, ADOPTED = ".env.example", "LICENSE", "docs/CONTRACT.md", "scripts/ADOPTED"
WORKFLOWS = ".github/workflows"
COMPAT, RELEASE = f"{WORKFLOWS}/sam-cli-compat.yml", f"{WORKFLOWS}/ecr-release.yml"
COPIED = ("Makefile", SETTINGS, LICENSE, CONTRACT, "scripts", WORKFLOWS)
# The template's own: its tests and linters, and what works only beside them.
LEFT_OUT = re.compile(
    rf"scripts/(tests/|requirements-dev\.|replay|adopt\.py|gate/adoption/|ADOPTED$)|{WORKFLOWS}/ci\.yml$"
)


@dataclass(frozen=True)
class Copy:
    """The gate of one commit in a host. `folder` is the gate's, "" for the host's top; `files` maps each of its files
    to the template's."""

    host: Path
    folder: str
    version: str
    commit: str
    files: dict[str, str]

    def within(self, name: str) -> str:
        """Return the host's name of a file in the gate's folder."""
        return str(PurePosixPath(self.folder, name))

    def name_of(self, source: str) -> str:
        """Return the host's name of a file of the template, "" if it was not copied."""
        return next((name for name, its_source in self.files.items() if its_source == source), "")

    def text(self, name: str) -> str:
        """Return what a file holds as copied: in a workflow, `./` is the gate's folder."""
        source = self.files[name]
        text = git(
            "show", f"{self.commit}:{source}", cwd=ROOT, failure=f"{source} of {self.commit[:12]} cannot be read"
        )
        if source.startswith(WORKFLOWS) and self.folder:
            return re.sub(rf"(?<![\w./])\./(?!{WORKFLOWS})", f"{self.folder}/", text)
        return text


def git(*arguments: str, cwd: Path, failure: str) -> str:
    """Run git in a repository and return its stdout as it is."""
    return call(["git", *arguments], cwd=cwd, failure=failure, env=environment())


def recorded(host: Path, folder: str | None) -> Copy | None:
    """Return the copy that an earlier adoption left in a host: in `folder`, or anywhere if that is None."""
    found = ("--cached", "--others", "--exclude-standard", "-z", "--", f":(glob)**/{ADOPTED}")
    listed = git("ls-files", *found, cwd=host, failure=f"the files of {host} cannot be listed").split("\0")
    places = {name.removesuffix(ADOPTED).rstrip("/") for name in listed if name and (host / name).is_file()}
    if not places:
        return None
    if len(places) > 1 or folder not in places | {None}:
        named = " and ".join(repr(place or ".") for place in sorted(places))
        raise GateError(f"the gate is in {named} of {host} already: run make adopt without FOLDER, with one copy there")
    path = host / min(places) / ADOPTED
    value = workspace.read_json(path, remedy="restore it from git")
    try:
        copy = Copy(host, min(places), str(value["version"]), str(value["commit"]), dict(value["files"]))
    except (TypeError, KeyError, ValueError):
        raise GateError(f"{path} is damaged: restore it from git") from None
    missing = f"{path} names commit {copy.commit[:12]}, which this clone lacks: fetch it (git fetch --unshallow)"
    git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{copy.commit}^{{commit}}", cwd=ROOT, failure=missing)
    return copy


def newest(host: Path, folder: str, before: Copy | None) -> Copy:
    """Return the copy that the template's last commit makes in a host."""
    commit = git("rev-parse", "HEAD", cwd=ROOT, failure="this clone of the template has no commit").strip()
    listed = git("ls-tree", "-r", "-z", "--name-only", commit, *COPIED, cwd=ROOT, failure="git ls-tree failed")
    version = git("show", f"{commit}:scripts/VERSION", cwd=ROOT, failure="the last commit has no scripts/VERSION")
    sources = [source for source in listed.split("\0") if source and not LEFT_OUT.match(source)]
    files = {(before.name_of(source) if before else "") or _name(host, folder, source): source for source in sources}
    return Copy(host, folder, version.strip(), commit, files)


def _name(host: Path, folder: str, source: str) -> str:
    """Return the name that a file of the template gets in a host."""
    if source in (LICENSE, CONTRACT):  # the host's top has a license of its own
        return str(PurePosixPath(folder or "scripts", PurePosixPath(source).name))
    if not source.startswith(WORKFLOWS):
        return str(PurePosixPath(folder, source))
    if source != COMPAT and os.path.lexists(host / source):  # others call COMPAT by its name
        return f"{WORKFLOWS}/sam-cli-compat-{PurePosixPath(source).name.removeprefix('ecr-')}"
    return source
