"""make changed: do the commits between BASE and HEAD touch what the gate guards?"""

import os
from pathlib import Path

from gate.cli import GateError, github_output, run_main
from gate.settings import load, local
from gate.sources.emulator import is_url
from gate.sources.git import git
from gate.workspace import ROOT

# They shape the gate, whatever GATED_PATHS says: in its own folder, and at the repository's top.
ALWAYS = ("Makefile", "makefile", "GNUmakefile", ".env", ".env.example", "scripts/**")
WORKFLOWS = (".github/workflows/sam-cli-compat*.y*ml", ".github/workflows/ecr-release*.y*ml")
GLOBS = ("--no-literal-pathspecs",)  # GIT_LITERAL_PATHSPECS would make every glob a name that no file has


def main() -> int:
    """Print and hand on `gated=true` or `gated=false`, with the files that decided it; return 0."""
    settings = load()
    try:
        decided = touched(os.environ.get("BASE", ""), settings.gated_paths)
        if not decided:
            check(settings.emulator_source, settings.gated_paths)
    except GateError as doubt:
        decided = [f"when in doubt, the gate runs: {doubt}"]
    answer = "true" if decided else "false"
    print(f"gated={answer}", *(f"  {line}" for line in decided), sep="\n", flush=True)
    github_output(gated=answer)
    return 0


def touched(base: str, globs: tuple[str, ...]) -> list[str]:
    """Return the guarded files that `git diff BASE...HEAD` names, each as git prints it: `M<tab>path`.

    A renamed file is one deleted and one added, so that moving it out counts. Raises GateError if git cannot answer.
    """
    if not base:
        raise GateError("no BASE was given")
    commit = git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}",
        cwd=ROOT, failure=f"BASE={base!r} is not a commit in this clone",
    )  # fmt: skip
    # A reader's own settings of `git diff` must not hide a file.
    options = ("--name-status", "--no-renames", "--no-relative", "--ignore-submodules=none", "--no-ext-diff")
    failure = f"BASE={base!r} has no history in common with HEAD in this clone"
    return git(
        *GLOBS, "diff", *options, f"{commit}...HEAD", "--", *guarded(globs), cwd=ROOT, failure=failure
    ).splitlines()


def guarded(globs: tuple[str, ...]) -> list[str]:
    """Return the pathspecs of the globs, which begin at the repository's top, and of the gate's own files.

    With `src/**` goes `src` itself, which may be a submodule or a symbolic link.
    """
    top, own = [glob.removesuffix("/**") for glob in (*globs, *WORKFLOWS)], [*ALWAYS, "scripts"]
    return [*(f":(top,glob){glob}" for glob in (*globs, *top)), *(f":(glob){path}" for path in own)]


def check(source: str, globs: tuple[str, ...]) -> None:
    """Raise GateError if it cannot be shown that the globs cover what the candidate is built of."""
    given, _, fragment = source.partition("#")
    if is_url(given):
        return  # no commit here changes it
    top = Path(git("rev-parse", "--show-toplevel", cwd=ROOT, failure="git cannot find the repository's top"))
    folder = local(given).resolve()
    if folder.is_dir() and not folder.is_relative_to(top.resolve()):
        return  # another repository
    if fragment or not (folder / "Dockerfile").is_file():
        raise GateError(f"EMULATOR_SOURCE={source} does not name a folder of this repository with a Dockerfile")
    path = str((folder / "Dockerfile").relative_to(top.resolve()))
    listed = git(
        *GLOBS, "ls-files", "--full-name", "-z", "--", *guarded(globs), cwd=ROOT, failure="git ls-files failed"
    )
    if path not in listed.split("\0"):
        raise GateError(f"GATED_PATHS leaves out {path}, of which the candidate is built")


if __name__ == "__main__":
    run_main(main)
