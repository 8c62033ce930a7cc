"""What may be published: each verdict is judged again by what is committed, and bound to it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate import release, rules, settings, workspace
from gate.model import Image, Requirements, Verdict
from gate.programs import GateError
from gate.sdk import Wheel

from .support.gate import Gate, commit_settings
from .support.git import commit_all, git
from .support.verdict import (
    AMD64,
    ARM64,
    COMMIT,
    DIGESTS,
    PLATFORMS,
    REPOSITORY,
    candidate_for,
    leave_candidate,
    leave_verdict,
    require,
    work_in,
)

OTHER_DIGEST = f"sha256:{'c' * 64}"


@pytest.fixture
def clone(template: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A clone with committed settings and a green verdict for each platform."""
    work_in(monkeypatch, template.root)
    commit_settings(
        template, EMULATOR_REPOSITORY=REPOSITORY, COMPAT_MIN_PASSED="35"
    )
    for platform in PLATFORMS:
        leave_verdict(candidate_for(platform))
    return template


def reasons(release_tag: str = "") -> str:
    """Return why nothing may be published, a line for each reason; nothing if it may."""
    try:
        release.judge(settings.load(), release_tag)
    except release.RefusedError as refused:
        return "\n".join(refused.args)
    return ""


def test_green_verdicts_by_the_committed_settings_may_be_published(
    clone: Gate,
) -> None:
    assert reasons() == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda v: v.reasons.append("develop: it is red"),
            "develop: it is red",
        ),
        (
            lambda v: setattr(v.runs[0].tests[0], "outcome", "failed"),
            "develop: 1 of 40 tests failed",
        ),
        (lambda v: v.runs.clear(), "aws-sam-cli develop was not tested"),
        (
            lambda v: require(v, compat_min_passed=1),
            "COMPAT_MIN_PASSED was 1",
        ),
        (lambda v: require(v, compat_reruns=9), "COMPAT_RERUNS was 9"),
        (
            lambda v: require(v, compat_baseline=""),
            "COMPAT_BASELINE was empty",
        ),
        (
            lambda v: require(v, samcli_source="https://fork"),
            "SAMCLI_SOURCE was ",
        ),
        (lambda v: require(v, samcli_refs=[]), "SAMCLI_REFS was "),
        (lambda v: require(v, samcli_tests=["x"]), "SAMCLI_TESTS was "),
        (lambda v: require(v, compat_sdk="source"), "COMPAT_SDK was source"),
        # Its own requirement, which the runs do not meet.
        (
            lambda v: require(v, compat_min_passed=99),
            "develop: only 40 tests passed; COMPAT_MIN_PASSED requires 99",
        ),
    ],
    ids=[
        "red",
        "a failed test",
        "no run",
        "compat_min_passed",
        "compat_reruns",
        "compat_baseline",
        "samcli_source",
        "samcli_refs",
        "samcli_tests",
        "compat_sdk",
        "its own requirement",
    ],
)
def test_a_verdict_that_is_red_or_of_weaker_settings_is_refused(
    clone: Gate, change: Callable[[Verdict], Any], reason: str
) -> None:
    leave_verdict(candidate_for(ARM64), change)
    assert f"{ARM64}: {reason}" in reasons()
    assert AMD64 not in reasons()


def test_the_verdict_of_another_platform_is_refused(clone: Gate) -> None:
    amd64, arm64 = (
        clone.root / ".compat" / name for name in ("linux-amd64", "linux-arm64")
    )
    shutil.copytree(amd64, arm64, dirs_exist_ok=True)
    assert reasons() == f"{ARM64}: the verdict is for {AMD64}"


def test_a_platform_without_a_verdict_is_refused(clone: Gate) -> None:
    (clone.root / ".compat/linux-amd64/verdict.json").unlink()
    assert reasons().startswith(f"{AMD64}: no verdict: ")
    assert ARM64 not in reasons()


def test_the_verdict_of_another_version_of_the_gate_is_refused(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "VERSION", "0.0.1")
    for platform, reason in zip(PLATFORMS, reasons().splitlines(), strict=True):
        assert reason.startswith(f"{platform}: no verdict: ")
        assert reason.endswith(": run `make compat` there")


