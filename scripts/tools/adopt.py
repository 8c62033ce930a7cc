"""make adopt INTO=../repo [FOLDER=.sam-cli-compat]: copy the gate there, or update the copy."""

import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate.cli import GateError, run_main, stream
from gate.git import environment, git
from gate.workspace import ROOT

RELEASE = ".github/workflows/ecr-release.yml"
WORKFLOWS = (RELEASE, ".github/workflows/sam-cli-compat.yml", ".github/workflows/promote.yml")
UNITED = (".gitignore", ".gitattributes")  # with the host's own, if the gate is at its top
OTHERS = ("Makefile", ".env.example", "scripts", "docs/CONTRACT.md", "docs/RELEASING.md")
LEFT_OUT = (":!scripts/tools", ":!scripts/tests", ":!scripts/*-dev.txt", ":!scripts/*.in")
FOLDER_MARK = re.compile(r"(?<![\w./])\./(?=\n|\.compat|\.cache)")
PIN = re.compile(r"(uses: [^@\s]+)@(.+)")
IDENTITY = ("-c", "user.name=template", "-c", "user.email=template@localhost")
TO_DO = """Check these in {0}/.env.example, then read {0}/docs/RELEASING.md:
  EMULATOR_SOURCE     the folder of the emulator's Dockerfile, seen from the gate's folder
  EMULATOR_PREBUILD   what runs there before `docker build`; empty if nothing does
  GATED_PATHS         every path that shapes the image, seen from the repository's top
  RELEASE_TAG_PREFIX  how the emulator's part of a release's tag begins, such as testing-v
  PUBLISH_REPOSITORY  where releases are pushed; empty: EMULATOR_REPOSITORY"""


def main() -> int:
    host = Path(os.environ.get("INTO") or ROOT).expanduser().resolve()
    folder = Path(os.path.relpath(host / (os.environ.get("FOLDER") or ".sam-cli-compat"), host))
    if not (host / ".git").exists() or (host / "scripts/tools").exists() or ".." in folder.parts:
        raise GateError("INTO must be the top of another git repository, FOLDER a folder in it")
    if git("status", "--porcelain", cwd=host, failure="git status failed"):
        raise GateError(f"{host} has uncommitted changes: commit or stash them")
    record = host / folder / "scripts/ADOPTED"
    commit = git("rev-parse", "HEAD", cwd=ROOT, failure="the template must be a git clone")
    with TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        export(commit, folder, new)
        if record.exists():
            export(record.read_text().strip(), folder, old)
        else:
            files = {str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()}
            if there := [name for name in files - {RELEASE, *UNITED} if (host / name).exists()]:
                raise GateError(f"{host} has {', '.join(there)} already: name another FOLDER")
            print(git("rm", "--ignore-unmatch", RELEASE, cwd=host, failure="git rm failed"))
        keep_pins(host, old, new)
        merge(host, old, new)
    print(f"Staged the gate of {commit[:12]} in {host / folder}\n{TO_DO.format(folder)}")
    return 0


def export(commit: str, folder: Path, tree: Path) -> None:
    """Write what a host gets of a commit to `tree`, as it lies in the host."""
    missing = f"{commit[:12]} is not in this clone of the template: git fetch --unshallow"
    copied = (*WORKFLOWS, *UNITED, *OTHERS)  # an older commit may lack some
    found = git("ls-tree", "--name-only", commit, *copied, cwd=ROOT, failure=missing).split()
    archive = ("archive", f"--prefix={folder}/", f"--output={tree}.tar", commit, *found, *LEFT_OUT)
    git(*archive, cwd=ROOT, failure="git archive failed")
    shutil.unpack_archive(f"{tree}.tar", tree)
    (tree / folder / ".github").rename(tree / ".github")
    (tree / folder / "scripts/ADOPTED").write_text(f"{commit}\n")
    for workflow in tree.glob(".github/workflows/*"):
        workflow.write_text(FOLDER_MARK.sub(f"{folder}/", workflow.read_text()))


def keep_pins(host: Path, old: Path, new: Path) -> None:
    """Write the pins that moved in the host, as Dependabot moves them, to both exports."""
    own = "\n".join((host / name).read_text() for name in WORKFLOWS if (host / name).exists())
    before = "\n".join(workflow.read_text() for workflow in old.glob(".github/workflows/*"))
    moved = dict(set(PIN.findall(own)) - set(PIN.findall(before)))
    for workflow in (*old.glob(".github/workflows/*"), *new.glob(".github/workflows/*")):
        text = workflow.read_text()
        workflow.write_text(PIN.sub(lambda pin: f"{pin[1]}@{moved.get(pin[1], pin[2])}", text))


def merge(host: Path, old: Path, new: Path) -> None:
    # The host fetches commits of them: of the template's own objects it would have only the ids.
    # Unlike `git apply`, a merge goes on where the host has removed or renamed a file.
    store = new.with_name("store")
    for tree in (old, new):
        tree.mkdir(exist_ok=True)
        to = (f"--git-dir={store}", f"--work-tree={tree}", *IDENTITY)
        for step in ("init", "add --force --all", "commit --allow-empty --no-gpg-sign -m gate"):
            git(*to, *step.split(), cwd=tree, failure=f"git {step} failed")
    git("fetch", "--quiet", "--no-tags", store, "HEAD", cwd=host, failure="git fetch failed")
    (store / "union").write_text("/.gitignore merge=union\n/.gitattributes merge=union\n")
    pick = ["git", "-c", f"core.attributesFile={store}/union", "cherry-pick", "--no-commit"]
    stream([*pick, "FETCH_HEAD"], cwd=host, env=environment(), failure="resolve the conflicts")


if __name__ == "__main__":
    run_main(main)
