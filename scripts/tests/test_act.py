"""Every event that starts a workflow, run by act with stand-ins for the actions and for make."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from gate.workspace import ROOT

from .act.stand_ins import verdict
from .act.workflows import ACT, Ran, Repository
from .support.gate import Gate, commit_settings, copy_template
from .support.git import commit_all, git
from .support.machine import missing

AMD64 = "linux-amd64"
ARM64 = "linux-arm64"
PLAN = "sam-cli compat: plan"
REQUIRED = "sam-cli-compat"
REQUIRED_OF_RELEASE = "sam-cli-compat (release)"
APPROVAL = "sam-cli compat release: approval"
PUBLISH = "sam-cli compat release: publish"
RELEASED = "sdk-v1.7.0,testing-v1.2.1"
SUBJECT = "attest registry/emulator@sha256:index"
# The refs of a release, in a repository of aws-sam-cli with two releases.
REFS = ("develop", "v1.1.0", "v1.0.0")


def build(platform: str) -> str:
    return f"sam-cli compat: build ({platform})"


def gate(platform: str, *names: str) -> list[str]:
    return [f"sam-cli compat: gate ({platform}, {name})" for name in names]


def both(*names: str) -> list[str]:
    """Return the jobs of a run on both platforms."""
    builds = [build(AMD64), build(ARM64)]
    return builds + gate(AMD64, *names) + gate(ARM64, *names)


def succeeded(*jobs: str) -> dict[str, str]:
    return dict.fromkeys(jobs, "success")


@pytest.fixture(scope="session")
def sam_cli(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A repository of aws-sam-cli: its path, and the commit of each ref."""
    if not ACT.exists():
        missing("no act: make .cache/venv/ready-dev")
    folder = tmp_path_factory.mktemp("act") / "sam-cli"
    folder.mkdir()
    commits = {"path": str(folder)}
    for ref in reversed(REFS):
        commits[ref] = commit_all(folder, ref)
        if ref != "develop":
            git("tag", ref, cwd=folder)
    return commits


@pytest.fixture(scope="session")
def repository(
    tmp_path_factory: pytest.TempPathFactory, sam_cli: dict[str, str]
) -> Repository:
    """An emulator's repository with the gate at its top."""
    root = copy_template(tmp_path_factory.mktemp("act") / "origin")
    return with_gate(root, sam_cli)


def with_gate(
    root: Path, sam_cli: dict[str, str], **settings: str
) -> Repository:
    shutil.copytree(ROOT / ".github", root / ".github")
    shutil.rmtree(root / "scripts/tests")
    (root / "Dockerfile").write_text("FROM scratch\n")
    settings |= {
        "RELEASE_TAG_PREFIX": "testing-v",
        "GATED_PATHS": "src/** Dockerfile",
    }
    settings |= {"EMULATOR_SOURCE": ".", "SAMCLI_SOURCE": sam_cli["path"]}
    commit_settings(Gate(root, {}), **settings)
    return Repository(root)


@pytest.fixture(scope="class")
def pull_request(repository: Repository) -> Ran:
    return repository.pull_request("src/a.py")


