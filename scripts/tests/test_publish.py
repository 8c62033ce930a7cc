"""make publish against a real registry on loopback, with images of two platforms; on both kinds of image store."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from gate import settings as layers
from gate import workspace
from gate.containers import images, registry
from gate.containers.images import Image
from gate.verdict import candidate as candidates
from gate.verdict import model
from gate.verdict.model import Run, Shard, TestResult, Verdict

from .conftest import Gate, Registry, commit_all, commit_settings, copy_template, missing, shim, untag

pytestmark = pytest.mark.engine

REPOSITORY = f"compat.example/release/emulator-{os.getpid()}"  # two test runs may share an engine
REVISION = "1234567890abcdef1234567890abcdef12345678"
BOTH = ("linux/amd64", "linux/arm64")


class Builder:
    """Small images, each built once in an engine and kept there."""

    def __init__(self, client: docker.DockerClient, folder: Path, host: str = "") -> None:
        self.client, self.folder, self.made = client, folder, 0
        self.environ = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "SOURCE_DATE_EPOCH": "1"}
        self.environ |= {"DOCKER_HOST": host} if host else {}
        self.kept: dict[tuple[str, ...], str] = {}

    def build(self, platform: str, content: str = "good", version: str = "1.2.1", revision: str = REVISION) -> str:
        """Return the id of an image, by a tag that no test removes."""
        key = (platform, content, version, revision)
        if key not in self.kept:
            self.made += 1
            tag = f"{REPOSITORY}:made-{self.made}"
            (self.folder / "content").write_text(f"{platform} {content}")
            (self.folder / "Dockerfile").write_text('FROM scratch\nCOPY content /\nCMD ["/content"]\n')
            labels = {"version": version, "revision": revision}
            options = [f"--label={images.LABEL}.{name}={value}" for name, value in labels.items() if value]
            options += ["--label=sam-compat.stand-in=true"] if content == "stand-in" else []
            command = ["docker", "buildx", "build", "--load", "--quiet", f"--platform={platform}", f"--tag={tag}"]
            subprocess.run([*command, *options, self.folder], check=True, capture_output=True, env=self.environ)
            self.kept[key] = tag
        return str(self.client.images.get(self.kept[key]).id)


@pytest.fixture(scope="module")
def builder(docker_client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    if subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode:
        missing("no buildx: install its docker plugin")
    yield Builder(docker_client, tmp_path_factory.mktemp("context"))
    untag(docker_client, REPOSITORY)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gate = Gate(copy_template(tmp_path_factory.mktemp("committed") / "template"), {})
    commit_settings(gate, EMULATOR_REPOSITORY=REPOSITORY)
    return gate.root


class Release:
    """A copy of the template whose .compat/ holds a green verdict for each platform."""

    def __init__(self, gate: Gate, builder: Builder) -> None:
        self.gate, self.builder, self.client = gate, builder, builder.client
        self.tested: dict[str, Image] = {}

    def judge(self, platform: str, **of_image: str) -> Image:
        """Build an image and leave the verdict of a run that used it."""
        image_id = self.builder.build(platform, **of_image)
        reference = f"{REPOSITORY}:pr-1234567890ab"  # the same for both, as they are of one commit
        self.client.images.get(image_id).tag(*reference.split(":"))
        tested = images.describe(self.client, reference)
        gate = model.requirements(layers.load_committed())
        tests = [TestResult(f"{gate.tests[number % 4]}::test_{number}", "passed", shard="a") for number in range(40)]
        run = Run("develop", "c" * 40, "1.164.0", ["develop"], tests=tests)
        run.shards = [Shard("a", 1.0, {tested.image_id: 4}, served=4)]
        Verdict(gate, tested, [run], []).save()
        candidates.save(tested, layers.load_committed())
        self.tested[platform] = tested
        return tested

    def file(self, platform: str, name: str = "verdict.json") -> Path:
        return self.gate.root / ".compat" / platform.replace("/", "-") / name

    def save(self, platform: str, reference: str = "") -> None:
        """Leave image.tar, as another machine would."""
        tar = self.file(platform, "image.tar")
        subprocess.run(["docker", "save", "--output", tar, reference or self.tested[platform].image_id], check=True)

    def publish(self, **settings: str) -> "subprocess.CompletedProcess[str]":
        done = self.gate.script("publish.py", **settings)
        assert "Traceback" not in done.stdout, done.stdout
        return done


@pytest.fixture
def release(
    committed: Path, builder: Builder, loopback: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Release]:
    root = tmp_path / "template"
    shutil.copytree(committed, root, symlinks=True)
    monkeypatch.setattr(workspace, "ROOT", root)
    monkeypatch.setattr(workspace, "COMPAT", root / ".compat")
    monkeypatch.setattr(layers, "ROOT", root)
    made = Release(Gate(root, {"PUBLISH_REPOSITORY": loopback.repository}), builder)
    for platform in BOTH:
        made.judge(platform)
    yield made
    untag(builder.client, loopback.repository)


def tags(version: str = "1.2.1") -> list[str]:
    return [f"v{version}-x86_64", f"v{version}-arm64", f"v{version}"]


def published(loopback: Registry, *names: str) -> list[registry.Manifest | None]:
    return [loopback.holds(tag) for tag in names or (*tags(), "latest")]


def held(loopback: Registry, tag: str) -> registry.Manifest:
    found = loopback.holds(tag)
    assert found, tag
    return found


def pushed(output: str) -> list[str]:
    return [line.split()[1].rpartition(":")[2] for line in output.splitlines() if line.startswith("pushed ")]


def refused(release: Release, loopback: Registry, *says: str, **settings: str) -> None:
    done = release.publish(**settings)
    assert done.returncode == 1, done.stdout
    reasons = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    for part in says:
        assert any(part in reason for reason in reasons), done.stdout
    assert pushed(done.stdout) == []
    assert published(loopback) == [None] * 4


def test_image_that_was_built_on_a_stand_in_is_refused(release: Release, loopback: Registry) -> None:
    release.judge("linux/amd64", content="stand-in")
    refused(release, loopback, "linux/amd64: it was built on a stand-in of its base image")


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


@pytest.mark.containerd
def test_two_platforms_and_again(release: Release, loopback: Registry, tmp_path: Path) -> None:
    output = str(tmp_path / "output")
    dry = release.publish(PUBLISH_DRY_RUN="1", GITHUB_OUTPUT=output)
    assert dry.returncode == 0, dry.stdout
    for platform, tag in zip(BOTH, tags(), strict=False):
        assert f"would push {release.tested[platform].image_id} as {loopback.repository}:{tag}" in dry.stdout
    assert f"would move {loopback.repository}:latest to v1.2.1" in dry.stdout
    assert published(loopback) == [None] * 4
    assert not Path(output).exists()
    assert not (release.gate.root / ".compat/test-result.json").exists()

    first_step = release.publish(PUBLISH_LATEST="0", GITHUB_OUTPUT=output)
    assert first_step.returncode == 0, first_step.stdout
    assert pushed(first_step.stdout) == tags()
    assert f"{loopback.repository}:latest stays: PUBLISH_LATEST is 0" in first_step.stdout
    assert loopback.holds("latest") is None
    x86_64, arm64, whole = (held(loopback, tag) for tag in tags())
    assert whole.members == {"linux/amd64": x86_64.digest, "linux/arm64": arm64.digest}
    for platform, found in ((BOTH[0], x86_64), (BOTH[1], arm64)):
        assert found.config == release.tested[platform].config_digest
    assert Path(output).read_text() == f"name={loopback.repository}\ndigest={whole.digest}\n"
    predicate = json.loads((release.gate.root / ".compat/test-result.json").read_text())
    assert predicate["result"] == "PASSED"
    assert len(predicate["passedTests"]) == 80

    second_step = release.publish()
    assert second_step.returncode == 0, second_step.stdout
    assert pushed(second_step.stdout) == ["latest"]
    assert loopback.holds("latest") == whole
    assert published(loopback, *tags()) == [x86_64, arm64, whole]

    again = release.publish()
    assert again.returncode == 0, again.stdout
    assert pushed(again.stdout) == []
    assert again.stdout.count("already pushed") == 3
    assert f"unchanged {loopback.repository}:latest ({whole.digest})" in again.stdout
    for platform in BOTH:
        release.client.images.get(release.tested[platform].image_id)  # else it raises


def test_latest_goes_forward_unless_it_is_meant_to_go_back(release: Release, loopback: Registry) -> None:
    assert release.publish().returncode == 0
    newest = held(loopback, "latest")
    for platform in BOTH:
        release.judge(platform, content="older", version="1.1.9")
    done = release.publish()
    assert done.returncode == 0, done.stdout
    assert pushed(done.stdout) == tags("1.1.9")
    assert f"{loopback.repository}:latest stays: it is at 1.2.1, PUBLISH_OLDER=1 would move it to 1.1.9" in done.stdout
    assert loopback.holds("latest") == newest == loopback.holds("v1.2.1")

    back = release.publish(PUBLISH_OLDER="1")
    assert back.returncode == 0, back.stdout
    assert pushed(back.stdout) == ["latest"]
    assert loopback.holds("latest") == loopback.holds("v1.1.9") != newest

    for platform in BOTH:
        release.judge(platform)
    assert pushed(release.publish().stdout) == ["latest"]
    assert loopback.holds("latest") == newest


def test_latest_without_a_version_may_be_moved(release: Release, loopback: Registry) -> None:
    release.client.images.get(release.builder.build("linux/amd64", version="")).tag(loopback.repository, "latest")
    subprocess.run(["docker", "push", "--quiet", f"{loopback.repository}:latest"], check=True, capture_output=True)
    done = release.publish()
    assert done.returncode == 0, done.stdout
    assert pushed(done.stdout) == [*tags(), "latest"]
    assert loopback.holds("latest") == loopback.holds("v1.2.1")


def test_latest_whose_version_cannot_be_read_is_not_moved(release: Release, loopback: Registry, tmp_path: Path) -> None:
    assert release.publish().returncode == 0
    before = loopback.holds("latest")
    for platform in BOTH:
        release.judge(platform, content="next", version="1.3.0")
    done = release.publish(PATH=shim(tmp_path, "imagetools inspect --format", "echo ERROR: 503 >&2; exit 1"))
    assert done.returncode == 2
    listed = ", ".join(f"{loopback.repository}:{tag}" for tag in tags("1.3.0"))
    assert done.stdout.splitlines()[-1].startswith("error: cannot read the version of ")
    assert done.stdout.splitlines()[-1].endswith(f"; pushed: {listed}")
    assert loopback.holds("latest") == before


def test_result_is_written_before_latest_moves(release: Release, loopback: Registry, tmp_path: Path) -> None:
    result = release.gate.root / ".compat/test-result.json"
    action = f'cp "{result}" "{tmp_path}/copy"; exit 1'
    done = release.publish(PATH=shim(tmp_path, f"imagetools create --tag {loopback.repository}:latest ", action))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].endswith(f"; perhaps pushed: {loopback.repository}:latest")
    assert json.loads((tmp_path / "copy").read_text())["result"] == "PASSED"

    file = release.file("linux/arm64")
    edit(file, lambda value: value.update(green=False, reasons=["develop: 1 of 40 tests failed"]))
    done = release.publish()
    assert done.returncode == 1
    assert "refused: linux/arm64: the verdict is red" in done.stdout
    assert not result.exists(), "an earlier one must not be signed for this verdict"


def test_one_platform_if_no_more_is_committed(release: Release, loopback: Registry) -> None:
    release.file("linux/arm64").unlink()
    commit_settings(release.gate, PUBLISH_PLATFORMS="linux/amd64")
    done = release.publish()
    assert done.returncode == 0, done.stdout
    assert loopback.holds("latest") == held(loopback, "v1.2.1")
    assert release.publish().returncode == 0
    before = published(loopback)

    release.judge("linux/arm64")
    commit_settings(release.gate, PUBLISH_PLATFORMS="linux/amd64 linux/arm64")
    done = release.publish()
    assert done.returncode == 1
    assert f"refused: {loopback.repository}:v1.2.1 exists with other content" in done.stdout
    assert published(loopback) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.update(green=False, reasons=["develop: nothing ran"]), "linux/arm64: the verdict is red"),
        (lambda value: value["gate"].update(min_passed=1), "COMPAT_MIN_PASSED was 1; 35 is committed"),
        (lambda value: value.update(green=False, reasons=["x\n::error::y"]), "linux/arm64: x ::error::y"),
    ],
)
def test_nothing_is_pushed_of_a_release_that_is_refused(
    release: Release, loopback: Registry, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(release.file("linux/arm64"), change)
    refused(release, loopback, says)


def test_digest_that_the_build_handed_on(release: Release, loopback: Registry) -> None:
    good, bad = release.tested["linux/amd64"].config_digest, f"sha256:{'0' * 64}"
    built = f"linux/amd64={good} linux/arm64="
    refused(release, loopback, f"linux/arm64: the build made {bad}", BUILT_DIGESTS=built + bad)
    arm64 = release.tested["linux/arm64"].config_digest
    done = release.publish(BUILT_DIGESTS=built + arm64, PUBLISH_DRY_RUN="1")
    assert done.returncode == 0, done.stdout


# --- the tested image, and no other


def twin(release: Release) -> Image:
    """Another image with the same labels, known to the engine by its id only."""
    good = release.judge("linux/amd64")  # the tag, which both platforms have, is its again
    made = images.describe(release.client, release.builder.build("linux/amd64", content="bad"))
    assert (made.version, made.revision) == (good.version, good.revision)
    return made


@pytest.mark.containerd
@pytest.mark.parametrize("what", [["image_id"], ["config_digest"], ["image_id", "config_digest"]], ids="+".join)
@pytest.mark.parametrize(
    "names", [["verdict.json"], ["candidate.json"], ["verdict.json", "candidate.json"]], ids="+".join
)
def test_files_that_were_edited_to_a_twin(
    release: Release, loopback: Registry, what: list[str], names: list[str]
) -> None:
    bad, good = twin(release), release.tested["linux/amd64"]
    for name in names:
        file, text = release.file("linux/amd64", name), release.file("linux/amd64", name).read_text()
        if what == ["image_id", "config_digest"]:  # wherever it stands
            text = text.replace(good.image_id, bad.image_id).replace(good.config_digest, bad.config_digest)
            file.write_text(text)
        else:
            edit(file, lambda value: value["candidate"].update({name: getattr(bad, name) for name in what}))
    if (what, names) == (["image_id"], ["candidate.json"]):  # that machine's id may be another one
        assert release.publish(PUBLISH_DRY_RUN="1").returncode == 0
    else:
        refused(release, loopback, "linux/amd64: ")


def test_twin_with_the_candidate_removed(release: Release, loopback: Registry) -> None:
    bad, good = twin(release), release.tested["linux/amd64"]
    file = release.file("linux/amd64")
    file.write_text(
        file.read_text().replace(good.image_id, bad.image_id).replace(good.config_digest, bad.config_digest)
    )
    release.file("linux/amd64", "candidate.json").unlink()
    refused(release, loopback, "candidate.json is missing")


@pytest.mark.containerd
def test_image_retagged_after_its_verdict(release: Release, loopback: Registry) -> None:
    good = release.judge("linux/amd64")
    bad = release.builder.build("linux/amd64", content="bad")
    release.client.images.get(bad).tag(*good.reference.split(":"))
    refused(release, loopback, f"{good.reference} now points to {bad}")


@pytest.mark.containerd
def test_config_digest_of_another_image_than_the_id(release: Release, loopback: Registry) -> None:
    """The id that the tests ran against and the digest that would be published must be of one image."""
    bad, good = twin(release), release.tested["linux/amd64"]
    for name in ("verdict.json", "candidate.json"):
        edit(
            release.file("linux/amd64", name), lambda value: value["candidate"].update(config_digest=bad.config_digest)
        )
    release.client.images.get(good.image_id)
    release.client.images.remove(good.reference)
    refused(release, loopback, f"{good.image_id} has the config digest {good.config_digest}")


@pytest.mark.containerd
def test_image_whose_tag_moved_to_the_other_platform_is_kept(release: Release, loopback: Registry) -> None:
    """Both platforms' candidates have one tag; what has no other must not go with the tag that was made for pushing."""
    image_id = release.judge("linux/amd64", content="lost").image_id
    lost = release.builder.kept.pop(("linux/amd64", "lost", "1.2.1", REVISION))
    for reference in (lost, release.judge("linux/arm64").reference):
        release.client.images.get(release.tested["linux/arm64"].image_id).tag(*reference.split(":"))
    assert release.client.images.get(image_id).tags == []
    for settings in ({"PUBLISH_LATEST": "0"}, {}):
        done = release.publish(**settings)
        assert done.returncode == 0, done.stdout
        assert release.client.images.get(image_id).id == image_id
    assert loopback.holds("latest") == held(loopback, "v1.2.1")
    left = [tag for each in release.client.images.list() for tag in each.tags if tag.startswith(loopback.repository)]
    assert left == [f"{loopback.repository}:v1.2.1-x86_64"], "only what keeps the image"


