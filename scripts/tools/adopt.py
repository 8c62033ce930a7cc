"""make adopt INTO=../repo [FOLDER=.sam-cli-compat]: copy the gate there, or update the copy.

What is copied is what the template has committed. git merges it into the host, the repository that
adopts the gate: a first copy as new files, an update as the difference between the commit of the
template that the host has (scripts/ADOPTED) and the newest. So the host's own edits stay, and
conflicts are git's. The result is staged; nothing is committed.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate import workspace
from gate.cli import run_main
from gate.git import git, init
from gate.programs import GateError, stream
from gate.workspace import ROOT

WORKFLOWS = ".github/workflows"
RELEASE = f"{WORKFLOWS}/ecr-release.yml"
# At the top of the host, their lines are added to those of the host.
UNITED = (".gitignore", ".gitattributes")
COPIED = (WORKFLOWS, *UNITED, "Makefile", ".env.example", "scripts", "docs")
# What only the template needs, as git's pathspecs.
LEFT_OUT = (
    ":!*/ci.yml",
    ":!docs/ADOPTING.md",
    ":!scripts/tools",
    ":!scripts/tests",
    ":!*-dev.txt",
    ":!*.in",
    ":!*.toml",
)
# Holds the commit of the template that the host has.
ADOPTED = "scripts/ADOPTED"
# The gate's folder as a workflow writes it: `./` alone, or before a folder that the gate writes.
GATES_FOLDER = re.compile(r"(?<![\w./])\./(?=\n|\.compat|\.cache)")
# An action, and the commit that it is pinned to with the comment that follows.
PIN = re.compile(r"(uses: [^@\s]+)@(.+)")
COMMITTER = ("-c", "user.name=gate", "-c", "user.email=gate")
TO_DO = """Check these in {0}/.env.example, then read {0}/docs/RELEASING.md:
  EMULATOR_SOURCE     is empty: the folder of the emulator's Dockerfile, seen from the gate's folder
  EMULATOR_PREBUILD   what runs there before `docker build`, if anything
  GATED_PATHS         every path that shapes the image, seen from the repository's top
  RELEASE_TAG_PREFIX  how the emulator's part of a release's tag begins, such as testing-v"""


def main() -> int:
    """Stage the gate in the host, or its update."""
    into = os.environ.get("INTO") or ROOT
    host = Path(into).expanduser().resolve()
    place = host / (os.environ.get("FOLDER") or ".sam-cli-compat")
    folder = Path(os.path.relpath(place, host))
    refuse_unsuitable(host, folder)
    commit = git(
        "rev-parse",
        "HEAD",
        cwd=ROOT,
        failure="the template must be a git clone",
    )
    with TemporaryDirectory() as scratch:
        new = Path(scratch, "new")
        old = Path(scratch, "old")
        old.mkdir()
        export(commit, folder, new)
        adopted = host / folder / ADOPTED
        if adopted.exists():
            export(adopted.read_text().strip(), folder, old)
        else:
            make_room(host, new)
        keep_moved_pins(host, old, new)
        if folder == Path():
            keep_out_of_images(host)
        merge(host, old, new)
    print(f"Staged the gate of {commit[:12]} in {host / folder}")
    print(TO_DO.format(folder))
    return 0


def refuse_unsuitable(host: Path, folder: Path) -> None:
    """Raise GateError unless the gate, or its update, can be staged in the host."""
    is_repository = (host / ".git").exists()
    is_template = (host / "scripts/tools").exists()
    if not is_repository or is_template or ".." in folder.parts:
        raise GateError(
            "INTO must be the top of another git repository, FOLDER a folder in it"
        )
    if git("status", "--porcelain", cwd=host, failure="git status failed"):
        raise GateError(f"{host} has uncommitted changes: commit or stash them")


def export(commit: str, folder: Path, tree: Path) -> None:
    """Write the gate of one commit to a folder, as the host has it: the workflows at the top."""
    archive = f"{tree}.tar"
    git(
        "archive",
        f"--prefix={folder}/",
        f"--output={archive}",
        commit,
        *COPIED,
        *LEFT_OUT,
        cwd=ROOT,
        failure=f"{commit[:12]} is not in this clone of the template: git fetch --unshallow",
    )
    shutil.unpack_archive(archive, tree)
    (tree / folder / ".github").rename(tree / ".github")
    (tree / folder / ADOPTED).write_text(f"{commit}\n")
    for workflow in workflows(tree):
        text = workflow.read_text()
        workflow.write_text(GATES_FOLDER.sub(f"{folder}/", text))
    # The template's source is upstream's repository; the host's is the host.
    example = tree / folder / ".env.example"
    text = example.read_text()
    example.write_text(
        re.sub("(?m)^EMULATOR_SOURCE=.*", "EMULATOR_SOURCE=", text)
    )


def workflows(tree: Path) -> Iterator[Path]:
    """Yield the workflows of an export, none if it is empty."""
    yield from (tree / WORKFLOWS).glob("*.yml")


def make_room(host: Path, new: Path) -> None:
    """Remove the host's own release workflow. Raises GateError if another file is in the way."""
    in_the_way = []
    for path in sorted(new.rglob("*")):
        name = str(path.relative_to(new))
        if name == RELEASE or name in UNITED or path.is_dir():
            continue
        if (host / name).exists():
            in_the_way.append(name)
    if in_the_way:
        raise GateError(
            f"{host} has {', '.join(in_the_way)} already: name another FOLDER"
        )
    removed = git(
        "rm", "--ignore-unmatch", RELEASE, cwd=host, failure="git rm failed"
    )
    if removed:
        print(removed)


