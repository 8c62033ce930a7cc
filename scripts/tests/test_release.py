"""What may be published: a verdict is judged again, by the settings that are committed and by nothing else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate import settings as layers
from gate import workspace
from gate.containers.images import Image
from gate.verdict import candidate as candidates
from gate.verdict import model, release
from gate.verdict.model import Run, Shard, TestResult, Verdict

from .conftest import commit_all, git

REPOSITORY = "registry.example/durable/emulator"
COMMIT = "1234567890abcdef1234567890abcdef12345678"
BOTH = ("linux/amd64", "linux/arm64")


def digest(digit: str) -> str:
    return f"sha256:{digit * 64}"


def image(platform: str, **other: Any) -> Image:
    digit = "a" if platform == BOTH[0] else "b"
    tagged = f"{REPOSITORY}:pr-{COMMIT[:12]}"
    return Image(**{
        "image_id": digest(digit), "config_digest": digest(digit), "reference": tagged, "platform": platform,
        "version": "1.2.1", "revision": COMMIT, **other,
    })  # fmt: skip


def verdict_of(tested: Image, *, failed: int = 0) -> Verdict:
    """What `make compat` would write of 40 tests by the committed settings."""
    gate = model.requirements(layers.load_committed())
    tests = [
        TestResult(
            f"{gate.tests[number % 4]}::A::test_{number}", "failed" if number < failed else "passed", shard="a-1"
        )
        for number in range(40)
    ]
    run = Run("develop", "c" * 40, "1.164.0", ["develop"], tests=tests)
    run.shards = [Shard("a-1", 1.0, {tested.image_id: 4}, served=4)]
    return Verdict(gate, tested, [run], [f"develop: {failed} of 40 tests failed"] if failed else [])


def leave(tested: Image, **found: int) -> None:
    """Leave what a gated machine hands on: the verdict and the candidate's description."""
    verdict_of(tested, **found).save()
    candidates.save(tested, layers.load_committed())


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with committed settings."""
    root = tmp_path_factory.mktemp("committed") / "clone"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(workspace.ROOT / "scripts/VERSION", root / "scripts")
    text = (workspace.ROOT / ".env.example").read_text()
    old = next(line for line in text.splitlines() if line.startswith("EMULATOR_REPOSITORY="))
    (root / ".env.example").write_text(text.replace(old, f"EMULATOR_REPOSITORY={REPOSITORY}"))
    (root / ".gitignore").write_text("/.compat/\n")
    commit_all(root)
    return root


@pytest.fixture
def root(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clone with a green verdict for each platform."""
    monkeypatch.delenv("BUILT_DIGESTS", raising=False)
    for name in [name for name in os.environ if name in layers.KNOWN]:
        monkeypatch.delenv(name)
    root = tmp_path / "clone"
    shutil.copytree(committed, root)
    monkeypatch.setattr(workspace, "ROOT", root)
    monkeypatch.setattr(workspace, "COMPAT", root / ".compat")
    monkeypatch.setattr(layers, "ROOT", root)
    for platform in BOTH:
        leave(image(platform))
    return root


def file(platform: str, name: str = "verdict.json") -> Path:
    return workspace.results(platform) / name


def edit(platform: str, change: Callable[[dict[str, Any]], object], name: str = "verdict.json") -> None:
    value = json.loads(file(platform, name).read_text())
    change(value)
    file(platform, name).write_text(json.dumps(value))


def reasons(**environ: str) -> list[str]:
    """Return why nothing may be published; nothing if it may."""
    try:
        release.check(layers.load(environ))
    except release.RefusedError as refused:
        return list(refused.args) or ["refused without a reason"]
    return []


def refused(*says: str, **environ: str) -> None:
    found = reasons(**environ)
    for part in says:
        assert any(part in reason for reason in found), found


def test_green_verdicts_of_both_platforms_may_be_published(root: Path) -> None:
    assert reasons() == []
    found = release.check(layers.load({}))
    assert [found.tag(each) for each in found.candidates] == ["v1.2.1-x86_64", "v1.2.1-arm64"]


