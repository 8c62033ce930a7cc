"""What may be published: each verdict is judged again by what is committed, and bound to it."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gate import images, model, release, settings, workspace
from gate.images import Image
from gate.model import Run, ShardResult, TestResult, Verdict

from .conftest import Gate, commit_all, commit_settings, git

REPOSITORY = "registry.example/durable/emulator"
COMMIT = "1234567890abcdef1234567890abcdef12345678"
BOTH = ("linux/amd64", "linux/arm64")
A, B, C = (f"sha256:{digit * 64}" for digit in "abc")


def image(platform: str, **other: str) -> Image:
    name = A if platform == BOTH[0] else B
    about = {"platform": platform, "version": "1.2.1", "revision": COMMIT, "config_digest": name}
    about |= {"image_id": name, "reference": f"{REPOSITORY}:pr-1"} | other
    return Image(**about)  # type: ignore[arg-type]


def leave(candidate: Image, change: Callable[[Verdict], Any] = bool) -> None:
    """Leave what a gated machine hands on: a green verdict, and what `make image` noted."""
    committed = settings.load_committed()
    required = {**model.requirements(committed)}
    tests = [
        TestResult(f"{file}::test_{number}", "passed", shard="a", began=0.0, ended=1.0)
        for number in range(10)
        for file in required["samcli_tests"]
    ]
    run = Run("develop", "c" * 40, "1.164.0", ["develop"], compared=False, tests=tests)
    run.shards = [ShardResult("a", containers={candidate.image_id: 4}, answered=True)]
    verdict = Verdict(required, candidate, [run], [])
    change(verdict)
    verdict.save()
    note(candidate, committed)


def note(candidate: Image, given: settings.Settings) -> None:
    """Leave candidate.json, as `make image` does with these settings."""
    value = {"candidate": asdict(candidate), "made_by": images.made_by(given)}
    workspace.write_json(workspace.results(candidate.platform) / "candidate.json", value)


def move(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Let the gate's code in this process work in another clone, without the caller's settings."""
    monkeypatch.setattr(settings, "ROOT", root)
    for name, path in {"ROOT": "", "CACHE": ".cache", "COMPAT": ".compat"}.items():
        monkeypatch.setattr(workspace, name, root / path)
    for name in (*settings.KNOWN, "BUILT_DIGESTS", "RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clone(template: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A clone with committed settings and a green verdict for each platform."""
    move(monkeypatch, template.root)
    commit_settings(template, EMULATOR_REPOSITORY=REPOSITORY)
    for platform in BOTH:
        leave(image(platform))
    return template


def reasons(release_tag: str = "") -> str:
    """Return why nothing may be published; nothing if it may."""
    try:
        release.approve(settings.load(), release_tag)
    except release.RefusedError as refused:
        return "\n".join(refused.args)
    return ""


WEAKER: list[tuple[Callable[[Verdict], Any], str]] = [
    (lambda v: v.reasons.append("develop: it is red"), "develop: it is red"),
    (lambda v: setattr(v.runs[0].tests[0], "outcome", "failed"), "develop: 1 of 40 tests failed"),
    (lambda v: v.runs.clear(), "aws-sam-cli develop was not tested"),
    (lambda v: v.settings.update(compat_min_passed=1), "COMPAT_MIN_PASSED was 1"),
    (lambda v: v.settings.update(compat_reruns=9), "COMPAT_RERUNS was 9"),
    (lambda v: v.settings.update(compat_baseline=""), "COMPAT_BASELINE was "),
    (lambda v: v.settings.update(samcli_source="https://fork"), "SAMCLI_SOURCE was "),
    (lambda v: v.settings.update(samcli_refs=[]), "SAMCLI_REFS was "),
    (lambda v: v.settings.update(samcli_tests=["x"]), "SAMCLI_TESTS was "),
    # Its own requirement, which the runs do not meet.
    (lambda v: v.settings.update(compat_min_passed=99), "develop: Only 40 tests passed; COMPAT_MI"),
]


def test_a_verdict_that_is_red_or_weaker_than_what_is_committed(clone: Gate) -> None:
    assert reasons() == ""
    for change, says in WEAKER:
        leave(image("linux/arm64"), change)
        assert f"linux/arm64: {says}" in reasons()
        assert "linux/amd64" not in reasons()


def test_a_verdict_that_is_of_another_platform_or_gate_or_missing(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    amd64, arm64 = (clone.root / f".compat/linux-{name}" for name in ("amd64", "arm64"))
    shutil.copytree(amd64, arm64, dirs_exist_ok=True)
    assert reasons() == "linux/arm64: the verdict is for linux/amd64"
    (amd64 / "verdict.json").unlink()
    monkeypatch.setattr(workspace, "VERSION", "0.0.1")
    missing, other = reasons().splitlines()
    assert missing.startswith("linux/amd64: no verdict: ")
    assert other.startswith("linux/arm64: no verdict: ")


def test_only_a_commit_makes_the_requirements_weaker(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for platform in BOTH:
        leave(image(platform), lambda verdict: verdict.settings.update(compat_min_passed=1))
    monkeypatch.setenv("COMPAT_MIN_PASSED", "1")
    (clone.root / ".env").write_text("COMPAT_MIN_PASSED=1\n")
    assert "COMPAT_MIN_PASSED was 1 in the run; 35 is required" in reasons()
    (clone.root / ".env").unlink()
    example = clone.root / ".env.example"
    example.write_text(example.read_text().replace("MIN_PASSED=35", "MIN_PASSED=1"))
    assert reasons() == "changed since the last commit: M .env.example"
    commit_all(clone.root)
    assert reasons() == ""


def test_what_the_environment_asks_for_besides_is_required(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def more(verdict: Verdict) -> None:
        verdict.settings.update(model.requirements(settings.load()))
        verdict.runs[0].requested_as += ["latest", "latest:6"]

    monkeypatch.setenv("SAMCLI_REFS", "develop latest")
    monkeypatch.setenv("SAMCLI_COMPARED_REFS", "latest:6")
    for word in ("latest", "latest:6"):
        assert f"linux/arm64: aws-sam-cli {word} was not tested" in reasons()
    assert "SAMCLI_REFS was develop in the run; develop latest is required" in reasons()
    for platform in BOTH:
        leave(image(platform), more)
    assert reasons() == ""


def test_a_candidate_that_was_made_with_other_settings(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = clone.root / ".compat/linux-arm64/candidate.json"
    for name in ("SOURCE", "PREBUILD", "IMAGE", "VERSION", "REPOSITORY"):
        monkeypatch.setenv(f"EMULATOR_{name}", "s3cret")
        note(image("linux/arm64"), settings.load())
        monkeypatch.delenv(f"EMULATOR_{name}")
        assert reasons().startswith(f"linux/arm64: `make image` ran with another EMULATOR_{name} ")
        assert "s3cret" not in file.read_text()


def test_a_candidate_of_another_commit_than_this_checkouts(clone: Gate) -> None:
    commit_settings(clone, EMULATOR_SOURCE=".")
    for revision in (COMMIT, git("rev-parse", "HEAD", cwd=clone.root)):
        for platform in BOTH:
            leave(image(platform, revision=revision))
        assert (f"linux/amd64: it was built from {COMMIT}" in reasons()) == (revision == COMMIT)
    assert reasons() == ""


def test_an_image_that_cannot_be_published(clone: Gate) -> None:
    for about, says in (
        ({"revision": f"{COMMIT}-dirty"}, f"it was built from {COMMIT}-dirty, not from a clean"),
        ({"revision": ""}, "it was built from no commit"),
        ({"version": ""}, "the image's version label '' is missing or not a valid tag"),
        ({"version": "1" * 101}, "1' is missing or not a valid tag"),
        ({"version": "1.2.2"}, "the platforms have different versions: 1.2.1, 1.2.2"),
        ({"revision": "f" * 40}, f"the platforms have different revisions: {COMMIT}, fff"),
        ({"config_digest": ""}, "its config digest is unknown: use COMPAT_SAVE_IMAGE=1"),
    ):
        leave(image("linux/arm64", **about))
        assert says in reasons()


def test_an_image_that_the_build_job_did_not_make(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILT_DIGESTS", f"linux/amd64={A} linux/arm64={B}")
    assert reasons() == ""
    for built, shown in ((f" linux/arm64={C}", C), (" linux/arm64=", "nothing"), ("", "nothing")):
        monkeypatch.setenv("BUILT_DIGESTS", f"linux/amd64={A}{built}")
        assert reasons() == f"linux/arm64: digest mismatch: built {shown}, tested {B}"


def test_a_releases_tag_must_name_this_version_with_the_committed_prefix(
    clone: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reasons("v1.2.1") == ""
    assert reasons("v1.2.0") == "the release's tag v1.2.0 has no part v1.2.1"
    commit_settings(clone, RELEASE_TAG_PREFIX="testing-v")
    monkeypatch.setenv("RELEASE_TAG_PREFIX", "sdk-v")
    assert reasons("sdk-v1.8.0,testing-v1.2.1") == ""
    assert "has no part testing-v1.2.1" in reasons("sdk-v1.2.1,testing-v1.2.10")


def test_a_committed_file_that_would_steer_a_release(clone: Gate) -> None:
    for name in (".env", ".cache/x", ".compat/linux-arm64/verdict.json"):
        (clone.root / name).touch()
        git("add", "--force", name, cwd=clone.root)
        commit_all(clone.root)
        assert f"{name} is committed: remove it from git" in reasons()


def test_latest_never_gets_a_pre_release_or_a_lower_version() -> None:
    stays = release.why_latest_stays
    assert stays("1.10.0", {"1.9.0"}) == stays("1.3.0.post1", {"1.3.0"}) == ""
    assert stays("1.2.1", set()) == ""
    assert stays("1.9.0", {"1.8.0", "1.10.0"}).startswith("it is 1.10.0, newer than 1.9.0")
    assert stays("1.3.0rc1", {"1.2.0"}) == "1.3.0rc1 is a pre-release"
    assert stays("1.3.0", {"nightly"}).startswith("versions cannot be compared")
