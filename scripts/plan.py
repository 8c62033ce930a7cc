"""make plan: is this run gated, and what is tested where: the rows of the gate's matrix."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from gate import emulator, git, samcli
from gate.cli import github_output, run_main
from gate.programs import GateError
from gate.rows import Row
from gate.samcli import SamCli
from gate.settings import Settings, load, path_of, versions_in_tag
from gate.workspace import OWN, ROOT, file_name

# The gate's own files always count, whatever GATED_PATHS says.
GATE_FILES = [
    "Makefile",
    ".env.example",
    ".gitattributes",
    "scripts",
    ":(top).github/workflows/sam-cli-compat.yml",
    ":(top).github/workflows/ecr-release.yml",
    ":(top).github/workflows/promote.yml",
]
# Each row is a job that takes minutes; GitHub refuses a matrix of more than 256.
MOST_ROWS = 100


@dataclass
class Reasons:
    """Why a run is gated: changed files, parts of a release's tag, or a doubt.

    `compared`: the commits of this run could be compared with BASE.
    """

    emulator: list[str]
    sdk: list[str] = field(default_factory=list)
    compared: bool = False


@dataclass(frozen=True)
class Kind:
    """An image, and the SDK in it and in the functions under test.

    With the published image only regressions count: users have that image already.
    """

    image: str
    sdk: str


CANDIDATE = Kind("candidate", "released")
# What a release of both packages will be.
CANDIDATE_WITH_SDK = Kind("candidate", "source")
# What users have in the minute after the SDK's release.
PUBLISHED_WITH_SDK = Kind("published", "source")


def main() -> int:
    """Print what is tested and why, and hand it on to the workflow. In doubt it is tested."""
    settings = with_inputs(load())
    if os.environ.get("CI") and (committed := git.tracked(*OWN)):
        names = ", ".join(committed)
        raise GateError(f"{names} is committed: remove it from git")
    reasons = reasons_of(settings)
    why = list(dict.fromkeys(reasons.emulator + reasons.sdk))
    rows = list(rows_of(settings, reasons)) if why else []
    if len(rows) > MOST_ROWS:
        raise GateError(
            f"the plan has {len(rows)} rows, more than {MOST_ROWS}: name fewer refs in "
            "SAMCLI_REFS and SAMCLI_COMPARED_REFS"
        )
    # Each of them once, in the order of the rows.
    images = dict.fromkeys((row.platform, row.sdk) for row in rows)
    gated = "true" if why else "false"
    print(f"gated={gated}", *(why or [why_not(settings)]), sep="\n  ")
    for row in rows:
        print(f"{row.platform} {row.name}: {in_words(row)}")
    github_output(
        gated=gated,
        images=json.dumps(
            [{"platform": platform, "sdk": sdk} for platform, sdk in images]
        ),
        rows=json.dumps([asdict(row) for row in rows]),
        refs=" ".join(settings.samcli_refs),
        compared_refs=" ".join(settings.samcli_compared_refs),
    )
    return 0


def with_inputs(settings: Settings) -> Settings:
    """Return the settings with the refs that a manual run or a release names instead."""
    refs = os.environ.get("INPUT_REFS", "").split()
    compared_refs = os.environ.get("INPUT_COMPARED_REFS", "").split()
    return replace(
        settings,
        samcli_refs=refs or settings.samcli_refs,
        samcli_compared_refs=compared_refs or settings.samcli_compared_refs,
    )


# --- is it gated?


def reasons_of(settings: Settings) -> Reasons:
    """Return why this run is gated, nothing if it is not."""
    if tag := os.environ.get("RELEASE_TAG"):
        prefix = settings.release_tag_prefix
        versions = versions_in_tag(tag, prefix)
        return Reasons([f"{prefix}{version}" for version in versions])
    base = os.environ.get("BASE")
    if not base:
        return Reasons(["in doubt: there is no BASE"])
    try:
        # Outside of a repository `git diff` prints its whole usage (devcontainers/cli#796).
        git.git(
            "rev-parse", "--git-dir", cwd=ROOT, failure="there is no commit"
        )
        return Reasons(
            list(_touching_the_emulator(base, settings)),
            list(_touching_the_sdk(base, settings)),
            compared=True,
        )
    except GateError as doubt:
        return Reasons([f"in doubt: {doubt}"])


def why_not(settings: Settings) -> str:
    """Return why a run is not gated."""
    if tag := os.environ.get("RELEASE_TAG"):
        prefix = settings.release_tag_prefix
        return f"the tag {tag} has no part {prefix}VERSION (RELEASE_TAG_PREFIX)"
    return "nothing has changed in GATED_PATHS, in SDK_SOURCE or in the gate"


def _touching_the_emulator(base: str, settings: Settings) -> Iterator[str]:
    globs = [f":(top,glob){glob}" for glob in settings.gated_paths]
    paths = [*GATE_FILES, *globs]
    yield from _changes(base, paths)
    # No commit of this repository changes an emulator that is built from a URL.
    if emulator.is_url(settings.emulator_source):
        return
    folder = path_of(settings.emulator_source).resolve()
    dockerfile = os.path.relpath(folder / "Dockerfile", ROOT)
    if dockerfile not in git.tracked(*paths):
        yield f"in doubt: GATED_PATHS does not cover {dockerfile}"


def _touching_the_sdk(base: str, settings: Settings) -> Iterator[str]:
    if not settings.sdk_source:
        return
    folder = os.path.relpath(path_of(settings.sdk_source).resolve(), ROOT)
    paths = [f":(literal){folder}"]
    yield from _changes(base, paths)
    if not git.tracked(*paths):
        yield f"in doubt: SDK_SOURCE={settings.sdk_source} has no committed file"


def _changes(base: str, paths: list[str]) -> list[str]:
    """Return the files below some paths that the commits since BASE changed, with git's letter."""
    return git.git(
        "diff",
        "--name-status",
        "--no-relative",
        f"{base}...HEAD",
        "--",
        *paths,
        cwd=ROOT,
        failure=f"BASE={base!r} cannot be compared with HEAD",
    ).splitlines()