def test_only_a_commit_makes_the_requirements_weaker(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for platform in PLATFORMS:
        leave_verdict(
            candidate_for(platform),
            lambda verdict: require(verdict, compat_min_passed=1),
        )
    monkeypatch.setenv("COMPAT_MIN_PASSED", "1")
    (clone.root / ".env").write_text("COMPAT_MIN_PASSED=1\n")
    assert "COMPAT_MIN_PASSED was 1 in the run; 35 is required" in reasons()
    (clone.root / ".env").unlink()
    example = clone.root / ".env.example"
    example.write_text(
        example.read_text().replace("MIN_PASSED=35", "MIN_PASSED=1")
    )
    assert reasons() == "changed since the last commit: M .env.example"
    commit_all(clone.root)
    assert reasons() == ""


def test_what_the_environment_asks_for_besides_is_required(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tested_more(verdict: Verdict) -> None:
        verdict.requirements = Requirements.of(settings.load())
        verdict.runs[0].requested_as += ["latest", "latest:6"]

    monkeypatch.setenv("SAMCLI_REFS", "develop latest")
    monkeypatch.setenv("SAMCLI_COMPARED_REFS", "latest:6")
    found = reasons().splitlines()
    assert f"{ARM64}: aws-sam-cli latest was not tested" in found
    assert f"{ARM64}: aws-sam-cli latest:6 was not tested" in found
    assert (
        f"{ARM64}: SAMCLI_REFS was develop in the run; develop latest is required"
        in found
    )
    for platform in PLATFORMS:
        leave_verdict(candidate_for(platform), tested_more)
    assert reasons() == ""


@pytest.mark.parametrize(
    "name",
    [
        "EMULATOR_SOURCE",
        "EMULATOR_PREBUILD",
        "EMULATOR_IMAGE",
        "EMULATOR_VERSION",
        "EMULATOR_REPOSITORY",
    ],
)
def test_a_candidate_that_was_made_with_another_setting_is_refused(
    clone: Gate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "s3cret")
    leave_candidate(candidate_for(ARM64), settings.load())
    monkeypatch.delenv(name)
    assert reasons().startswith(
        f"{ARM64}: `make image` ran with another {name} "
    )
    assert (
        "s3cret"
        not in (clone.root / ".compat/linux-arm64/candidate.json").read_text()
    )


def test_a_candidate_of_another_commit_than_this_checkouts_is_refused(
    clone: Gate,
) -> None:
    commit_settings(clone, EMULATOR_SOURCE=".")
    for platform in PLATFORMS:
        leave_verdict(candidate_for(platform))
    assert f"{AMD64}: it was built from {COMMIT}" in reasons()
    for platform in PLATFORMS:
        revision = git("rev-parse", "HEAD", cwd=clone.root)
        leave_verdict(candidate_for(platform, revision=revision))
    assert reasons() == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"revision": f"{COMMIT}-dirty"},
            f"it was built from {COMMIT}-dirty, not from a clean",
        ),
        ({"revision": ""}, "it was built from no commit"),
        ({"version": "latest"}, "the image's version label 'latest' is "),
        (
            {"version": "1.2.2"},
            "the platforms have different versions: 1.2.1, 1.2.2",
        ),
        (
            {"revision": "f" * 40},
            f"the platforms have different revisions: {COMMIT}, fff",
        ),
        (
            {"config_digest": ""},
            "its config digest is unknown: use COMPAT_SAVE_IMAGE=1",
        ),
    ],
    ids=[
        "dirty",
        "no commit",
        "a version that is none",
        "two versions",
        "two commits",
        "no digest",
    ],
)
def test_an_image_that_says_too_little_or_differs_by_platform_is_refused(
    clone: Gate, changed: dict[str, str], reason: str
) -> None:
    leave_verdict(candidate_for(ARM64, **changed))
    assert reason in reasons()


