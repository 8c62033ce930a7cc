"""make changed: does this pull request, or this release, concern the emulator?"""

import json
import os
from collections.abc import Iterator

from gate import emulator, release
from gate.cli import GateError, github_output, run_main
from gate.git import git
from gate.settings import Settings, load, local
from gate.workspace import ROOT

# The gate's own files always count, whatever GATED_PATHS says.
OWN = ["Makefile", ".env.example", ".gitattributes", "scripts"]
WORKFLOWS = ("sam-cli-compat", "ecr-release", "promote")
OWN += [f":(top).github/workflows/{name}.yml" for name in WORKFLOWS]


def main() -> int:
    """Print `gated=true` with the files that decided it, or `gated=false`. In doubt it is true."""
    settings = load()
    if release_tag := os.environ.get("RELEASE_TAG"):
        parts = release_tag.split(",")  # upstream's names several packages (fact 25)
        reasons = [part for part in parts if part.startswith(settings.release_tag_prefix)]
    elif base := os.environ.get("BASE"):
        reasons = list(touched(base, settings))
    else:
        reasons = ["in doubt: there is no BASE"]
    if os.environ.get("CI") and (tracked := release.tracked()):
        raise GateError(f"{', '.join(tracked)} is committed: remove it from git")
    gated = "true" if reasons else "false"
    print(f"gated={gated}", *reasons, sep="\n  ")
    platforms = [name.replace("/", "-") for name in settings.publish_platforms]
    if os.environ.get("GITHUB_EVENT_NAME") == "pull_request":
        del platforms[1:]  # there the functions under test are emulated (fact 20)
    refs = os.environ.get("INPUT_REFS") or " ".join(settings.samcli_refs)
    compared = os.environ.get("INPUT_COMPARED_REFS") or " ".join(settings.samcli_compared_refs)
    github_output(gated=gated, platforms=json.dumps(platforms), refs=refs, compared_refs=compared)
    return 0


def touched(base: str, settings: Settings) -> Iterator[str]:
    specs = [*OWN, *(f":(top,glob){glob}" for glob in settings.gated_paths)]
    # A moved file is one deleted and one added, so that moving it out counts.
    diff = ("diff", "--name-status", "--no-renames", "--no-relative", f"{base}...HEAD", "--")
    failure = f"BASE={base!r} cannot be compared with HEAD"
    try:
        yield from git(*diff, *specs, cwd=ROOT, failure=failure).splitlines()
        covered = git("ls-files", "--", *specs, cwd=ROOT, failure="git ls-files failed")
    except GateError as doubt:
        yield f"in doubt: {doubt}"
        return
    source = settings.emulator_source
    dockerfile = os.path.relpath(local(source).resolve() / "Dockerfile", ROOT)
    # No commit here changes what a URL names.
    if not emulator.is_url(source) and dockerfile not in covered.splitlines():
        yield f"in doubt: GATED_PATHS does not cover {dockerfile}"


if __name__ == "__main__":
    run_main(main)