# --- what is tested?


def platforms(settings: Settings) -> list[str]:
    """Return the platforms as they stand in names of jobs, such as linux-amd64."""
    names = list(map(file_name, settings.publish_platforms))
    if os.environ.get("GITHUB_EVENT_NAME") == "pull_request":
        # On arm64 the functions under test are emulated, which takes long
        # (FACTS.md#amd64-functions).
        return names[:1]
    return names


def kinds(settings: Settings, reasons: Reasons) -> list[Kind]:
    """Return the images and SDKs to test."""
    # A release is built with what is on the index.
    if not settings.sdk_source or os.environ.get("RELEASE_TAG"):
        return [CANDIDATE]
    # In the nightly run, for one, a break is known before the SDK's release and not after it.
    if not reasons.compared:
        return [CANDIDATE, CANDIDATE_WITH_SDK]
    if not reasons.sdk:
        return [CANDIDATE]
    # Not with the released SDK: the emulator of this commit may require the SDK of this commit
    # (FACTS.md#both-packages).
    return [CANDIDATE_WITH_SDK, PUBLISHED_WITH_SDK]


def rows_of(settings: Settings, reasons: Reasons) -> Iterator[Row]:
    """Yield the rows, those of a platform one after another."""
    sam_clis = samcli.resolve(settings)
    for platform in platforms(settings):
        names: set[str] = set()
        for kind in kinds(settings, reasons):
            for sam_cli in sam_clis:
                ref = f"{sam_cli.ref}@{sam_cli.commit}"
                compared = (
                    sam_cli.only_regressions_count or kind.image == "published"
                )
                yield Row(
                    platform=platform,
                    name=_unique_name(kind, sam_cli, names),
                    image=kind.image,
                    sdk=kind.sdk,
                    refs="" if compared else ref,
                    compared_refs=ref if compared else "",
                    requested_as=" ".join(sam_cli.requested_as),
                )


def _unique_name(kind: Kind, sam_cli: SamCli, taken: set[str]) -> str:
    """Return a name that is not taken yet, without what an artifact's name must not have."""
    suffixes = [] if kind.image == "candidate" else [kind.image]
    suffixes += [] if kind.sdk == "released" else [kind.sdk]
    ref = file_name(sam_cli.ref)
    name = "-".join([ref, *suffixes])
    if name in taken:
        name = "-".join([ref, sam_cli.commit[:12], *suffixes])
    taken.add(name)
    return name


def in_words(row: Row) -> str:
    """Return what a row tests, for a reader of the log."""
    ref, _, commit = (row.refs or row.compared_refs).rpartition("@")
    image = (
        "the candidate" if row.image == "candidate" else "the published image"
    )
    sdk = " with the SDK of this commit" if row.sdk == "source" else ""
    counts = "" if row.refs else ", only regressions count"
    return f"{image}{sdk}, aws-sam-cli {ref} at {commit[:12]}{counts}"


if __name__ == "__main__":
    run_main(main)