@pytest.mark.parametrize("version", ["1.2.1", "1.3.0.post1", "2.0.0rc1", "10"])
def test_a_version_can_be_a_tag(version: str) -> None:
    assert release.version_fault(version) == ""


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("", "is missing or not a version: see EMULATOR_VERSION"),
        ("latest", "is missing or not a version: see EMULATOR_VERSION"),
        # It would be one platform's tag of another version.
        ("1.2.3-x86_64", "is missing or not a version: see EMULATOR_VERSION"),
        # The tag would be vv1.4.0.
        ("v1.4.0", "is not a valid tag: use one like 1.2.1"),
        ("1.2.1+build", "is not a valid tag: use one like 1.2.1"),
        ("1" * 101, "is not a valid tag: use one like 1.2.1"),
    ],
)
def test_a_version_that_is_none_or_no_tag_is_a_fault(
    version: str, why: str
) -> None:
    fault = release.version_fault(version)
    assert fault.startswith(f"the image's version label {version!r} {why}")


def test_a_green_verdict_with_a_known_failure_is_refused(clone: Gate) -> None:
    """Also where it is committed: what is set aside for pull requests is broken for users."""
    tests = settings.load_committed().samcli_tests
    known = f"{tests[0]}::test_0@2099-12-31"
    commit_settings(clone, SAMCLI_KNOWN_FAILURES=known)

    def fail_it(verdict: Verdict) -> None:
        verdict.runs[0].tests[0].outcome = "failed"
        judged = rules.reasons_against(verdict.requirements, verdict)
        assert judged == []

    for platform in PLATFORMS:
        leave_verdict(candidate_for(platform), fail_it)
    found = reasons().splitlines()
    was = f"SAMCLI_KNOWN_FAILURES was {known} in the run; empty is required"
    failed = "develop: 1 of 40 tests failed: 1 unknown"
    assert found == [
        f"{platform}: {reason}"
        for platform in PLATFORMS
        for reason in (was, failed)
    ]


def test_a_verdict_with_the_sdk_of_its_commit_is_refused(clone: Gate) -> None:
    """Also where it is committed: users get what is released."""
    commit_settings(clone, COMPAT_SDK="source", SDK_SOURCE=".")
    for platform in PLATFORMS:
        leave_verdict(candidate_for(platform))
    was = "COMPAT_SDK was source in the run; released is required"
    assert reasons().splitlines() == [
        f"{platform}: {was}" for platform in PLATFORMS
    ]


def test_a_candidate_with_the_sdk_of_its_commit_is_refused(clone: Gate) -> None:
    wheel = Wheel("/x/sdk-3.1.0-py3-none-any.whl", "sdk", "3.1.0", "1", "2")
    candidate = candidate_for(ARM64)
    leave_candidate(candidate, settings.load_committed(), wheel)
    built = "it was built with the SDK of this commit (COMPAT_SDK=source)"
    assert reasons() == f"{ARM64}: {built}"


