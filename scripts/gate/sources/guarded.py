"""What the gate guards in this repository: the emulator's files, and its own."""

from pathlib import Path

from gate.cli import GateError
from gate.settings import local
from gate.sources.emulator import is_url, parts
from gate.sources.git import git
from gate.workspace import ROOT

# They shape the gate, whatever GATED_PATHS says: in its own folder, and at the repository's top.
ALWAYS = ("Makefile", "makefile", "GNUmakefile", ".env", ".env.example", "scripts", "scripts/**")
WORKFLOWS = (".github/workflows/sam-cli-compat*.y*ml", ".github/workflows/ecr-release*.y*ml")
# The user's own settings of `git diff` must not hide a file. A renamed file is one deleted and one added, so that
# moving it out counts.
DIFF = ("diff", "--name-status", "--no-renames", "--no-relative", "--ignore-submodules=none", "--no-ext-diff")


def touched(base: str, globs: tuple[str, ...]) -> list[str]:
    """Return the guarded files that `git diff BASE...HEAD` names, each as git prints it: `M<tab>path`.

    Raises GateError if git cannot answer.
    """
    if not base:
        raise GateError("no BASE was given")
    no_commit = f"BASE={base!r} is not a commit in this clone"
    verify = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    commit = git(*verify, cwd=ROOT, failure=no_commit)
    unrelated = f"BASE={base!r} has no history in common with HEAD in this clone"
    return git(*DIFF, f"{commit}...HEAD", "--", *pathspecs(globs), cwd=ROOT, failure=unrelated).splitlines()


def check_covered(source: str, globs: tuple[str, ...]) -> None:
    """Raise GateError if it cannot be shown that the globs cover the Dockerfile of EMULATOR_SOURCE."""
    given, fragment = parts(source)
    if is_url(given):
        return  # no commit here changes it
    top = Path(git("rev-parse", "--show-toplevel", cwd=ROOT, failure="git cannot find the repository's top")).resolve()
    folder = local(given).resolve()
    if folder.is_dir() and not folder.is_relative_to(top):
        return  # another repository
    if fragment or not (folder / "Dockerfile").is_file():
        raise GateError(f"EMULATOR_SOURCE={source} does not name a folder of this repository with a Dockerfile")
    path = str((folder / "Dockerfile").relative_to(top))
    listing = ("ls-files", "--full-name", "-z", "--", *pathspecs(globs))
    if path not in git(*listing, cwd=ROOT, failure="git ls-files failed").split("\0"):
        raise GateError(f"GATED_PATHS leaves out {path}, of which the candidate is built")


def pathspecs(globs: tuple[str, ...]) -> list[str]:
    """Return git's pathspecs of the globs, which begin at the repository's top, and of the gate's own files.

    `src/**` also adds `src` itself, which may be a submodule or a symbolic link.
    """
    every = (*globs, *WORKFLOWS, *(glob.removesuffix("/**") for glob in globs))
    return [*(f":(top,glob){glob}" for glob in every), *(f":(glob){path}" for path in ALWAYS)]
