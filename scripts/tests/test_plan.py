"""make plan: which commits and releases are tested, and the rows of what is tested."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gate.settings import versions_in_tag

from .support.gate import Gate, commit_settings, copy_template
from .support.git import commit_all, git

AMD64 = "linux-amd64"
BOTH = (AMD64, "linux-arm64")


class Planned(Gate):
    """A committed copy of the template, and what `make plan` says of it."""

    @property
    def output(self) -> Path:
        """The file of the step's outputs."""
        return self.root.with_name("output")

    def write(self, *paths: str) -> None:
        """Change files and commit them."""
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            with (self.root / path).open("a") as file:
                file.write("# changed\n")
        commit_all(self.root)

    def planned(
        self, settings: dict[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """Run the script, with an output that is empty before."""
        self.output.unlink(missing_ok=True)
        quiet = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "GITHUB_OUTPUT": str(self.output),
        }
        return self.script("plan.py", **quiet, **settings)

    def plan(self, base: str = "HEAD~1", **settings: str) -> dict[str, str]:
        """Return the outputs of the step, with what it printed as `printed`."""
        done = self.planned({"BASE": base, "CI": ""} | settings)
        assert done.returncode == 0, done.stdout
        lines = self.output.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines) | {
            "printed": done.stdout
        }

    def reasons(self, base: str = "HEAD~1", **settings: str) -> list[str]:
        """Return `gated=…` and the reasons, as they are printed."""
        plan = self.plan(base, **settings)
        first, *lines = plan["printed"].replace("\t", " ").splitlines()
        assert first == f"gated={plan['gated']}"
        return [
            first,
            *(line.strip() for line in lines if line.startswith("  ")),
        ]

    def rows(
        self, base: str = "HEAD~1", **settings: str
    ) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = json.loads(
            self.plan(base, **settings)["rows"]
        )
        return rows

    def refused(self, **settings: str) -> str:
        """Return the error of a plan that cannot be made, and hands on nothing."""
        done = self.planned(settings)
        assert (done.returncode, self.output.exists()) == (2, False), (
            done.stdout
        )
        error = done.stdout.splitlines()[-1]
        assert error.startswith("error: ")
        return error


def names(rows: list[dict[str, str]], *keys: str) -> list[Any]:
    """Return the values of some keys of each row."""
    if len(keys) == 1:
        return [row[keys[0]] for row in rows]
    return [tuple(row[key] for key in keys) for row in rows]


NOT_GATED = [
    "gated=false",
    "nothing has changed in GATED_PATHS, in SDK_SOURCE or in the gate",
]