FAILED = {"outcome": "failed"}
EDITS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("no runs", lambda v: v.update(runs=[]), "develop: was not run"),
    ("an empty run", lambda v: v.update(runs=[{}]), "runs[0].ref is missing"),
    ("runs missing", lambda v: v.pop("runs"), "verdict.runs is missing"),
    ("no tests", lambda v: v["runs"][0].update(tests=[]), "Only 0 tests passed"),
    ("no shards", lambda v: v["runs"][0].update(shards=[]), "no shard started a container of"),
    ("a shard that started nothing", lambda v: v["runs"][0]["shards"][0].update(containers={}), "no shard started a"),
    ("a shard that served nothing", lambda v: v["runs"][0]["shards"][0].update(served=0), "before it answered"),
    ("a test of another shard", lambda v: v["runs"][0]["tests"][3].update(shard="a-2", id="x::y"), "x: no shard"),
    ("a failed test", lambda v: v["runs"][0]["tests"][0].update(outcome="failed"), "1 of 40 tests failed"),
    ("a skipped file", lambda v: [t.update(outcome="skipped") for t in v["runs"][0]["tests"][::4]], "no test passed"),
    ("an invented outcome", lambda v: v["runs"][0]["tests"][0].update(outcome="xyz"), "invalid test outcomes: xyz"),
    ("one test many times", lambda v: v["runs"][0].update(tests=v["runs"][0]["tests"][:4] * 10), "Only 4 tests"),
    ("a pass and a fail", lambda v: v["runs"][0]["tests"].append(v["runs"][0]["tests"][0] | FAILED), "1 of 41 tests"),
    ("a second, red run", lambda v: v["runs"].append(v["runs"][0] | {"tests": []}), "Only 0 tests passed"),
    ("another image that ran", lambda v: v["runs"][0].update(unexpected=["x from y"]), "another image of"),
    ("another image's start", lambda v: v["runs"][0]["shards"][0]["containers"].update(x=1), "another image of"),
    ("a problem", lambda v: v["runs"][0].update(problems=["shard a-1 ended by signal 9"]), "shard a-1 ended"),
    ("an emulator of its own", lambda v: v["runs"][0].update(uses_image=False), "does not use the image"),
    ("compared only", lambda v: v["runs"][0].update(compared=True, tests=v["runs"][0]["tests"][:1]), "Only 1 tests"),
    ("a run of other words", lambda v: v["runs"][0].update(words=["v1.160.0"]), "develop: was not run"),
    ("a ref that was not run", lambda v: v["gate"]["refs"].append("latest"), "latest: was not run"),
    ("a compared ref not run", lambda v: v["gate"]["compared_refs"].append("latest:3"), "latest:3: was not run"),
    ("a committed ref missing", lambda v: v["gate"].update(refs=["v1.160.0"]), "develop was not required"),
    ("a committed ref compared", lambda v: v["gate"].update(refs=[], compared_refs=["develop"]), "was not required"),
    ("a committed file missing", lambda v: v["gate"].update(tests=v["gate"]["tests"][:3]), "was not required"),
    ("a lower minimum", lambda v: v["gate"].update(min_passed=1), "COMPAT_MIN_PASSED was 1; 35 is committed"),
    ("another baseline", lambda v: v["gate"].update(baseline="v1.2.0"), "COMPAT_BASELINE was v1.2.0; latest is"),
    ("a field missing", lambda v: v["runs"][0].pop("problems"), "runs[0].problems is missing"),
    ("no baseline", lambda v: v["gate"].update(baseline=""), "COMPAT_BASELINE was empty; latest is committed"),
    ("an older gate", lambda v: v["gate"].update(version="1.0.0"), "it was judged by version 1.0.0 of the gate"),
    ("a huge minimum", lambda v: v["gate"].update(min_passed=10**30), "Only 40 tests passed"),
    ("a minimum that is true", lambda v: v["gate"].update(min_passed=True), "gate.min_passed is True"),
    ("a minimum that is text", lambda v: v["gate"].update(min_passed="35"), "gate.min_passed is '35'"),
    ("NaN", lambda v: v["runs"][0].update(seconds=float("nan")), "is damaged"),
    ("more retries", lambda v: v["gate"].update(reruns=9), "COMPAT_RERUNS was 9; 1 is committed"),
    ("another consumer", lambda v: v["gate"].update(samcli_source="https://fork.example/x.git"), "fork.example"),
    ("schema 1", lambda v: v.pop("schema"), "has schema 1"),
    ("a later schema", lambda v: v.update(schema=3), "has schema 3"),
    ("a schema that is text", lambda v: v.update(schema="2"), "has schema 2"),
    ("gate missing", lambda v: v.pop("gate"), "verdict.gate is missing"),
    ("green with its reasons", lambda v: v.update(reasons=["nothing ran"]), "says green: True and has 1 reasons"),
    ("green that is 1", lambda v: v.update(green=1), "says green: 1"),
    ("another platform", lambda v: v["candidate"].update(platform="linux/amd64"), "the verdict is for linux/amd64"),
    ("another repository", lambda v: v["candidate"].update(reference="evil.example/x:pr-1"), "evil.example/x:pr-1"),
    ("no tag", lambda v: v["candidate"].update(reference=f"{REPOSITORY}@{digest('a')}"), "not for a tag of"),
    ("an id that is a name", lambda v: v["candidate"].update(image_id="busybox"), "'busybox' is not a digest"),
    ("no config digest", lambda v: v["candidate"].update(config_digest=""), "config_digest '' is not a digest"),
    ("another image", lambda v: v["candidate"].update(image_id=digest("c")), "no shard started a container of"),
    ("another config", lambda v: v["candidate"].update(config_digest=digest("c")), "candidate.json is for"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_verdict_that_says_green_is_judged_again(
    root: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit("linux/arm64", change)
    refused(says)
    assert all(reason.startswith("linux/arm64: ") for reason in reasons() if "not of one" not in reason)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "5", "null", '{"green": true, "reasons": []}', "[" * 99_999])