def keep_moved_pins(host: Path, old: Path, new: Path) -> None:
    """Write the pins that the host has moved into both exports, so that they are no difference.

    Dependabot moves pins in the host, and we move them here: each would be a conflict.
    """
    exported = [*workflows(old), *workflows(new)]
    of_host = pins(
        host / WORKFLOWS / name for name in {path.name for path in exported}
    )
    moved = dict(of_host - pins(workflows(old)))

    def newest(pin: re.Match[str]) -> str:
        return f"{pin[1]}@{moved.get(pin[1], pin[2])}"

    for workflow in exported:
        workflow.write_text(PIN.sub(newest, workflow.read_text()))


def pins(files: Iterable[Path]) -> set[tuple[str, str]]:
    """Return each action that workflows use, with what it is pinned to."""
    found = set()
    for path in files:
        if path.exists():
            found.update(PIN.findall(path.read_text()))
    return found


def keep_out_of_images(host: Path) -> None:
    """Add what the gate writes at the top to .dockerignore: `COPY . .` would take it along."""
    file = host / ".dockerignore"
    lines = []
    if file.exists():
        lines = file.read_text().splitlines()
    missing = [name for name in workspace.OWN if name not in lines]
    if missing:
        file.write_text("\n".join([*lines, *missing, ""]))
        git("add", file.name, cwd=host, failure="git add failed")


def merge(host: Path, old: Path, new: Path) -> None:
    """Stage the difference between two exports in the host, merged by git."""
    store = new.with_name("store")
    hashes = git(
        "rev-parse",
        "--show-object-format",
        cwd=host,
        failure="git rev-parse failed",
    )
    init(store, hashes)
    for tree in (old, new):
        commit_export(tree, store)
    git(
        "fetch",
        "--quiet",
        "--no-tags",
        store,
        "HEAD",
        cwd=host,
        failure="git fetch failed",
    )
    attributes = store / "united"
    attributes.write_text("".join(f"/{name} merge=union\n" for name in UNITED))
    stream(
        [
            "git",
            "-c",
            f"core.attributesFile={attributes}",
            "cherry-pick",
            "--no-commit",
            "FETCH_HEAD",
        ],
        cwd=host,
        failure="resolve the conflicts and commit",
    )


def commit_export(tree: Path, store: Path) -> None:
    """Commit all files of a folder, and nothing else, to a repository that lies elsewhere."""
    places = (f"--git-dir={store}", f"--work-tree={tree}")
    git(*places, "add", "--force", "--all", cwd=tree, failure="git add failed")
    git(
        *places,
        *COMMITTER,
        "commit",
        "--allow-empty",
        "--no-gpg-sign",
        "--message=gate",
        cwd=tree,
        failure="git commit failed",
    )


if __name__ == "__main__":
    run_main(main)