class TestPullRequest:
    def test_that_touches_nothing_gated_passes_without_a_build(
        self, repository: Repository
    ) -> None:
        ran = repository.pull_request("README.md")
        assert ran.jobs == succeeded(PLAN, REQUIRED)
        assert ran.env("plan", "BASE", "RELEASE_TAG") == [
            ("refs/remotes/origin/main", "")
        ]

    def test_that_touches_the_emulator_is_one_row_on_one_platform(
        self, pull_request: Ran, sam_cli: dict[str, str]
    ) -> None:
        row = gate(AMD64, "develop")
        assert pull_request.jobs == succeeded(
            PLAN, build(AMD64), *row, REQUIRED
        )
        built = ("COMPAT_SAVE_IMAGE", "COMPAT_SDK", "RELEASE_TAG")
        assert pull_request.env("image", *built) == [("1", "released", "")]
        names = (
            "SAMCLI_REFS",
            "SAMCLI_COMPARED_REFS",
            "COMPAT_SDK",
            "EMULATED",
            "SET_UP_PYTHON",
        )
        develop = f"develop@{sam_cli['develop']}"
        assert pull_request.env("compat", *names) == [
            (develop, "", "released", "", "3.13")
        ]
        machines = [
            call["machine"]
            for call in pull_request.calls
            if call.get("machine")
        ]
        assert machines == ["ubuntu-24.04", "ubuntu-24.04"]

    def test_image_and_verdict_are_kept_as_long_as_its_run_can_be_repeated(
        self, pull_request: Ran
    ) -> None:
        image = f"image-{AMD64}"
        verdict = f"compat-{AMD64}-develop"
        days = {
            call["did"]: call["days"]
            for call in pull_request.calls
            if "days" in call
        }
        assert days == {f"upload {image}": "30", f"upload {verdict}": "30"}
        assert pull_request.files(image) == {
            f"{AMD64}/candidate.json": f"built {AMD64} released",
            f"{AMD64}/image.tar": f"image {AMD64} released",
        }
        assert pull_request.files(verdict).keys() == {
            f"{AMD64}/{name}"
            for name in ("candidate.json", "verdict.json", "logs/shard.log")
        }

    def test_shows_a_table_of_its_rows_beside_the_required_check(
        self, pull_request: Ran
    ) -> None:
        table = [line for line in pull_request.printed if line.startswith("|")]
        assert table == [
            f"| aws-sam-cli | {AMD64} |",
            "| --- | --- |",
            f"| develop | develop on {AMD64}: 40 passed |",
        ]

    def test_into_another_branch_is_gated_whatever_it_touches(
        self, repository: Repository
    ) -> None:
        ran = repository.pull_request("README.md", into="dev")
        row = gate(AMD64, "develop")
        assert ran.jobs == succeeded(PLAN, build(AMD64), *row, REQUIRED)
        assert ran.env("plan", "BASE") == [("",)]

    def test_whose_image_cannot_be_built_fails_the_required_check(
        self, repository: Repository
    ) -> None:
        ran = repository.pull_request("src/a.py", failing=f"image:{AMD64}")
        assert ran.jobs == succeeded(PLAN) | {
            build(AMD64): "failure",
            REQUIRED: "failure",
        }

    def test_that_is_red_fails_the_required_check_and_leaves_its_verdict(
        self, repository: Repository
    ) -> None:
        ran = repository.pull_request(
            "src/a.py", failing=f"compat:{AMD64}:develop"
        )
        red = dict.fromkeys([*gate(AMD64, "develop"), REQUIRED], "failure")
        assert ran.jobs == succeeded(PLAN, build(AMD64)) | red
        assert f"{AMD64}/verdict.json" in ran.files(f"compat-{AMD64}-develop")

    def test_run_again_takes_the_place_of_the_first_run(
        self, repository: Repository, pull_request: Ran
    ) -> None:
        second = repository.pull_request("src/a.py", again=pull_request)
        assert second.jobs == pull_request.jobs

    def test_in_a_fork_has_its_check(self, repository: Repository) -> None:
        ran = repository.pull_request("README.md", fork=True)
        assert ran.jobs == succeeded(PLAN, REQUIRED)


class TestQueue:
    def test_tests_both_platforms(self, repository: Repository) -> None:
        ran = repository.merge_group("src/a.py")
        assert ran.jobs == succeeded(PLAN, *both("develop"), REQUIRED)
        machines = ["ubuntu-24.04", "ubuntu-24.04-arm"]
        assert [call["machine"] for call in ran.of("image")] == machines
        assert [call["machine"] for call in ran.of("compat")] == machines
        assert ran.env("compat", "EMULATED") == [("",), ("amd64",)]

    def test_passes_what_touches_nothing_gated(
        self, repository: Repository
    ) -> None:
        ran = repository.merge_group("README.md")
        assert ran.jobs == succeeded(PLAN, REQUIRED)

    def test_one_red_row_fails_the_merge_and_stops_no_other(
        self, repository: Repository
    ) -> None:
        ran = repository.merge_group(
            "src/a.py", failing=f"compat:{ARM64}:develop"
        )
        assert ran.jobs[REQUIRED] == "failure"
        for platform in (AMD64, ARM64):
            assert f"{platform}/verdict.json" in ran.files(
                f"compat-{platform}-develop"
            )