@pytest.mark.parametrize("name", ["verdict.json", "candidate.json"])
def test_file_that_is_damaged(root: Path, text: str, name: str) -> None:
    file("linux/arm64", name).write_text(text)
    refused("linux/arm64: no verdict: ")


@pytest.mark.parametrize("name", ["verdict.json", "candidate.json"])
def test_file_that_is_missing_or_not_a_file(root: Path, name: str) -> None:
    file("linux/arm64", name).unlink()
    refused(f"{name} is missing")
    file("linux/arm64", name).mkdir()
    refused("linux/arm64: no verdict: ")


def test_candidate_edited_alone(root: Path) -> None:
    edit("linux/arm64", lambda value: value["candidate"].update(config_digest=digest("c")), "candidate.json")
    refused("candidate.json is for")


def test_every_reason_is_given(root: Path) -> None:
    file("linux/arm64").unlink()
    leave(image("linux/amd64", version="", revision=""))
    refused("linux/arm64: no verdict", "revision '' is not a commit", "version label '' is missing")


def test_red_verdict_is_refused_with_its_reasons(root: Path) -> None:
    leave(image("linux/arm64"), failed=1)
    refused("linux/arm64: the verdict is red", "linux/arm64: develop: 1 of 40 tests failed")


@pytest.mark.parametrize(("what", "value"), [("version", "1.2.2"), ("revision", "f" * 40)])
def test_platforms_that_differ(root: Path, what: str, value: str) -> None:
    leave(image("linux/arm64", **{what: value}))
    refused(f"the platforms are not of one {what}: linux/amd64 is ")


