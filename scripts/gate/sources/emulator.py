"""The emulator: its source folder, the git revision of that, and the build."""

import re
import shutil
import tempfile
from pathlib import Path

from gate import workspace
from gate.cli import GateError
from gate.containers import engine
from gate.containers.images import LABEL
from gate.programs import call, stream, tools_path
from gate.settings import Settings, local
from gate.sources import git
from gate.text import without_secrets

# Variables of the make that called this: they would change a prebuild that is make itself.
NOT_HANDED_ON = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHONDONTWRITEBYTECODE"}


def fetch(settings: Settings) -> tuple[Path, str]:
    """Return the folder of EMULATOR_SOURCE and the URL it came from without secrets, "" if there is no remote."""
    given, fragment = parts(settings.emulator_source)
    folder = local(given).resolve()
    if not fragment and folder.is_dir():
        try:
            remote = git.git("remote", "get-url", "origin", cwd=folder, failure="no remote")
        except GateError:
            remote = ""
        return folder, without_secrets(remote) if "://" in remote or "@" in remote else ""
    if not folder.is_dir() and not is_url(given):
        raise GateError(f"EMULATOR_SOURCE: {given} is not a folder and not a git URL (URL[#ref[:folder]])")
    url = str(folder) if folder.is_dir() else given
    ref, _, below = fragment.partition(":")
    refs = git.listing(url, setting="EMULATOR_SOURCE")
    git.worktree(url, git.resolve(url, ref, refs, setting="EMULATOR_SOURCE"), workspace.EMULATOR)
    found = (workspace.EMULATOR / below).resolve()
    if not found.is_dir() or not found.is_relative_to(workspace.EMULATOR.resolve()):
        raise GateError(f"EMULATOR_SOURCE: there is no folder {below} at {without_secrets(given)}#{ref}")
    return found, "" if folder.is_dir() else without_secrets(given)


def parts(source: str) -> tuple[str, str]:
    """Return folder or URL, and what follows its `#`; a folder may have one in its name."""
    given, _, fragment = source.partition("#")
    return (source, "") if local(source).is_dir() else (given, fragment)


