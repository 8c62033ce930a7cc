"""make adopt INTO=../repo [FOLDER=.sam-cli-compat]: copy the gate there, or update the copy."""

import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gate.cli import GateError, run_main, stream
from gate.git import git
from gate.workspace import ROOT

WORKFLOWS, RELEASE = ".github/workflows", ".github/workflows/ecr-release.yml"
UNITED = (".gitignore", ".gitattributes")  # with the host's own, if the gate is at its top
COPIED = (WORKFLOWS, *UNITED, "Makefile", ".env.example", "scripts", "docs")
LEFT_OUT = (":!*/ci.yml", ":!scripts/tools", ":!scripts/tests", ":!*-dev.txt", ":!*.in", ":!*.toml")
FOLDER_MARK = re.compile(r"(?<![\w./])\./(?=\n|\.compat|\.cache)")
PIN = re.compile(r"(uses: [^@\s]+)@(.+)")
TO_DO = """Check these in {0}/.env.example, then read {0}/docs/RELEASING.md:
  EMULATOR_SOURCE     is empty: the folder of the emulator's Dockerfile, seen from the gate's folder
  EMULATOR_PREBUILD   what runs there before `docker build`, if anything
  GATED_PATHS         every path that shapes the image, seen from the repository's top
  RELEASE_TAG_PREFIX  how the emulator's part of a release's tag begins, such as testing-v"""


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
        keep_pins_of_dependabot(host, old, new)
        merge(host, old, new)
    print(f"Staged the gate of {commit[:12]} in {host / folder}\n{TO_DO.format(folder)}")
    return 0


def export(commit: str, folder: Path, tree: Path) -> None:
    archive = ("archive", f"--prefix={folder}/", f"--output={tree}.tar", commit)
    missing = f"{commit[:12]} is not in this clone of the template: git fetch --unshallow"
    git(*archive, *COPIED, *LEFT_OUT, cwd=ROOT, failure=missing)
    shutil.unpack_archive(f"{tree}.tar", tree)
    (tree / folder / ".github").rename(tree / ".github")
    (tree / folder / "scripts/ADOPTED").write_text(f"{commit}\n")
    for file in (*(tree / WORKFLOWS).iterdir(), tree / folder / ".env.example"):
        text = FOLDER_MARK.sub(f"{folder}/", file.read_text())
        file.write_text(re.sub("(?m)^EMULATOR_SOURCE=.*", "EMULATOR_SOURCE=", text))


def keep_pins_of_dependabot(host: Path, old: Path, new: Path) -> None:
    exports = [*old.rglob("*.yml"), *new.rglob("*.yml")]  # workflows
    there = {host / WORKFLOWS / workflow.name for workflow in exports}
    own = {pin for path in there if path.exists() for pin in PIN.findall(path.read_text())}
    moved = dict(own.difference(*(PIN.findall(path.read_text()) for path in old.rglob("*.yml"))))
    for workflow in exports:
        text = workflow.read_text()
        workflow.write_text(PIN.sub(lambda pin: f"{pin[1]}@{moved.get(pin[1], pin[2])}", text))


def merge(host: Path, old: Path, new: Path) -> None:
    store = new.with_name("store")
    for tree in (old, new):
        tree.mkdir(exist_ok=True)
        to = (f"--git-dir={store}", f"--work-tree={tree}")
        commit = "-c user.name=gate -c user.email=gate commit --allow-empty --no-gpg-sign -m gate"
        for step in ("init", "add --force --all", commit):
            git(*to, *step.split(), cwd=tree, failure=f"git {step} failed")
    git("fetch", "--quiet", "--no-tags", store, "HEAD", cwd=host, failure="git fetch failed")
    (store / "union").write_text("/.gitignore merge=union\n/.gitattributes merge=union\n")
    pick = ["git", "-c", f"core.attributesFile={store}/union", "cherry-pick", "--no-commit"]
    stream([*pick, "FETCH_HEAD"], cwd=host, failure="resolve the conflicts and commit")


if __name__ == "__main__":
    run_main(main)