class TestOtherRuns:
    def test_nightly_run_is_gated_and_not_the_required_check(
        self, repository: Repository
    ) -> None:
        ran = repository.schedule()
        required = "sam-cli-compat (schedule)"
        assert ran.jobs == succeeded(PLAN, *both("develop"), required)
        assert ran.env("plan", "BASE") == [("",)]

    def test_nightly_run_does_not_start_in_a_fork(
        self, repository: Repository
    ) -> None:
        assert repository.schedule(fork=True).jobs == {}

    def test_manual_run_tests_the_refs_that_it_was_given(
        self, repository: Repository, sam_cli: dict[str, str]
    ) -> None:
        inputs = {"refs": "v1.0.0", "compared_refs": "develop"}
        ran = repository.dispatch("sam-cli-compat.yml", **inputs)
        required = "sam-cli-compat (workflow_dispatch)"
        assert ran.jobs == succeeded(PLAN, *both("v1.0.0", "develop"), required)
        strict = (f"v1.0.0@{sam_cli['v1.0.0']}", "")
        compared = ("", f"develop@{sam_cli['develop']}")
        refs = ran.env("compat", "SAMCLI_REFS", "SAMCLI_COMPARED_REFS")
        assert sorted(refs) == sorted([strict, compared] * 2)

    def test_checks_of_the_template_itself(
        self, repository: Repository
    ) -> None:
        ran = repository.run("ci.yml", "push", {"ref": "refs/heads/main"})
        assert ran.jobs == succeeded("lint", "test")
        assert ran.steps("lint") == ["make lint"]
        assert ran.steps("test") == ["make engine", "make test"]
        assert ran.env("lint", "SET_UP_PYTHON") == [("3.13",)]
        assert ran.env("test", "SET_UP_PYTHON", "REQUIRE_ENGINE") == [
            ("3.11", "1")
        ]

    def test_promotion_points_latest_at_the_version_after_an_approval(
        self, repository: Repository
    ) -> None:
        ran = repository.dispatch("promote.yml", version="1.2.1")
        approval = "sam-cli compat promote: approval"
        promote = "sam-cli compat promote: promote"
        assert list(ran.jobs.items()) == [
            (approval, "success"),
            (promote, "success"),
        ]
        assert ran.steps("promote") == [
            "sign in as the-role",
            "log in",
            "make promote",
        ]
        assert ran.env("promote", "VERSION", "GH_TOKEN") == [
            ("1.2.1", "the-token")
        ]


@pytest.fixture(scope="class")
def released(repository: Repository) -> Ran:
    return repository.release(RELEASED)


class TestRelease:
    def test_is_tested_on_each_platform_with_each_ref_and_published_after_an_approval(
        self, released: Ran, sam_cli: dict[str, str]
    ) -> None:
        jobs = succeeded(
            PLAN, *both(*REFS), REQUIRED_OF_RELEASE, APPROVAL, PUBLISH
        )
        assert released.jobs == jobs
        assert list(released.jobs)[-2:] == [APPROVAL, PUBLISH]
        develop, latest, older = (f"{ref}@{sam_cli[ref]}" for ref in REFS)
        strict = [(develop, ""), (latest, "")]
        refs = released.env("compat", "SAMCLI_REFS", "SAMCLI_COMPARED_REFS")
        assert sorted(refs) == sorted([*strict, ("", older)] * 2)
        assert released.env("image", "RELEASE_TAG") == [(RELEASED,)] * 2
        assert released.env("compat", "RELEASE_TAG") == [("",)] * 6

    def test_pushes_after_a_dry_run_without_credentials_and_moves_latest_last(
        self, released: Ran
    ) -> None:
        assert released.steps("publish") == [
            "download compat-*",
            "download image-*",
            "make publish PUBLISH_DRY_RUN=1",
            "sign in as the-role",
            "log in",
            "make publish PUBLISH_LATEST=0",
            *[SUBJECT] * 3,
            "make publish",
        ]

    def test_attests_the_joined_verdict_of_each_platform_and_the_provenance(
        self, released: Ran
    ) -> None:
        attested = [call for call in released.calls if call["did"] == SUBJECT]
        types = [call["type"] for call in attested]
        assert types == [
            "urn:sam-cli-compat:verdict",
            "urn:sam-cli-compat:verdict",
            "",
        ]
        joined = [
            sorted(call["predicate"].splitlines(keepends=True))
            for call in attested
        ]
        assert joined == [
            sorted(verdict(AMD64, ref) for ref in REFS),
            sorted(verdict(ARM64, ref) for ref in REFS),
            [],
        ]

    def test_publishes_by_the_plan_the_images_of_the_build(
        self, released: Ran
    ) -> None:
        digests = f"linux/amd64=sha256:{AMD64}-released linux/arm64=sha256:{ARM64}-released"
        names = (
            "BUILT_DIGESTS",
            "RELEASE_TAG",
            "SAMCLI_REFS",
            "SAMCLI_COMPARED_REFS",
        )
        wanted = (digests, RELEASED, "develop latest", "latest:6")
        assert released.env("publish", *names) == [wanted] * 3
        for publish in released.of("publish"):
            for platform in (AMD64, ARM64):
                files = publish["files"]
                assert (
                    files[f".compat/{platform}/image.tar"]
                    == f"image {platform} released"
                )
                assert (
                    files[f".compat/{platform}/candidate.json"]
                    == f"built {platform} released"
                )
                rows = [
                    row
                    for row in json.loads(publish["env"]["PLAN"])
                    if row["platform"] == platform
                ]
                assert [row["name"] for row in rows] == list(REFS)
                for row in rows:
                    folder = f".compat/rows/compat-{platform}-{row['name']}"
                    path = f"{folder}/{platform}/verdict.json"
                    assert files[path] == verdict(platform, row["name"])

    def test_of_another_package_runs_nothing_and_fails_nothing(
        self, repository: Repository
    ) -> None:
        ran = repository.release("sdk-v1.7.0,otel-v0.3.0")
        assert ran.jobs == succeeded(PLAN, REQUIRED_OF_RELEASE)

    def test_is_not_tested_before_it_is_released(
        self, repository: Repository
    ) -> None:
        assert repository.release(RELEASED, prerelease=True).jobs == {}

    def test_with_one_red_row_asks_for_no_approval_and_pushes_nothing(
        self, repository: Repository
    ) -> None:
        ran = repository.release(RELEASED, failing=f"compat:{ARM64}:v1.0.0")
        assert ran.jobs[REQUIRED_OF_RELEASE] == "failure"
        assert not ran.jobs.keys() & {APPROVAL, PUBLISH}
        assert len(ran.of("compat")) == 6


