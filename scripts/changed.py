"""make changed: do the commits between BASE and HEAD touch what the gate guards?"""

import os
from pathlib import Path

from gate.cli import GateError, github_output, run_main
from gate.settings import load, local
from gate.sources.git import git
from gate.workspace import ROOT

# They shape the gate, whatever GATED_PATHS says.
ALWAYS = ("Makefile", "makefile", "GNUmakefile", ".env", ".env.example", "scripts/**")
WORKFLOWS = (".github/workflows/sam-cli-compat*.yml", ".github/workflows/ecr-release.yml")


def main() -> int:
    """Print and hand on `gated=true` or `gated=false`, with the files that decided it; return 0."""
    settings = load()
    try:
        decided = touched(os.environ.get("BASE", ""), settings.gated_paths)
        if not decided:
            check(local(settings.emulator_source), settings.gated_paths)
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
    return git("diff", *options, f"{commit}...HEAD", "--", *guarded(globs), cwd=ROOT, failure=failure).splitlines()


def guarded(globs: tuple[str, ...]) -> list[str]:
    """Return the pathspecs of the globs, which begin at the repository's top, and of the gate's own files."""
    return [*(f":(top,glob){glob}" for glob in (*globs, *WORKFLOWS)), *(f":(glob){own}" for own in ALWAYS)]


def check(source: Path, globs: tuple[str, ...]) -> None:
    """Raise GateError if the globs leave out what the candidate is built of: then they are another repository's."""
    top = Path(git("rev-parse", "--show-toplevel", cwd=ROOT, failure="git cannot find the repository's top"))
    folder = source.resolve()
    if not folder.is_dir() or not folder.is_relative_to(top.resolve()):
        return  # a URL, or another repository: no commit here changes it
    if not (folder / "Dockerfile").is_file():
        raise GateError(f"EMULATOR_SOURCE: {folder} has no Dockerfile")
    path = str((folder / "Dockerfile").relative_to(top.resolve()))
    listed = git("ls-files", "--full-name", "--", *guarded(globs), cwd=ROOT, failure="git ls-files failed")
    if path not in listed.splitlines():
        raise GateError(f"GATED_PATHS leaves out {path}, of which the candidate is built")


if __name__ == "__main__":
    run_main(main)