@pytest.fixture(scope="module")
def sam_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits on develop: v1.0.0 and its branch; v1.1.0 (annotated); develop and next."""
    folder = tmp_path_factory.mktemp("plan") / "sam-cli"
    folder.mkdir()
    commit_all(folder, "one")
    git("tag", "v1.0.0", cwd=folder)
    commit_all(folder, "two")
    git("tag", "--annotate", "--message=x", "v1.1.0", cwd=folder)
    commit_all(folder, "three")
    git("branch", "next", cwd=folder)
    return folder


def commit_of(sam_cli: Path, ref: str) -> str:
    return git("rev-parse", f"{ref}^{{commit}}", cwd=sam_cli)


def prepared(root: Path, sam_cli: Path, **settings: str) -> Planned:
    repository = Planned(copy_template(root), {})
    shutil.rmtree(root / "scripts/tests")
    settings |= {"EMULATOR_SOURCE": ".", "GATED_PATHS": "src/** Dockerfile"}
    commit_settings(repository, SAMCLI_SOURCE=str(sam_cli), **settings)
    return repository


@pytest.fixture
def repository(tmp_path: Path, sam_cli: Path) -> Planned:
    found = prepared(tmp_path / "template", sam_cli)
    found.write(
        "Dockerfile",
        "src/a.py",
        "docs/b.md",
        ".github/workflows/sam-cli-compat.yml",
    )
    return found


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, sam_cli: Path) -> Planned:
    """A repository whose last commit changes the emulator. No test changes it."""
    found = prepared(tmp_path_factory.mktemp("gated") / "template", sam_cli)
    found.write("Dockerfile")
    found.write("src/a.py")
    return found


# --- is it gated?


def test_a_change_of_nothing_guarded_is_not_gated(repository: Planned) -> None:
    repository.write(
        "docs/Dockerfile", "docs/src/x", "srcs", ".github/workflows/x.yml"
    )
    plan = repository.plan()
    assert plan["printed"].splitlines()[0] == "gated=false"
    assert (plan["gated"], plan["rows"], plan["images"]) == (
        "false",
        "[]",
        "[]",
    )


def test_what_is_not_gated_needs_no_aws_sam_cli(repository: Planned) -> None:
    repository.write("docs/b.md")
    assert repository.reasons(SAMCLI_SOURCE="/nowhere") == NOT_GATED


def test_what_is_guarded_and_the_gates_own_files_are_gated(
    repository: Planned,
) -> None:
    own = (
        ".env.example",
        ".gitattributes",
        ".github/workflows/ecr-release.yml",
        ".github/workflows/promote.yml",
        ".github/workflows/sam-cli-compat.yml",
        "Makefile",
    )
    repository.write(
        "src/deep/new.py", "scripts/gate/rules.py", *own, "docs/b.md"
    )
    new = ("src/deep/new.py", ".gitattributes", *own[2:4])
    kind = dict.fromkeys(new, "A")
    wanted = sorted([*own, "src/deep/new.py", "scripts/gate/rules.py"])
    assert repository.reasons() == [
        "gated=true",
        *(f"{kind.get(p, 'M')} {p}" for p in wanted),
    ]


def test_a_file_that_is_moved_out_and_a_folder_that_becomes_a_link_are_gated(
    repository: Planned,
) -> None:
    git("mv", "src/a.py", "docs/a.py", cwd=repository.root)
    git("mv", "scripts", "elsewhere", cwd=repository.root)
    (repository.root / "scripts").symlink_to("elsewhere")
    repository.write("docs/b.md")
    wanted = {"gated=true", "D src/a.py", "A scripts", "D scripts/VERSION"}
    assert wanted <= set(repository.reasons())


def test_in_a_hook_git_still_reads_this_repository(repository: Planned) -> None:
    repository.write("src/a.py")
    variables = (
        "DIR",
        "INDEX_FILE",
        "WORK_TREE",
        "OBJECT_DIRECTORY",
        "LITERAL_PATHSPECS",
    )
    elsewhere = str(repository.root.parent / "elsewhere")
    hook = {f"GIT_{name}": elsewhere for name in variables}
    assert repository.reasons(**hook) == ["gated=true", "M src/a.py"]


def test_what_the_base_did_meanwhile_does_not_count(
    repository: Planned,
) -> None:
    git("checkout", "--quiet", "-b", "topic", cwd=repository.root)
    repository.write("docs/b.md")
    git("checkout", "--quiet", "develop", cwd=repository.root)
    repository.write("src/a.py")
    git("checkout", "--quiet", "topic", cwd=repository.root)
    assert repository.reasons("develop") == NOT_GATED


@pytest.mark.parametrize("base", ["", "0" * 40, "no-such-branch", "--all"])
def test_a_base_that_cannot_be_compared_is_a_doubt(
    gated: Planned, base: str
) -> None:
    first, last = gated.reasons(base)
    assert first == "gated=true"
    assert last.startswith("in doubt: ")


def test_a_folder_without_a_repository_is_a_doubt_in_one_line(
    repository: Planned,
) -> None:
    shutil.rmtree(repository.root / ".git")
    printed = repository.plan()["printed"].splitlines()
    assert printed[0] == "gated=true"
    assert printed[1].startswith("  in doubt: there is no commit")
    assert printed[2].startswith(f"{AMD64} develop: ")


@pytest.mark.parametrize(
    ("source", "globs"),
    [(".", "src/**"), ("docs", "src/** Dockerfile"), ("nowhere", "*")],
)
def test_globs_that_leave_out_the_dockerfile_are_a_doubt(
    gated: Planned, source: str, globs: str
) -> None:
    found = gated.reasons("HEAD", EMULATOR_SOURCE=source, GATED_PATHS=globs)
    assert found[0] == "gated=true"
    assert found[1].startswith("in doubt: GATED_PATHS does not cover ")


def test_no_commit_changes_an_emulator_that_is_built_from_a_url(
    gated: Planned,
) -> None:
    url = "https://host/emulator.git#main"
    found = gated.reasons("HEAD", EMULATOR_SOURCE=url, GATED_PATHS="src/**")
    assert found == NOT_GATED


def test_a_gate_in_a_folder_of_its_own(repository: Planned) -> None:
    top = repository.root
    folder = repository.root / "gate"
    folder.mkdir()
    for name in ("Makefile", ".env.example", "scripts", ".cache"):
        (top / name).rename(folder / name)
    repository.write("docs/b.md")
    in_folder = Planned(folder, {"EMULATOR_SOURCE": ".."})
    # A user's own git may show only what is below the folder.
    git("config", "diff.relative", "true", cwd=top)
    for path, found in (
        ("gate/scripts/VERSION", ["gated=true", "M gate/scripts/VERSION"]),
        (
            ".github/workflows/promote.yml",
            ["gated=true", "A .github/workflows/promote.yml"],
        ),
        ("src/b", ["gated=true", "A src/b"]),
        ("scripts/b", NOT_GATED),
    ):
        repository.write(path)
        assert in_folder.reasons() == found


def test_a_source_may_be_a_link_to_its_folder(repository: Planned) -> None:
    (repository.root / "emulator").symlink_to("src")
    (repository.root / "sdk").symlink_to("docs")
    repository.write("src/Dockerfile")
    repository.write("docs/b.md")
    found = repository.reasons(EMULATOR_SOURCE="emulator")
    assert found == NOT_GATED
    found = repository.reasons(EMULATOR_SOURCE="emulator", SDK_SOURCE="sdk")
    assert found == ["gated=true", "M docs/b.md"]


@pytest.mark.parametrize(
    ("tag", "prefix", "versions"),
    [
        ("v1.3.0", "v", ["1.3.0"]),
        ("sdk-v1.8.0,testing-v1.3.0", "testing-v", ["1.3.0"]),
        ("validator-1.0,v1.3.0.post1", "v", ["1.3.0.post1"]),
        ("1.3.0", "", ["1.3.0"]),
        ("sdk-v1.8.0,testing-v1.3.0", "v", []),
        ("sdk-v1.8.0,otel-v0.3.0", "testing-v", []),
        ("testing-video-1.0", "testing-v", []),
        ("validator-1.0", "v", []),
        ("vnext", "v", []),
        ("v", "v", []),
        ("nightly", "", []),
    ],
)
def test_a_part_of_a_tag_is_the_emulators_if_a_version_follows_the_prefix(
    tag: str, prefix: str, versions: list[str]
) -> None:
    assert versions_in_tag(tag, prefix) == versions


def test_a_release_is_gated_if_a_part_of_its_tag_is_the_emulators(
    gated: Planned,
) -> None:
    prefix = {"RELEASE_TAG_PREFIX": "testing-v"}
    both = gated.reasons("", RELEASE_TAG="sdk-v1.8.0,testing-v1.3.0", **prefix)
    assert both == ["gated=true", "testing-v1.3.0"]
    other = gated.reasons("", RELEASE_TAG="sdk-v1.8.0,otel-v0.3.0", **prefix)
    assert other == [
        "gated=false",
        "the tag sdk-v1.8.0,otel-v0.3.0 has no part testing-vVERSION (RELEASE_TAG_PREFIX)",
    ]


def test_a_committed_file_that_would_steer_the_gate_is_refused_in_ci(
    repository: Planned,
) -> None:
    for name in (".env", ".cache/x", ".compat/linux-amd64/verdict.json"):
        (repository.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.root / name).touch()
        git("add", "--force", name, cwd=repository.root)
        commit_all(repository.root)
        assert repository.reasons() == NOT_GATED
        error = repository.refused(BASE="HEAD~1", CI="true")
        assert name in error.partition(" is committed: remove it from git")[0]


# --- what is tested?


def test_a_pull_request_is_one_row_on_the_first_platform(
    gated: Planned, sam_cli: Path
) -> None:
    plan = gated.plan(GITHUB_EVENT_NAME="pull_request")
    commit = commit_of(sam_cli, "develop")
    row = {
        "platform": AMD64,
        "name": "develop",
        "image": "candidate",
        "sdk": "released",
        "refs": f"develop@{commit}",
        "compared_refs": "",
        "requested_as": "develop",
    }
    assert json.loads(plan["rows"]) == [row]
    assert json.loads(plan["images"]) == [
        {"platform": AMD64, "sdk": "released"}
    ]
    last = plan["printed"].splitlines()[-1]
    assert (
        last
        == f"{AMD64} develop: the candidate, aws-sam-cli develop at {commit[:12]}"
    )


@pytest.mark.parametrize(
    "event", ["merge_group", "schedule", "workflow_dispatch"]
)
def test_any_other_run_has_a_row_on_each_platform(
    gated: Planned, event: str
) -> None:
    plan = gated.plan(GITHUB_EVENT_NAME=event)
    assert names(json.loads(plan["rows"]), "platform", "name") == [
        (p, "develop") for p in BOTH
    ]
    assert names(json.loads(plan["images"]), "platform") == list(BOTH)


def test_a_release_has_a_row_for_each_commit_on_each_platform(
    gated: Planned, sam_cli: Path
) -> None:
    tag = {"RELEASE_TAG": "v1.3.0", "GITHUB_EVENT_NAME": "release"}
    refs = {"INPUT_REFS": "develop latest", "INPUT_COMPARED_REFS": "latest:6"}
    plan = gated.plan("", **tag, **refs)
    develop, newest, older = (
        f"{ref}@{commit_of(sam_cli, ref)}"
        for ref in ("develop", "v1.1.0", "v1.0.0")
    )
    rows = json.loads(plan["rows"])
    assert names(rows, "platform") == [
        platform for platform in BOTH for _ in range(3)
    ]
    # The newest release must pass, although it is one of the six that are compared.
    wanted = [
        (develop, "", "develop"),
        (newest, "", "latest latest:6"),
        ("", older, "latest:6"),
    ]
    assert names(rows, "refs", "compared_refs", "requested_as") == wanted * 2
    assert (plan["refs"], plan["compared-refs"]) == (
        "develop latest",
        "latest:6",
    )
    assert names(json.loads(plan["images"]), "platform") == list(BOTH)


def test_a_commit_with_several_names_is_one_row(
    gated: Planned, sam_cli: Path
) -> None:
    develop = commit_of(sam_cli, "develop")
    older = commit_of(sam_cli, "v1.0.0")
    compared = f"{develop} v1.0.0 refs/tags/v1.0.0"
    words = {
        "INPUT_REFS": f"next develop@{develop}",
        "INPUT_COMPARED_REFS": compared,
    }
    rows = gated.rows(GITHUB_EVENT_NAME="pull_request", **words)
    assert names(rows, "name", "refs", "compared_refs", "requested_as") == [
        ("next", f"next@{develop}", "", f"next develop@{develop} {develop}"),
        ("v1.0.0", "", f"v1.0.0@{older}", "v1.0.0 refs/tags/v1.0.0"),
    ]


def test_refs_that_are_committed_are_tested_where_a_run_names_none(
    gated: Planned,
) -> None:
    refs = {"SAMCLI_REFS": "develop", "SAMCLI_COMPARED_REFS": "v1.0.0"}
    rows = gated.rows(GITHUB_EVENT_NAME="pull_request", **refs)
    assert [bool(row["compared_refs"]) for row in rows] == [False, True]


@pytest.mark.parametrize(
    "form", ["{tag}", "refs/tags/{tag}", "{short}", "{full}"]
)
def test_a_row_has_the_full_commit(
    gated: Planned, sam_cli: Path, form: str
) -> None:
    """Also of an annotated tag, and of an abbreviated commit."""
    commit = commit_of(sam_cli, "v1.1.0")
    word = form.format(tag="v1.1.0", short=commit[:10], full=commit)
    (row,) = gated.rows(GITHUB_EVENT_NAME="pull_request", INPUT_REFS=word)
    assert row["refs"] == f"{word}@{commit}"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"INPUT_REFS": "develop no-such"},
            "SAMCLI_REFS: .* no branch, tag or commit no-such",
        ),
        (
            {"INPUT_COMPARED_REFS": "0" * 40},
            "SAMCLI_COMPARED_REFS: .* no branch, tag or commit 00",
        ),
        (
            {"INPUT_REFS": "develop\ngated=false"},
            "no branch, tag or commit gated=false",
        ),
        (
            {"SAMCLI_SOURCE": "/nowhere"},
            "SAMCLI_SOURCE: /nowhere cannot be reached",
        ),
        ({"PUBLISH_PLATFORMS": ""}, "PUBLISH_PLATFORMS is empty"),
    ],
    ids=["ref", "commit", "newline", "source", "platforms"],
)
def test_what_cannot_be_resolved_ends_the_plan(
    gated: Planned, given: dict[str, str], error: str
) -> None:
    assert re.search(error, gated.refused(**given))


def test_more_than_a_hundred_rows_are_an_error_that_says_so(
    gated: Planned, tmp_path: Path
) -> None:
    sam_cli = tmp_path / "sam-cli"
    sam_cli.mkdir()
    commit_all(sam_cli)
    for minor in range(51):
        git(
            "commit",
            "--quiet",
            "--allow-empty",
            f"--message={minor}",
            cwd=sam_cli,
        )
        git("tag", f"v1.{minor}.0", cwd=sam_cli)
    source = {"SAMCLI_SOURCE": str(sam_cli)}
    assert len(gated.rows(INPUT_REFS="latest:50", **source)) == 100
    error = gated.refused(INPUT_REFS="latest:51", **source)
    assert error.startswith(
        "error: the plan has 102 rows, more than 100: name fewer refs"
    )


def test_the_name_of_a_row_is_its_own_and_may_name_an_artifact(
    gated: Planned, tmp_path: Path
) -> None:
    sam_cli = tmp_path / "sam-cli"
    sam_cli.mkdir()
    for branch in ("fix/a", "fix-a", "fix\u00e9a"):
        commit_all(sam_cli, branch)
        git("branch", branch, cwd=sam_cli)
    second = commit_of(sam_cli, "fix-a")
    third = commit_of(sam_cli, "fix\u00e9a")
    words = {
        "SAMCLI_SOURCE": str(sam_cli),
        "INPUT_REFS": "fix/a fix-a fix\u00e9a",
    }
    rows = gated.rows(GITHUB_EVENT_NAME="pull_request", **words)
    assert names(rows, "name") == [
        "fix-a",
        f"fix-a-{second[:12]}",
        f"fix-a-{third[:12]}",
    ]


# --- the SDK of the same commit


@pytest.fixture(scope="module")
def monorepo(
    tmp_path_factory: pytest.TempPathFactory, sam_cli: Path
) -> Planned:
    """Four commits: neither package, the SDK, the emulator, both. No test changes it."""
    root = tmp_path_factory.mktemp("monorepo") / "template"
    found = prepared(root, sam_cli, SDK_SOURCE="packages/sdk")
    found.write("Dockerfile", "packages/sdk/pyproject.toml")
    for paths in (
        ("docs/a",),
        ("packages/sdk/a.py",),
        ("src/a.py",),
        ("packages/sdk/b.py", "src/b.py"),
    ):
        found.write(*paths)
    return found


CANDIDATE = ("develop", "candidate", "released", "strict")
WITH_SDK = ("develop-source", "candidate", "source", "strict")
PUBLISHED = ("develop-published-source", "published", "source", "compared")


@pytest.mark.parametrize(
    ("commit", "wanted"),
    [
        ("HEAD~3", []),
        ("HEAD~2", [WITH_SDK, PUBLISHED]),
        ("HEAD~1", [CANDIDATE]),
        # Its image may need the SDK of this commit, which is not on the index.
        ("HEAD", [WITH_SDK, PUBLISHED]),
    ],
    ids=["neither", "SDK", "emulator", "both"],
)
def test_a_pull_request_that_changes_the_sdk_is_tested_with_it(
    monorepo: Planned, commit: str, wanted: list[Any]
) -> None:
    git("checkout", "--quiet", commit, cwd=monorepo.root)
    plan = monorepo.plan(GITHUB_EVENT_NAME="pull_request")
    git("checkout", "--quiet", "develop", cwd=monorepo.root)
    rows = json.loads(plan["rows"])
    kinds = [
        (
            *names([row], "name", "image", "sdk")[0],
            "strict" if row["refs"] else "compared",
        )
        for row in rows
    ]
    assert kinds == wanted
    sdks = [sdk for _, image, sdk, _ in wanted if image == "candidate"]
    assert names(json.loads(plan["images"]), "platform", "sdk") == [
        (AMD64, sdk) for sdk in sdks
    ]


def test_the_log_says_what_each_row_tests(
    monorepo: Planned, sam_cli: Path
) -> None:
    plan = monorepo.plan(GITHUB_EVENT_NAME="pull_request")
    ref = f"aws-sam-cli develop at {commit_of(sam_cli, 'develop')[:12]}"
    with_ref = f"with the SDK of this commit, {ref}"
    assert plan["printed"].splitlines()[-2:] == [
        f"{AMD64} develop-source: the candidate {with_ref}",
        f"{AMD64} develop-published-source: the published image {with_ref}"
        ", only regressions count",
    ]


def test_a_change_of_the_sdk_is_a_reason(monorepo: Planned) -> None:
    git("checkout", "--quiet", "HEAD~2", cwd=monorepo.root)
    reasons = monorepo.reasons()
    without = monorepo.reasons(SDK_SOURCE="")
    git("checkout", "--quiet", "develop", cwd=monorepo.root)
    assert reasons == ["gated=true", "A packages/sdk/a.py"]
    assert without == NOT_GATED


def test_what_is_of_both_packages_is_one_reason(monorepo: Planned) -> None:
    found = monorepo.reasons(GATED_PATHS="**")
    assert found == ["gated=true", "A packages/sdk/b.py", "A src/b.py"]


def test_a_change_of_the_sdk_is_tested_on_each_platform_of_the_queue(
    monorepo: Planned,
) -> None:
    rows = monorepo.rows(GITHUB_EVENT_NAME="merge_group")
    kinds = [WITH_SDK[0], PUBLISHED[0]]
    assert names(rows, "platform", "name") == [
        (p, name) for p in BOTH for name in kinds
    ]


def test_the_nightly_run_has_both_sdks(monorepo: Planned) -> None:
    rows = monorepo.rows("", GITHUB_EVENT_NAME="schedule")
    kinds = [CANDIDATE[0], WITH_SDK[0]]
    assert names(rows, "platform", "name") == [
        (p, name) for p in BOTH for name in kinds
    ]


def test_a_release_has_the_released_sdk_only(monorepo: Planned) -> None:
    rows = monorepo.rows("", GITHUB_EVENT_NAME="release", RELEASE_TAG="v1.3.0")
    assert names(rows, "sdk") == ["released", "released"]


def test_an_sdk_folder_without_a_committed_file_is_a_doubt(
    gated: Planned,
) -> None:
    reasons = gated.reasons("HEAD", SDK_SOURCE="packages/sdk")
    assert reasons == [
        "gated=true",
        "in doubt: SDK_SOURCE=packages/sdk has no committed file",
    ]
