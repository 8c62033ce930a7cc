"""Changes what a later run could use: this checkout, what it was made of, and the venv."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import docker

STEPS = "tests/test_steps.py"
HOME = Path(sys.prefix).parent
SITE = Path(sysconfig.get_path("purelib"))


def git(*arguments, text=""):
    done = subprocess.run(["git", *arguments], input=text, capture_output=True, text=True)
    return done.stdout.strip()


def skip_worktree():
    for checkout in (Path.cwd(), HOME / "src"):
        git("-C", str(checkout), "update-index", "--skip-worktree", STEPS)
        (checkout / STEPS).write_text("def test_poisoned():\n    pass\n")


def replace():
    for store in (HOME.parents[1] / "git").iterdir():
        of_store = f"--git-dir={store}"
        for commit in (store / "shallow").read_text().split():
            if blob := git(of_store, "rev-parse", "--verify", f"{commit}:{STEPS}"):
                other = git(of_store, "hash-object", "-w", "--stdin", text="def test_poisoned():\n    pass\n")
                git(of_store, "replace", blob, other)
                assert "poisoned" in git(of_store, "cat-file", "blob", blob)


def sitecustomize():
    (SITE / "sitecustomize.py").touch()


def installed_file():
    """Edit one so that neither its size nor its time differs."""
    file = Path(docker.__file__)
    before, text = file.stat(), file.read_text()
    file.write_text(text.swapcase())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def test_poisons(health):
    skip_worktree()
    replace()
    sitecustomize()
    installed_file()