@pytest.mark.containerd
def test_image_from_its_archive(release: Release, loopback: Registry) -> None:
    for platform in BOTH:
        tested = release.judge(platform, content="travels")
        release.save(platform, tested.reference)
    forget(release, "travels")
    done = release.publish()
    assert done.returncode == 0, done.stdout
    latest = held(loopback, "latest")
    for platform, tag in zip(BOTH, tags(), strict=False):
        assert held(loopback, tag).config == release.tested[platform].config_digest
        assert latest.members[platform] == held(loopback, tag).digest


def forget(release: Release, content: str) -> None:
    """Remove the images of a content from the engine, and every tag that they have."""
    for key in [key for key in release.builder.kept if key[1] == content]:
        found = release.client.images.get(release.builder.kept.pop(key))
        release.client.images.remove(str(found.id), force=True)
    for tested in release.tested.values():
        with pytest.raises(docker.errors.ImageNotFound):
            release.client.images.get(tested.image_id)


@pytest.mark.containerd
def test_archive_that_was_exchanged_between_build_and_publish(release: Release, loopback: Registry) -> None:
    for platform in BOTH:
        release.judge(platform, content="gone")
    built = " ".join(f"{platform}={tested.config_digest}" for platform, tested in release.tested.items())
    release.save("linux/amd64")
    release.save("linux/arm64", release.builder.build("linux/arm64", content="bad"))
    forget(release, "gone")
    refused(release, loopback, "linux/arm64: ", "image.tar holds sha256:", BUILT_DIGESTS=built)
    assert "the verdict is for" in release.publish(BUILT_DIGESTS=built).stdout