class TestSdk:
    def test_pull_request_that_changes_the_sdk_tests_its_wheel_in_both_images(
        self, tmp_path: Path, sam_cli: dict[str, str]
    ) -> None:
        root = copy_template(tmp_path / "origin")
        (root / "sdk").mkdir()
        (root / "sdk/pyproject.toml").touch()
        ran = with_gate(root, sam_cli, SDK_SOURCE="sdk").pull_request(
            "sdk/a.py"
        )
        rows = gate(AMD64, "develop-source", "develop-published-source")
        image = build(f"{AMD64}, source")
        assert ran.jobs == succeeded(PLAN, image, *rows, REQUIRED)
        develop = f"develop@{sam_cli['develop']}"
        tar = f".cache/built/{AMD64}/image.tar"
        names = (
            "EMULATOR_IMAGE",
            "COMPAT_SDK",
            "SAMCLI_REFS",
            "SAMCLI_COMPARED_REFS",
        )
        assert sorted(ran.env("compat", *names)) == [
            (tar, "source", develop, ""),
            ("published", "source", "", develop),
        ]
        downloads = [did for did in ran.steps("gate") if "download" in did]
        assert downloads == [f"download image-{AMD64}-source"]
        assert sorted(path.name for path in ran.artifacts.iterdir()) == [
            f"compat-{AMD64}-develop-published-source",
            f"compat-{AMD64}-develop-source",
            f"image-{AMD64}-source",
        ]


@pytest.fixture(scope="class")
def adopter(
    tmp_path_factory: pytest.TempPathFactory, sam_cli: dict[str, str]
) -> Repository:
    """A repository with the gate in a folder, which publishes for one platform."""
    folder = tmp_path_factory.mktemp("adopter")
    adopt(
        folder / "template",
        folder / "origin",
        SAMCLI_SOURCE=sam_cli["path"],
        PUBLISH_PLATFORMS="linux/amd64",
    )
    return Repository(folder / "origin")


class TestFolder:
    def test_release_of_a_gate_in_a_folder_for_one_platform_is_published(
        self, adopter: Repository
    ) -> None:
        ran = adopter.release("testing-v1.2.1")
        rows = gate(AMD64, *REFS)
        jobs = succeeded(
            PLAN, build(AMD64), *rows, REQUIRED_OF_RELEASE, APPROVAL, PUBLISH
        )
        assert ran.jobs == jobs
        digests = f"linux/amd64=sha256:{AMD64}-released linux/arm64="
        assert ran.env("publish", "BUILT_DIGESTS") == [(digests,)] * 3
        for publish in ran.of("publish"):
            image = publish["files"][f".compat/{AMD64}/image.tar"]
            assert image == f"image {AMD64} released"
        attested = [
            call["predicate"] for call in ran.calls if call["did"] == SUBJECT
        ]
        assert [len(joined.splitlines()) for joined in attested] == [3, 0]

    def test_release_that_is_refused_does_not_sign_in(
        self, adopter: Repository
    ) -> None:
        ran = adopter.release(RELEASED, failing="publish")
        assert ran.jobs[PUBLISH] == "failure"
        assert ran.steps("publish")[-1] == "make publish PUBLISH_DRY_RUN=1"


def adopt(template: Path, host: Path, **settings: str) -> None:
    """Adopt the template as it is here into a new repository, in a folder."""
    listed = git(
        "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (template / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, template / name)
    commit_all(template)
    (host / "emulator").mkdir(parents=True)
    (host / "emulator/Dockerfile").write_text("FROM scratch\n")
    commit_all(host)
    gate = Gate(template, {"INTO": str(host), "FOLDER": ".sam-cli-compat"})
    done = gate.run(sys.executable, "scripts/tools/adopt.py")
    assert done.returncode == 0, done.stdout
    settings |= {
        "EMULATOR_SOURCE": "../emulator",
        "RELEASE_TAG_PREFIX": "testing-v",
    }
    commit_settings(Gate(host / ".sam-cli-compat", {}), **settings)
    commit_all(host)