@pytest.mark.parametrize("about", [{"revision": f"{COMMIT}-dirty"}, {"reference": f"{REPOSITORY}:pr-1-dirty"}])
def test_image_of_a_tree_with_changes(root: Path, about: dict[str, str]) -> None:
    for platform in BOTH:
        leave(image(platform, **about))
    refused("linux/amd64: it was built from a tree with changes")


@pytest.mark.parametrize("revision", ["", "main", COMMIT[:12], f"{COMMIT} "])
def test_image_that_was_not_built_of_a_commit(root: Path, revision: str) -> None:
    """Such as one built outside git, whose Dockerfile sets the label itself."""
    for platform in BOTH:
        leave(image(platform, revision=revision))
    refused("is not a commit: build it from a git checkout")


@pytest.mark.parametrize("version", ["", "1.2.1+local", "../latest", "1" * 121])
def test_version_that_makes_no_tag(root: Path, version: str) -> None:
    for platform in BOTH:
        leave(image(platform, version=version))
    refused("is missing or not a valid tag")


def test_verdict_of_another_platform(root: Path) -> None:
    for name in ("verdict.json", "candidate.json"):
        shutil.copy(file("linux/amd64", name), file("linux/arm64", name))
    refused("linux/arm64: the verdict is for linux/amd64")


def test_findings_of_another_clone_by_a_link_are_judged_by_this_one(root: Path, tmp_path: Path) -> None:
    shutil.move(workspace.COMPAT, tmp_path / "elsewhere")
    workspace.COMPAT.symlink_to(tmp_path / "elsewhere")
    assert reasons() == []
    edit("linux/amd64", lambda value: value["gate"].update(min_passed=1))
    refused("COMPAT_MIN_PASSED was 1; 35 is committed")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("linux/amd64={a} linux/arm64={b}", ""),
        ("  \n", ""),  # not in a job that built
        ("linux/amd64={a} linux/arm64={c}", "linux/arm64: the build made {c}; the verdict is for {b}"),
        ("linux/amd64={b} linux/arm64={a}", "linux/amd64: the build made {b}"),
        ("linux/amd64={a}", "linux/arm64: the build made nothing"),
        ("linux/amd64= linux/arm64=", "linux/amd64: the build made nothing"),  # outputs that were never set
        ("{a} {b}", "linux/amd64: the build made nothing"),
    ],
)
def test_image_that_the_build_did_not_make(root: Path, monkeypatch: pytest.MonkeyPatch, given: str, says: str) -> None:
    digests = {digit: digest(digit) for digit in "abc"}
    monkeypatch.setenv("BUILT_DIGESTS", given.format(**digests))
    assert (reasons() == []) == (not says)
    refused(*([says.format(**digests)] if says else []))


# --- the committed settings


def weaken() -> dict[str, str]:
    """Leave verdicts of one file and one pass, and return the settings that they are green by."""
    weak = {"SAMCLI_TESTS": model.requirements(layers.load_committed()).tests[0], "COMPAT_MIN_PASSED": "1"}

    def change(found: dict[str, Any]) -> None:
        found["gate"] |= {"tests": [weak["SAMCLI_TESTS"]], "min_passed": 1}
        found["runs"][0]["tests"] = found["runs"][0]["tests"][::4]

    for platform in BOTH:
        edit(platform, change)
    return weak


def weak_example(root: Path) -> str:
    lines = (root / ".env.example").read_text().splitlines()
    weak = {"SAMCLI_TESTS": model.requirements(layers.load_committed()).tests[0], "COMPAT_MIN_PASSED": "1"}
    changed = [f"{line.partition('=')[0]}={weak[line.partition('=')[0]]}" if line.partition("=")[0] in weak else line
               for line in lines]  # fmt: skip
    return "\n".join(changed) + "\n"


def test_neither_env_nor_the_environment_weakens_what_is_committed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weak = weaken()
    refused("was not required", "COMPAT_MIN_PASSED was 1; 35 is committed", **weak)
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in weak.items()))
    refused("was not required")
    commit_all(root)
    refused("was not required")
    for name, value in weak.items():
        monkeypatch.setenv(name, value)
    refused("was not required")