def is_url(source: str) -> bool:
    """Return whether git would fetch a source from elsewhere."""
    return bool(re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", source))


def prebuild(settings: Settings, folder: Path, log: Path) -> None:
    """Run EMULATOR_PREBUILD, if there is one, in the emulator's folder."""
    if settings.emulator_prebuild:
        failure = f"EMULATOR_PREBUILD={settings.emulator_prebuild!r} failed in {folder}: fix it, or leave it empty"
        stream(settings.emulator_prebuild, failure=failure, log=log, cwd=folder, env=_environment(folder))


def build(folder: Path, labels: dict[str, str], tag: str, log: Path) -> None:
    """Build the image of a folder and give it a tag. Raises GateError if buildx is missing or the build fails."""
    if not (folder / "Dockerfile").is_file():
        raise GateError(f"EMULATOR_SOURCE: {folder} has no Dockerfile")
    call(["docker", "buildx", "version"], failure="docker buildx is missing: install it, or run `make engine`")
    with tempfile.TemporaryDirectory() as scratch:
        # Not --iidfile: in containerd's store it may hold an id that the engine does not know an image by.
        command = ["docker", "buildx", "build", "--load", "--progress=plain", f"--tag={tag}"]
        # Empty labels too, since they hide those of the base image; without a version the Dockerfile's own stays.
        command += [f"--label={LABEL}.{name}={value}" for name, value in labels.items() if value or name != "version"]
        command += _without_the_gate(folder, Path(scratch))
        stream(
            [*command, "."], failure=f"docker build failed in {folder}", log=log, cwd=folder, env=_environment(folder)
        )


def revision(folder: Path, *, tracked_only: bool = False) -> str:
    """Return the commit of a folder, with -dirty if its tree differs from it; "" outside git.

    A folder that a repository around it ignores is outside. With `tracked_only` new files are no difference.
    """
    commit, top = _commit(folder)
    if not commit:
        return ""
    failure = f"git status failed in {folder}"
    with tempfile.TemporaryDirectory() as scratch:
        # Git compares every file with an index of its own: what the user's hides (assume-unchanged, skip-worktree, an
        # edit that kept size and time) is a difference.
        index = Path(scratch, "index")
        git.git("read-tree", commit, cwd=folder, index=index, failure=failure)
        new = f"--untracked-files={'no' if tracked_only else 'normal'}"
        status = ("status", "--porcelain", "--no-renames", "--ignore-submodules=none", new, "--", ":(top)")
        changes = git.git(*status, cwd=folder, index=index, failure=failure).splitlines()
    if workspace.ROOT.is_relative_to(top):  # the gate's .env, which no image gets
        changes = [change for change in changes if change != f"?? {(workspace.ROOT / '.env').relative_to(top)}"]
    return f"{commit}-dirty" if changes else commit


def _commit(folder: Path) -> tuple[str, str]:
    """Return the commit of a folder and the top of its repository; "" twice outside git."""
    try:
        failure = f"git cannot find the commit of {folder}"
        commit, top = git.git("rev-parse", "HEAD", "--show-toplevel", cwd=folder, failure=failure).splitlines()
    except GateError as error:
        if any("not a git repository" in line or "unknown revision" in line for line in error.detail):
            return "", ""
        raise
    return ("", "") if git.succeeds("check-ignore", "--quiet", ".", cwd=folder) else (commit, top)


def wheel_version(folder: Path) -> str:
    """Return the version in the name of the one wheel in dist/ (PEP 427), "" if there is none."""
    wheels = sorted(wheel.name for wheel in (folder / "dist").glob("*.whl"))
    if len(wheels) > 1:
        raise GateError(f"{folder}/dist has more than one wheel ({', '.join(wheels)}): EMULATOR_PREBUILD must clear it")
    if not wheels:
        return ""
    words = wheels[0].removesuffix(".whl").split("-")
    if len(words) not in (5, 6):
        raise GateError(
            f"{folder}/dist/{wheels[0]} does not have the name of a wheel: EMULATOR_PREBUILD must clear dist/"
        )
    return words[1]


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of EMULATOR_PREBUILD and of the build."""
    kept = {name: value for name, value in engine.cli_environment().items() if name not in NOT_HANDED_ON}
    if (commit := _commit(folder)[0]) and "SOURCE_DATE_EPOCH" not in kept:
        # The same wheel and image twice, so that no layer is built again.
        failure = f"git log failed in {folder}"
        kept["SOURCE_DATE_EPOCH"] = git.git("log", "-1", "--format=%ct", commit, cwd=folder, failure=failure)
    return kept | {"PATH": tools_path(), "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


def _without_the_gate(folder: Path, scratch: Path) -> list[str]:
    """Return the options that keep the gate's own files out of a build in a folder around it.

    They are a gigabyte of checkouts, and `COPY . .` would make another image each time. BuildKit reads what to ignore
    from beside the Dockerfile: `scratch` gets a copy, with the gate added to what the folder's own file says.
    """
    if not workspace.ROOT.is_relative_to(folder):
        return []
    own = [file for file in (folder / "Dockerfile.dockerignore", folder / ".dockerignore") if file.is_file()]
    lines = own[0].read_text(encoding="utf-8").splitlines() if own else []
    kept_out = [workspace.ROOT]
    if folder == workspace.ROOT:
        kept_out = [workspace.CACHE, workspace.COMPAT]
        if not git.succeeds("ls-files", "--error-unmatch", ".env", cwd=folder):
            kept_out.append(folder / ".env")
    for path in kept_out:
        lines += [name := f"/{path.relative_to(folder)}", f"{name}/**"]  # the latter undoes an earlier `!*/**`
    shutil.copy(folder / "Dockerfile", scratch)
    (scratch / "Dockerfile.dockerignore").write_text("\n".join(lines), encoding="utf-8")
    return [f"--file={scratch / 'Dockerfile'}"]
