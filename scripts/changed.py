"""make changed: do the commits between BASE and HEAD touch what the gate guards?"""

import os
from pathlib import Path

from command import GateError, entry
from config import ROOT, load, local
from gitrepo import git


def main() -> int:
    """Answer `gated=true` or `gated=false`, with the files that decided it, for people and for Actions; return 0."""
    config = load()
    try:
        decided = touched(ROOT, os.environ.get("BASE", ""), config.gated_paths)
        if not decided:
            check(ROOT, local(config.emulator_source) / "Dockerfile", config.gated_paths)
    except GateError as doubt:
        decided = [f"when in doubt, the gate runs: {doubt}"]
    answer = f"gated={'true' if decided else 'false'}"
    print(answer, *(f"  {line}" for line in decided), sep="\n", flush=True)
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as handle:
            handle.write(f"{answer}\n")
    return 0


def touched(root: Path, base: str, globs: tuple[str, ...]) -> list[str]:
    """Return the files below one of the globs that `git diff base...HEAD` names, each as git tells it: `M<tab>path`.

    A renamed file is one deleted and one added, so that moving it out counts.
    Raises GateError if git cannot tell: no base, a base or a merge base that this clone lacks.
    """
    if not base:
        raise GateError("no BASE was given")
    commit = git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}",
        cwd=root, failure=f"BASE={base!r} is no commit in this clone",
    )  # fmt: skip
    listing = git(
        # A reader's own settings of `git diff` must not hide a file.
        "diff", "--name-status", "--no-renames", "--no-relative", "--ignore-submodules=none", f"{commit}...HEAD",
        "--", *(f":(top,glob){glob}" for glob in globs),
        cwd=root, failure=f"BASE={base!r} has no history in common with HEAD in this clone",
    )  # fmt: skip
    return listing.splitlines()


def check(root: Path, dockerfile: Path, globs: tuple[str, ...]) -> None:
    """Raise GateError if a Dockerfile of this repository is below none of the globs: then they are of another one."""
    top = Path(git("rev-parse", "--show-toplevel", cwd=root, failure="git does not tell the repository's top"))
    dockerfile = dockerfile.resolve()
    if dockerfile.is_file() and dockerfile.is_relative_to(top):
        path = str(dockerfile.relative_to(top))
        guarded = git(
            "ls-files",
            "--full-name",
            "--",
            *(f":(top,glob){glob}" for glob in globs),
            cwd=root,
            failure="git ls-files failed",
        )
        if path not in guarded.splitlines():
            raise GateError(f"GATED_PATHS leaves out {path}, of which the candidate is built")


if __name__ == "__main__":
    entry(main)