def test_weaker_settings_count_once_they_are_committed(root: Path) -> None:
    text = weak_example(root)
    weaken()
    (root / ".env.example").write_text(text)
    refused(".env.example has changed since the last commit")
    git("add", ".env.example", cwd=root)
    refused(".env.example has changed since the last commit")
    git("commit", "--quiet", "--message=weaker", cwd=root)
    assert reasons() == []


@pytest.mark.parametrize("hidden", ["--assume-unchanged", "--skip-worktree"])
def test_changed_settings_that_git_was_asked_not_to_look_at(root: Path, hidden: str) -> None:
    text = weak_example(root)
    weaken()
    git("update-index", hidden, ".env.example", cwd=root)
    (root / ".env.example").write_text(text)
    assert git("status", "--porcelain", cwd=root) == ""
    refused(".env.example has changed since the last commit")


def test_changed_settings_behind_a_filter_of_this_clone(root: Path) -> None:
    """Git shows no change, and checks out another file than was committed."""
    weaken()
    (root / "weak").write_text(weak_example(root))
    shutil.copy(root / ".env.example", root / "strong")
    (root / ".git/info/exclude").write_text("weak\nstrong\n")
    git("config", "filter.weak.smudge", f'cat "{root}/weak"', cwd=root)
    git("config", "filter.weak.clean", f'cat "{root}/strong"', cwd=root)
    git("config", "diff.weak.textconv", f'cat "{root}/weak" #', cwd=root)
    (root / ".git/info/attributes").write_text(".env.example filter=weak diff=weak\n")
    (root / ".env.example").unlink()
    git("checkout", "--", ".env.example", cwd=root)
    assert git("status", "--porcelain", cwd=root) == ""
    assert "COMPAT_MIN_PASSED=1\n" in (root / ".env.example").read_text()
    refused(".env.example has changed since the last commit")


def test_committed_settings_that_were_replaced_in_this_clone(root: Path) -> None:
    text = weak_example(root)
    weaken()
    committed = git("rev-parse", "HEAD:.env.example", cwd=root)
    (root / ".env.example").write_text(text)
    git("replace", committed, git("hash-object", "-w", ".env.example", cwd=root), cwd=root)
    assert git("show", "HEAD:.env.example", cwd=root) == text.strip()
    refused(".env.example has changed since the last commit")