def test_the_images_that_the_build_job_made_may_be_published(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = " ".join(
        f"{platform}={digest}" for platform, digest in DIGESTS.items()
    )
    monkeypatch.setenv("BUILT_DIGESTS", built)
    assert reasons() == ""


@pytest.mark.parametrize(
    ("built", "shown"),
    [
        (f"{ARM64}={OTHER_DIGEST}", OTHER_DIGEST),
        (f"{ARM64}=", "nothing"),
        ("", "nothing"),
    ],
    ids=["another", "empty", "missing"],
)
def test_an_image_that_the_build_job_did_not_make_is_refused(
    clone: Gate, monkeypatch: pytest.MonkeyPatch, built: str, shown: str
) -> None:
    monkeypatch.setenv("BUILT_DIGESTS", f"{AMD64}={DIGESTS[AMD64]} {built}")
    digests = f"built {shown}, tested {DIGESTS[ARM64]}"
    again = "run build and gate again"
    assert reasons() == f"{ARM64}: digest mismatch: {digests}: {again}"


def test_a_releases_tag_must_name_this_version_with_the_committed_prefix(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reasons("v1.2.1") == ""
    assert reasons("v1.2.0") == "the release's tag v1.2.0 has no part v1.2.1"
    commit_settings(clone, RELEASE_TAG_PREFIX="testing-v")
    monkeypatch.setenv("RELEASE_TAG_PREFIX", "sdk-v")
    assert reasons("sdk-v1.8.0,testing-v1.2.1") == ""
    assert "has no part testing-v1.2.1" in reasons("sdk-v1.2.1,testing-v1.2.10")


# --- what `make image` refuses in the first minute of a release


def refused(
    image: Image, release_tag: str, sdk_version: str = "", **other: str
) -> str:
    """Return why an image cannot be the one of a release, "" if it can."""
    committed = replace(settings.load_committed(), **other)  # type: ignore[arg-type]
    try:
        release.check_image(image, committed, release_tag, sdk_version)
    except GateError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("release_tag", "prefix"),
    [
        ("", "v"),
        ("v1.2.1", "v"),
        ("sdk-v1.8.0,testing-v1.2.1", "testing-v"),
        ("testing-v1.2.1,testing-v1.2.2", "testing-v"),
    ],
    ids=["no release", "one part", "several packages", "two versions"],
)
def test_an_image_of_a_releases_version_is_tested(
    release_tag: str, prefix: str
) -> None:
    image = candidate_for(AMD64)
    assert refused(image, release_tag, release_tag_prefix=prefix) == ""


@pytest.mark.parametrize(
    ("release_tag", "prefix"),
    [
        ("v9.9.9", "v"),
        ("v1.2.10", "v"),
        ("sdk-v1.2.1,testing-v1.3.0", "testing-v"),
    ],
)
def test_an_image_of_another_version_than_the_releases_is_not_tested(
    release_tag: str, prefix: str
) -> None:
    says = f"the release's tag {release_tag} has no part {prefix}1.2.1"
    image = candidate_for(AMD64)
    assert refused(image, release_tag, release_tag_prefix=prefix) == says


def test_an_image_whose_version_is_no_tag_is_not_tested() -> None:
    image = candidate_for(AMD64, version="1.2.1+build")
    assert "is not a valid tag" in refused(image, "v1.2.1+build")


@pytest.mark.parametrize(
    ("packages", "held"),
    [
        ({"durable-sdk": "1.7.0"}, "1.7.0"),
        ({"durable-testing": "1.8.0"}, "none"),
    ],
    ids=["an older one", "another package of that version"],
)
def test_an_image_without_the_sdk_that_is_released_with_it_is_not_tested(
    tmp_path: Path, packages: dict[str, str], held: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname="Durable.SDK"\n')
    image = replace(candidate_for(AMD64), packages=packages)
    source = str(tmp_path)
    found = refused(image, "v1.2.1", sdk_version="1.8.0", sdk_source=source)
    says = f"the image has durable-sdk {held}, not 1.8.0 of this release"
    assert found == says
    image = replace(image, packages=packages | {"durable-sdk": "1.8.0"})
    assert refused(image, "v1.2.1", "1.8.0", sdk_source=source) == ""


# --- the repository, and `latest`


@pytest.mark.parametrize(
    "name", [".env", ".cache/x", ".compat/linux-arm64/verdict.json"]
)
def test_a_committed_file_that_would_steer_a_release_is_refused(
    clone: Gate, name: str
) -> None:
    (clone.root / name).touch()
    git("add", "--force", name, cwd=clone.root)
    commit_all(clone.root)
    assert f"{name} is committed: remove it from git" in reasons()


@pytest.mark.parametrize(
    ("version", "published"),
    [("1.10.0", {"1.9.0"}), ("1.3.0.post1", {"1.3.0"}), ("1.2.1", set())],
)
def test_latest_moves_to_a_higher_version(
    version: str, published: set[str]
) -> None:
    assert release.why_latest_stays(version, published) == ""


@pytest.mark.parametrize(
    ("version", "published", "why"),
    [
        ("1.9.0", {"1.8.0", "1.10.0"}, "it is 1.10.0, newer than 1.9.0"),
        ("1.3.0rc1", {"1.2.0"}, "1.3.0rc1 is a pre-release"),
        ("1.3.0", {"nightly"}, "versions cannot be compared"),
    ],
)
def test_latest_never_moves_to_a_pre_release_or_a_lower_version(
    version: str, published: set[str], why: str
) -> None:
    assert release.why_latest_stays(version, published).startswith(why)