@pytest.mark.parametrize("tar", [None, b"", b"no tar at all", b"half"], ids=["none", "empty", "damaged", "half"])
def test_archive_that_cannot_be_loaded(release: Release, loopback: Registry, tar: bytes | None) -> None:
    for platform in BOTH:
        release.judge(platform, content="gone")
        release.save(platform)
    forget(release, "gone")
    file = release.file("linux/arm64", "image.tar")
    content = file.read_bytes()
    file.unlink()
    if tar is not None:
        file.write_bytes(content[: len(content) // 2] if tar == b"half" else tar)
    refused(release, loopback, "is missing" if tar is None else "linux/arm64: ")


# --- the registry


@pytest.mark.containerd
@pytest.mark.parametrize("tag", ["v1.2.1", "v1.2.1-arm64"])
def test_version_that_exists_with_other_content(release: Release, loopback: Registry, tag: str) -> None:
    other = release.builder.build("linux/arm64", content="bad")
    release.client.images.get(other).tag(loopback.repository, tag)
    subprocess.run(["docker", "push", "--quiet", f"{loopback.repository}:{tag}"], check=True, capture_output=True)
    before = held(loopback, tag)
    done = release.publish()
    assert done.returncode == 1
    assert f"refused: {loopback.repository}:{tag} exists with other content ({before.digest})" in done.stdout
    assert loopback.holds(tag) == before
    assert published(loopback, "v1.2.1-x86_64", "latest") == [None, None]


def test_tag_that_another_publisher_moves_meanwhile_does_not_get_into_the_list(
    release: Release, loopback: Registry, tmp_path: Path
) -> None:
    other = f"{loopback.repository}:other"
    release.client.images.get(release.builder.build("linux/amd64", content="bad")).tag(*other.rsplit(":", 1))
    real = shutil.which("docker")
    moves = f"{real} push -q {other}; {real} buildx imagetools create --tag {loopback.repository}:v1.2.1-x86_64 {other}"
    action = f"{{ {moves}; }} >/dev/null 2>&1"
    done = release.publish(PATH=shim(tmp_path, f"push {loopback.repository}:v1.2.1-arm64", action))
    assert done.returncode == 0, done.stdout
    bad = images.describe(release.client, other).config_digest
    moved = registry.image(f"{loopback.repository}:v1.2.1-x86_64", "linux/amd64")
    assert moved
    assert moved.config == bad, "it was moved"
    found = registry.image(f"{loopback.repository}:latest", "linux/amd64")
    assert found
    assert found.config == release.tested["linux/amd64"].config_digest


@pytest.mark.parametrize(
    ("when", "done_before"),
    [
        ("push {}", 0),
        ("push {}:v1.2.2-arm64", 1),
        ("imagetools create --tag {}:v1.2.2 ", 2),
        ("imagetools create --tag {}:latest ", 3),
    ],
    ids=["at the first push", "between the pushes", "before the list", "before latest"],
)
def test_registry_that_goes_down(
    release: Release, loopback: Registry, tmp_path: Path, when: str, done_before: int
) -> None:
    for platform in BOTH:
        release.judge(platform, content="next", version="1.2.2")
    # SIGSTOP would hang; a registry that is gone refuses, and comes back with what it held.
    action = f'mv "{tmp_path}/registry" "{tmp_path}/away"; kill -KILL {loopback.process.pid}'
    done = release.publish(PATH=shim(tmp_path, when.format(loopback.repository), action))
    assert done.returncode == 2, done.stdout
    order = [f"{loopback.repository}:{tag}" for tag in (*tags("1.2.2"), "latest")]
    listed = f"pushed: {', '.join(order[:done_before]) or 'nothing'}; perhaps pushed: {order[done_before]}"
    last = done.stdout.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith(f"; {listed}")

    loopback.process.wait()
    if (tmp_path / "away").exists():
        (tmp_path / "away").rename(tmp_path / "registry")
    again = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "registry.yml")], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                requests.get(f"http://{loopback.address}/v2/", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                assert again.poll() is None
        assert loopback.holds("latest") is None, "latest has not moved"
        resumed = release.publish()
        assert resumed.returncode == 0, resumed.stdout
        assert pushed(resumed.stdout) == [tag.rpartition(":")[2] for tag in order[done_before:]]
        assert loopback.holds("latest") == held(loopback, "v1.2.2")
    finally:
        again.send_signal(signal.SIGKILL)
        again.wait()


def test_registry_that_is_not_there(release: Release, loopback: Registry) -> None:
    loopback.process.kill()
    loopback.process.wait()
    done = release.publish()
    assert done.returncode == 2
    last = done.stdout.splitlines()[-1]
    assert last == f"error: cannot read {loopback.repository}:v1.2.1-x86_64 from the registry; pushed: nothing"


def test_users_builder_and_platform_do_not_matter(release: Release, loopback: Registry) -> None:
    done = release.publish(BUILDX_BUILDER="no-such-builder", DOCKER_DEFAULT_PLATFORM="linux/s390x")
    assert done.returncode == 0, done.stdout
    assert loopback.holds("latest") == held(loopback, "v1.2.1")


# --- between machines


@pytest.mark.containerd
def test_from_a_green_run_to_latest(gate: Gate, emulator: Path, loopback: Registry, tmp_path: Path) -> None:
    """make compat saves what it tested; make publish on an engine that has forgotten it pushes that image."""
    shutil.copytree(emulator, tmp_path / "emulator")
    commit_all(tmp_path / "emulator")
    settings = {
        "EMULATOR_SOURCE": str(tmp_path / "emulator"),
        "EMULATOR_VERSION": "1.2.1",
        "COMPAT_SAVE_IMAGE": "1",
        "PUBLISH_REPOSITORY": loopback.repository,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    commit_settings(gate, PUBLISH_PLATFORMS="linux/amd64", **gate.settings)
    assert gate.compat(**settings).green
    tested = gate.verdict()["candidate"]
    (digest,) = re.findall(r"^digest-(linux-[a-z0-9]+=sha256:.+)$", (tmp_path / "output").read_text(), re.MULTILINE)
    subprocess.run(["docker", "rmi", "--force", tested["image_id"]], check=True, capture_output=True)
    weak = gate.make("publish", COMPAT_MIN_PASSED="1", **settings, BUILT_DIGESTS="linux/amd64=sha256:0")
    assert weak.returncode == 2
    assert "refused: linux/amd64: the build made sha256:0" in weak.stdout
    done = gate.make("publish", **settings, BUILT_DIGESTS=digest.replace("-", "/", 1))
    assert done.returncode == 0, done.stdout
    assert held(loopback, "v1.2.1-x86_64").config == tested["config_digest"]
    assert loopback.holds("latest") == held(loopback, "v1.2.1")


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Builder]:
    """Another engine than the first, of the other kind of image store if it is as .ci/second-engine makes it."""
    host = os.environ.get("SECOND_DOCKER_HOST", "")
    if not host:
        pytest.skip("SECOND_DOCKER_HOST does not name another engine")
    folder = tmp_path / "second"
    folder.mkdir()
    client = docker.DockerClient(base_url=host, version="auto")
    yield Builder(client, folder, host)
    untag(client, REPOSITORY)


@pytest.mark.containerd
@pytest.mark.parametrize("to_second", [True, False], ids=["to the second engine", "from the second engine"])
def test_image_that_one_engine_built_is_published_by_another(
    release: Release, loopback: Registry, second: Builder, to_second: bool
) -> None:
    there = os.environ["SECOND_DOCKER_HOST"]
    builds, host = (release.builder, there) if to_second else (second, "")
    made = Release(release.gate, builds)
    for platform in BOTH:
        tested = made.judge(platform, content=f"crosses {to_second}")
        tar = made.file(platform, "image.tar")
        subprocess.run(["docker", "save", "--output", tar, tested.reference], check=True, env=builds.environ)
        assert images.digest_of(tar) == tested.config_digest
    built = " ".join(f"{platform}={tested.config_digest}" for platform, tested in made.tested.items())
    settings = {"BUILT_DIGESTS": built} | ({"DOCKER_HOST": host} if host else {})
    done = release.publish(**settings)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("loading ") + done.stdout.count("docker load") >= 2, done.stdout
    for platform, tag in zip(BOTH, tags(), strict=False):
        assert held(loopback, tag).config == made.tested[platform].config_digest
    assert loopback.holds("latest") == held(loopback, "v1.2.1")
    assert release.publish(**settings).returncode == 0
    client = second.client if to_second else release.client
    untag(client, loopback.repository)
    untag(client, REPOSITORY)