def test_git_variables_do_not_name_another_repository(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose committed settings are weaker."""
    other = tmp_path / "other"
    shutil.copytree(root, other, ignore=shutil.ignore_patterns(".git", ".compat"))
    (other / ".env.example").write_text(weak_example(root))
    commit_all(other)
    weaken()
    shutil.copy(other / ".env.example", root)
    for name, value in {
        "GIT_DIR": f"{other}/.git", "GIT_WORK_TREE": f"{other}", "GIT_INDEX_FILE": f"{other}/.git/index",
        "GIT_OBJECT_DIRECTORY": f"{other}/.git/objects", "GIT_COMMON_DIR": f"{other}/.git", "GIT_PREFIX": "x/",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{other}/.git/objects", "GIT_REPLACE_REF_BASE": "refs/heads/",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    refused(".env.example has changed since the last commit")
    for name, value in {"COUNT": "1", "KEY_0": "core.worktree", "VALUE_0": str(other)}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    refused(".env.example ")


@pytest.mark.parametrize("hidden", [(), ("--assume-unchanged",), ("--skip-worktree",)])
def test_gate_that_was_edited_since_the_last_commit(root: Path, hidden: tuple[str, ...]) -> None:
    """Such as a rule that was left out for a moment."""
    (root / "scripts/VERSION").write_text(f"{(root / 'scripts/VERSION').read_text()}\n")
    if hidden:
        git("update-index", *hidden, "scripts/VERSION", cwd=root)
    refused("files here have changed since the last commit: commit them and run the gate again")


def test_settings_without_a_commit(root: Path) -> None:
    shutil.rmtree(root / ".git")
    refused(".env.example is not committed")


@pytest.mark.parametrize("given", ["linux/amd64", "linux/amd64 linux/amd64"])
def test_fewer_platforms_than_committed(root: Path, given: str) -> None:
    refused("linux/arm64 is in the committed PUBLISH_PLATFORMS and left out here", PUBLISH_PLATFORMS=given)


def test_more_than_committed_is_fine(root: Path) -> None:
    def strengthen(found: dict[str, Any]) -> None:
        found["gate"]["refs"].append("latest")
        found["gate"]["tests"].append(found["runs"][0]["tests"][0]["id"])
        found["gate"] |= {"min_passed": 40, "reruns": 0}
        found["runs"].append(found["runs"][0] | {"ref": "v1.164.0", "words": ["latest"]})

    for platform in BOTH:
        edit(platform, strengthen)
    assert reasons() == []


def test_passes_of_other_tests_do_not_count_towards_the_committed_minimum(root: Path) -> None:
    def pad(found: dict[str, Any]) -> None:
        found["gate"]["tests"].append("tests/other.py")
        tests = found["runs"][0]["tests"]
        for test in tests[8:]:
            test["id"] = f"tests/other.py::{test['id'].rpartition('::')[2]}"

    for platform in BOTH:
        edit(platform, pad)
    refused("develop: Only 8 tests passed; COMPAT_MIN_PASSED requires 35")


def test_whole_file_is_more_than_one_of_its_tests(root: Path) -> None:
    text = (root / ".env.example").read_text()
    one = verdict_of(image("linux/amd64")).runs[0].tests[0].id
    files = model.requirements(layers.load_committed()).tests
    (root / ".env.example").write_text(text.replace(files[0], one).replace("MIN_PASSED=35", "MIN_PASSED=31"))
    commit_all(root)
    assert reasons() == []


def test_verdict_of_another_kind_of_image_store(root: Path) -> None:
    """An image has other ids there; its config digest is the same."""
    edit("linux/arm64", lambda value: value["candidate"].update(image_id=digest("c")), "candidate.json")
    assert reasons() == []


# --- which way `latest` moves


@pytest.mark.parametrize(
    ("version", "there", "given", "stays"),
    [
        ("1.2.1", {"1.2.0"}, {}, ""),
        ("1.2.1", {"1.2.1"}, {}, ""),
        ("1.10.0", {"1.9.0"}, {}, ""),
        ("1.9.0", {"1.10.0"}, {}, "it is at 1.10.0"),
        ("1.3.0rc1", {"1.3.0"}, {}, "it is at 1.3.0"),
        ("1.3.0", {"1.3.0rc1"}, {}, ""),
        ("1.1.9", {"1.2.1"}, {}, "it is at 1.2.1, PUBLISH_OLDER=1 would move it to 1.1.9"),
        ("1.1.9", {"1.2.1"}, {"PUBLISH_OLDER": "1"}, ""),
        ("1.1.9", {"1.1.0", "1.2.1"}, {}, "it is at 1.1.0 1.2.1"),
        ("1.1.9", set(), {}, ""),
        ("1.1.9", {"nightly"}, {}, "it is at (Invalid version: 'nightly') nightly"),
        ("1.1.9", {"nightly"}, {"PUBLISH_OLDER": "1"}, ""),
        ("1.2.1", {"1.2.0"}, {"PUBLISH_LATEST": "0"}, "PUBLISH_LATEST is 0"),
        ("1.1.9", {"1.2.0"}, {"PUBLISH_LATEST": "0", "PUBLISH_OLDER": "1"}, "PUBLISH_LATEST is 0"),
    ],
)  # fmt: skip
def test_latest_goes_forward(root: Path, version: str, there: set[str], given: dict[str, str], stays: str) -> None:
    found = release.why_latest_stays(version, there, layers.load(given))
    assert found.startswith(stays)
    assert bool(found) == bool(stays)
