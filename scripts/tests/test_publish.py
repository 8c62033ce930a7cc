"""make publish against a real registry on loopback, with images of two platforms."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

import candidate
import config
import registry
import state
import verdict
from verdict import Case, Run

from .conftest import Gate, Registry, commit_all, commit_settings, shim

pytestmark = pytest.mark.engine

REPOSITORY = f"compat.example/release/emulator-{os.getpid()}"  # two test runs may share an engine
REVISION = "1234567890abcdef1234567890abcdef12345678"
BLANKS = (
    '{"green": true, "reasons": null, "candidate": {"image_id": "", "reference": "", "platform": ""}, "runs": [{}]}'
)
BOTH = ("linux/amd64", "linux/arm64")
ARCHITECTURE = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}


class Release:
    """A copy of the template whose .compat/ holds a green verdict for each platform."""

    def __init__(self, gate: Gate, client: docker.DockerClient, folder: Path) -> None:
        self.gate, self.client, self.folder = gate, client, folder
        self.ids: dict[str, str] = {}

    def build(self, platform: str, *, content: str = "good", version: str = "1.2.1", revision: str = REVISION) -> str:
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        (context / "content").write_text(f"{platform} {content}")
        (context / "Dockerfile").write_text('FROM scratch\nCOPY content /\nCMD ["/content"]\n')
        labels = {"version": version, "revision": revision}
        options = [f"--label={candidate.LABEL}.{name}={value}" for name, value in labels.items() if value]
        made = f"{REPOSITORY}:made"
        subprocess.run(
            ["docker", "build", "--quiet", "--platform", platform, "--tag", made, *options, context],
            check=True,
            capture_output=True,
            env=os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_BUILDKIT": "1"},
        )
        return str(self.client.images.get(made).id)

    def judge(self, platform: str, *, green: bool = True, tag: str = "pr-1234567890ab", **of_image: str) -> str:
        """Build an image and leave the verdict of a run that started it."""
        image_id = self.build(platform, **of_image)
        reference = f"{REPOSITORY}:{tag}"  # the same for both, as they are of one commit
        self.client.images.get(image_id).tag(*reference.split(":"))
        labels = self.client.images.get(image_id).labels
        version, revision = (labels.get(f"{candidate.LABEL}.{name}", "") for name in ("version", "revision"))
        tested = candidate.Candidate(image_id, reference, platform, version, revision, {}, {})
        gate = verdict.required(config.load(environ={}))
        tests = [Case(gate.tests[number % 4], f"test_{number}", "passed", 1.0) for number in range(40)]
        run = Run("develop", "c" * 40, "1.164.0", 1.0, tests, {image_id: 1})
        if not green:
            tests[0].outcome = "failed"
        self.write(platform, verdict.judge(gate, tested, [run], image_id).as_json())
        state.write_json(self.file(platform, "candidate.json"), dataclasses.asdict(tested))
        self.ids[platform] = image_id
        return image_id

    def write(self, platform: str, verdict: object) -> None:
        file = self.file(platform)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(verdict))

    def file(self, platform: str, name: str = "verdict.json") -> Path:
        return self.gate.root / ".compat" / platform.replace("/", "-") / name

    def publish(self, **settings: str) -> "subprocess.CompletedProcess[str]":
        done = self.gate.script("publish.py", **settings)
        assert "Traceback" not in done.stdout, done.stdout
        return done


@pytest.fixture
def release(
    template: Gate, docker_client: docker.DockerClient, loopback: Registry, tmp_path: Path
) -> Iterator[Release]:
    template.settings = {"PUBLISH_REPOSITORY": loopback.repository}
    commit_settings(template, EMULATOR_REPOSITORY=REPOSITORY)
    made = Release(template, docker_client, tmp_path)
    for platform in BOTH:
        made.judge(platform)
    yield made
    for image in docker_client.images.list():
        if any(tag.startswith((REPOSITORY, loopback.repository)) for tag in image.tags):
            docker_client.images.remove(str(image.id), force=True)


def published(loopback: Registry, version: str = "v1.2.1") -> list[registry.Manifest | None]:
    return [loopback.holds(tag) for tag in (f"{version}-x86_64", f"{version}-arm64", version, "latest")]


def test_two_platforms_and_again(release: Release, loopback: Registry, docker_client: docker.DockerClient) -> None:
    done = release.publish()
    assert done.returncode == 0, done.stdout
    first = published(loopback)
    x86_64, arm64, whole, latest = first
    assert x86_64
    assert arm64
    assert whole
    assert whole == latest
    assert whole.members == {"linux/amd64": x86_64.digest, "linux/arm64": arm64.digest}
    for platform in BOTH:
        by_digest = f"{loopback.repository}@{whole.members[platform]}"
        docker_client.images.remove(release.ids[platform], force=True)
        subprocess.run(["docker", "pull", "--quiet", "--platform", platform, by_digest], check=True)
        assert docker_client.images.get(by_digest).id == release.ids[platform]
    order = [line.split()[1].rpartition(":")[2] for line in done.stdout.splitlines() if line.startswith("pushed ")]
    assert order == ["v1.2.1-x86_64", "v1.2.1-arm64", "v1.2.1", "latest"]

    again = release.publish()
    assert again.returncode == 0, again.stdout
    assert "already published" in again.stdout
    assert "pushed" not in again.stdout
    assert published(loopback) == first


def test_latest_is_brought_to_a_published_version(release: Release, loopback: Registry) -> None:
    assert release.publish().returncode == 0
    first = loopback.holds("v1.2.1")
    for platform in BOTH:
        release.judge(platform, content="newer", version="1.3.0")
    assert release.publish().returncode == 0
    assert loopback.holds("latest") == loopback.holds("v1.3.0") != first
    for platform in BOTH:
        release.judge(platform)
    done = release.publish()
    assert done.returncode == 0, done.stdout
    assert loopback.holds("latest") == first


def test_dry_run_pushes_nothing(release: Release, loopback: Registry) -> None:
    done = release.publish(PUBLISH_DRY_RUN="1")
    assert done.returncode == 0, done.stdout
    for platform in BOTH:
        assert f"would push {release.ids[platform]} as {loopback.repository}:v1.2.1-" in done.stdout
    assert published(loopback) == [None] * 4


def test_one_platform_if_no_more_is_wanted(release: Release, loopback: Registry) -> None:
    release.file("linux/arm64").unlink()
    commit_settings(release.gate, PUBLISH_PLATFORMS="linux/amd64")
    done = release.publish()
    assert done.returncode == 0, done.stdout
    assert loopback.holds("latest") == loopback.holds("v1.2.1")
    assert release.publish().returncode == 0


def refused(release: Release, loopback: Registry, *says: str, **settings: str) -> None:
    done = release.publish(**settings)
    assert done.returncode == 1, done.stdout
    reasons = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    for part in says:
        assert any(part in reason for reason in reasons), done.stdout
    assert published(loopback) == [None] * 4


@pytest.mark.fault("publishing what has a red verdict", "refused")
def test_red_verdict(release: Release, loopback: Registry) -> None:
    release.judge("linux/arm64", green=False)
    refused(release, loopback, "linux/arm64: the verdict is red", "linux/arm64: develop: 1 of 40 tests failed")


@pytest.mark.fault("publishing with a verdict edited to green, its reasons left in it", "refused")
def test_green_without_its_reasons_being_empty(release: Release, loopback: Registry) -> None:
    edited = json.loads(release.file("linux/amd64").read_text()) | {"reasons": ["develop: no test of it passed"]}
    release.write("linux/amd64", edited)
    refused(release, loopback, "linux/amd64: no verdict", "green: True with 1 reasons")


def edit(release: Release, platform: str, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads(release.file(platform).read_text())
    change(found)
    release.write(platform, found)


EDITS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("no runs", lambda v: v.update(runs=[]), "develop: was not run"),
    ("an empty run", lambda v: v.update(runs=[{}]), "runs[0].ref is missing"),
    ("runs missing", lambda v: v.pop("runs"), "verdict.runs is missing"),
    ("a run without tests", lambda v: v["runs"][0].update(tests=[]), "no test of it passed"),
    ("a run without containers", lambda v: v["runs"][0].update(containers={}), "no emulator container was started"),
    ("a failed test", lambda v: v["runs"][0]["tests"][0].update(outcome="failed"), "1 of 40 tests failed"),
    ("an invented outcome", lambda v: v["runs"][0]["tests"][0].update(outcome="xyz"), "outcome that is not valid"),
    ("one test many times", lambda v: v["runs"][0].update(tests=v["runs"][0]["tests"][:4] * 10), "4 tests passed"),
    ("an unexpected container", lambda v: v["runs"][0].update(strangers=["x from y"]), "another image of"),
    ("another image's start", lambda v: v["runs"][0]["containers"].update({"sha256:x": 1}), "another image of"),
    ("a problem", lambda v: v["runs"][0].update(problems=["shard a-1 ended by signal 9"]), "shard a-1"),
    ("a committed ref missing", lambda v: v["gate"].update(refs=["v1.160.0"]), "not run with aws-sam-cli develop"),
    ("a committed file missing", lambda v: v["gate"].update(tests=v["gate"]["tests"][:3]), "was not required"),
    ("a lower minimum", lambda v: v["gate"].update(min_passed=1), "only 1 passed tests were required"),
    ("more retries", lambda v: v["gate"].update(reruns=9), "retried 9 times"),
    ("another consumer", lambda v: v["gate"].update(samcli_source="https://fork.example/x.git"), "fork.example"),
    ("schema 1", lambda v: v.pop("schema"), "has schema 1"),
    ("a later schema", lambda v: v.update(schema=3), "has schema 3"),
    ("gate missing", lambda v: v.pop("gate"), "verdict.gate is missing"),
]


@pytest.mark.parametrize(("change", "says"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_verdict_that_says_green_is_judged_again(
    release: Release, loopback: Registry, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(release, "linux/arm64", change)
    refused(release, loopback, says)


def test_verdict_of_fewer_requirements_than_committed_is_refused_whatever_env_says(
    release: Release, loopback: Registry
) -> None:
    def weaken(found: dict[str, Any]) -> None:
        found["gate"] |= {"tests": found["gate"]["tests"][:1], "min_passed": 1}
        found["runs"][0]["tests"] = [
            test for test in found["runs"][0]["tests"] if test["file"] in found["gate"]["tests"]
        ]

    for platform in BOTH:
        edit(release, platform, weaken)
    weak = {"SAMCLI_TESTS": json.loads(release.file(BOTH[0]).read_text())["gate"]["tests"][0], "COMPAT_MIN_PASSED": "1"}
    refused(release, loopback, "was not required", **weak)
    (release.gate.root / ".env").write_text("".join(f"{name}={value}\n" for name, value in weak.items()))
    refused(release, loopback, "was not required")
    commit_all(release.gate.root)
    refused(release, loopback, "was not required")


def test_more_than_committed_is_fine(release: Release, loopback: Registry) -> None:
    def strengthen(found: dict[str, Any]) -> None:
        found["gate"]["refs"].append("latest")
        found["runs"].append(found["runs"][0] | {"ref": "latest"})

    for platform in BOTH:
        edit(release, platform, strengthen)
    assert release.publish().returncode == 0


def test_settings_that_are_not_committed_are_refused(release: Release, loopback: Registry) -> None:
    example = release.gate.root / ".env.example"
    example.write_text(example.read_text().replace("COMPAT_MIN_PASSED=35", "COMPAT_MIN_PASSED=1"))
    refused(release, loopback, ".env.example has changed since the last commit")
    shutil.rmtree(release.gate.root / ".git")
    refused(release, loopback, ".env.example is not committed")


def test_fewer_platforms_than_committed_are_refused(release: Release, loopback: Registry) -> None:
    refused(release, loopback, "linux/arm64 is in the committed PUBLISH_PLATFORMS", PUBLISH_PLATFORMS="linux/amd64")


def test_verdict_edited_to_a_twin_image_with_the_candidate_removed(release: Release, loopback: Registry) -> None:
    twin = release.build("linux/amd64", content="twin")
    release.file("linux/amd64").write_text(
        release.file("linux/amd64").read_text().replace(release.ids["linux/amd64"], twin)
    )
    release.file("linux/amd64", "candidate.json").unlink()
    refused(release, loopback, "candidate.json is missing")


@pytest.mark.fault("publishing without a verdict of one platform", "refused")
def test_every_reason_is_told(release: Release, loopback: Registry) -> None:
    release.file("linux/arm64").unlink()
    release.judge("linux/amd64", version="", revision="")
    refused(release, loopback, "linux/arm64: no verdict", "label org.opencontainers.image.revision", "makes no tag")


@pytest.mark.parametrize(
    "damaged", ["{", "[]", "{}", '{"green": true, "reasons": [], "candidate": {}, "runs": []}', BLANKS]
)
@pytest.mark.fault("publishing with a verdict that is damaged or made up", "refused")
def test_damaged_verdict(release: Release, loopback: Registry, damaged: str) -> None:
    release.file("linux/arm64").write_text(damaged)
    refused(release, loopback, "linux/arm64: ")


@pytest.mark.parametrize("what", ["version", "revision"])
@pytest.mark.fault("publishing platforms of two versions or revisions", "refused")
def test_platforms_that_differ(release: Release, loopback: Registry, what: str) -> None:
    if what == "version":
        release.judge("linux/arm64", version="1.2.2")
    else:
        release.judge("linux/arm64", revision="f" * 40)
    refused(release, loopback, f"the platforms are not of one {what}: linux/amd64 is ")


@pytest.mark.fault("publishing what was built from a tree with changes", "refused")
def test_dirty_candidate(release: Release, loopback: Registry) -> None:
    for platform in BOTH:
        release.judge(platform, revision=f"{REVISION}-dirty")
    refused(release, loopback, f"built from a tree with changes ({REVISION}-dirty)")


@pytest.mark.fault("publishing what only its tag says was built from a tree with changes", "refused")
def test_dirty_by_its_tag_only(release: Release, loopback: Registry) -> None:
    release.judge("linux/amd64", tag="pr-1234567890ab-dirty")
    refused(release, loopback, "linux/amd64: it was built from a tree with changes")


@pytest.mark.fault("publishing with one platform's verdict copied to the other", "refused")
def test_verdict_of_another_platform(release: Release, loopback: Registry) -> None:
    shutil.copy(release.file("linux/amd64"), release.file("linux/arm64"))
    refused(release, loopback, "linux/arm64: the verdict is of linux/amd64")


@pytest.mark.parametrize("protects", ["candidate.json", "tag"])
@pytest.mark.fault("publishing with a verdict edited to name another image", "refused")
def test_verdict_edited_to_another_id(release: Release, loopback: Registry, protects: str) -> None:
    good = release.judge("linux/amd64")  # the tag, which both platforms have, is its again
    bad = release.build("linux/amd64", content="bad")
    release.file("linux/amd64").write_text(release.file("linux/amd64").read_text().replace(good, bad))
    if protects == "tag":
        made = release.file("linux/amd64", "candidate.json")
        made.write_text(made.read_text().replace(good, bad))
    refused(release, loopback, "by now, the verdict is of" if protects == "tag" else "candidate.json beside it is of")


@pytest.mark.fault("publishing after the candidate's tag was moved to another image", "refused")
def test_image_retagged_after_its_verdict(
    release: Release, loopback: Registry, docker_client: docker.DockerClient
) -> None:
    release.judge("linux/amd64")
    reference = json.loads(release.file("linux/amd64").read_text())["candidate"]["reference"]
    docker_client.images.get(release.build("linux/amd64", content="bad")).tag(*reference.split(":"))
    refused(release, loopback, f"{reference} names sha256:")


def save_and_forget(release: Release, platform: str, image_id: str) -> None:
    tar = release.file(platform, "image.tar")
    subprocess.run(["docker", "save", "--output", tar, image_id], check=True)
    release.client.images.remove(image_id, force=True)


def test_image_from_its_tar(release: Release, loopback: Registry) -> None:
    for platform in BOTH:
        save_and_forget(release, platform, release.ids[platform])
    done = release.publish()
    assert done.returncode == 0, done.stdout
    latest = loopback.holds("latest")
    assert latest
    for platform in BOTH:
        arch = loopback.holds(f"v1.2.1-{ARCHITECTURE[platform]}")
        assert arch
        assert arch.is_image(release.ids[platform])
        assert latest.members[platform] == arch.digest


@pytest.mark.fault("publishing from an image.tar that holds another image", "refused")
def test_tar_with_another_image(release: Release, loopback: Registry) -> None:
    save_and_forget(release, "linux/arm64", release.build("linux/arm64", content="bad"))
    release.client.images.remove(release.ids["linux/arm64"], force=True)
    refused(release, loopback, "image.tar holds another image than")


@pytest.mark.parametrize("tar", [None, b"", b"no tar at all"], ids=["none", "empty", "damaged"])
@pytest.mark.fault("publishing from an image.tar that is missing, empty or damaged", "refused")
def test_no_image_to_be_had(release: Release, loopback: Registry, tar: bytes | None) -> None:
    release.client.images.remove(release.ids["linux/arm64"], force=True)
    if tar is not None:
        release.file("linux/arm64", "image.tar").write_bytes(tar)
    refused(release, loopback, "is neither in this engine nor in" if tar is None else "linux/arm64: ")


@pytest.mark.parametrize("tag", ["v1.2.1", "v1.2.1-arm64"])
@pytest.mark.fault("publishing a version that exists with other content", "refused")
def test_version_that_exists_with_other_content(release: Release, loopback: Registry, tag: str) -> None:
    other = release.build("linux/arm64", content="bad")
    release.client.images.get(other).tag(loopback.repository, tag)
    subprocess.run(["docker", "push", "--quiet", f"{loopback.repository}:{tag}"], check=True)
    before = loopback.holds(tag)
    done = release.publish()
    assert done.returncode == 1
    assert f"refused: {loopback.repository}:{tag} exists with other content ({before and before.digest})" in done.stdout
    assert loopback.holds(tag) == before
    assert loopback.holds("v1.2.1-x86_64") is None
    assert loopback.holds("latest") is None


@pytest.mark.parametrize(
    ("when", "pushed"),
    [
        ("push --quiet", []),
        ("push --quiet {}:v1.2.2-arm64", ["v1.2.2-x86_64"]),
        ("imagetools create --tag {}:v1.2.2 ", ["v1.2.2-x86_64", "v1.2.2-arm64"]),
        ("imagetools create --tag {}:latest ", ["v1.2.2-x86_64", "v1.2.2-arm64", "v1.2.2"]),
    ],
    ids=["at the first push", "between the pushes", "before the list", "before latest"],
)
@pytest.mark.fault("the registry goes down at any step of publishing", "error")
def test_registry_that_goes_down(
    release: Release, loopback: Registry, tmp_path: Path, when: str, pushed: list[str]
) -> None:
    assert release.publish().returncode == 0
    before = loopback.holds("latest")
    for platform in BOTH:
        release.judge(platform, content="next", version="1.2.2")
    when = when.format(loopback.repository)
    # SIGSTOP would hang; a registry that is gone refuses, and comes back with what it held.
    path = shim(tmp_path, when, f"mv {tmp_path}/registry {tmp_path}/away; kill -KILL {loopback.process.pid}")
    done = release.publish(PATH=path)
    assert done.returncode == 1, done.stdout
    last = done.stdout.splitlines()[-1]
    told = ", ".join(f"{loopback.repository}:{tag}" for tag in pushed)
    assert (f"; pushed: {told}; perhaps " in last) if pushed else ("; pushed: " not in last)
    in_flight = next(tag for tag in ("v1.2.2-x86_64", "v1.2.2-arm64", "v1.2.2", "latest") if tag not in pushed)
    assert f"; perhaps {'moved' if in_flight == 'latest' else 'pushed'}: {loopback.repository}:{in_flight}" in last
    assert last.endswith(f"{loopback.repository}:latest")

    loopback.process.wait()
    (tmp_path / "away").rename(tmp_path / "registry")
    again = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "registry.yml")], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                requests.get(f"http://{loopback.address}/v2/", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                assert again.poll() is None
        assert loopback.holds("latest") == before, "latest has not moved"
        resumed = release.publish()
        assert resumed.returncode == 0, resumed.stdout
        assert loopback.holds("latest") == loopback.holds("v1.2.2") != before
    finally:
        again.send_signal(signal.SIGKILL)
        again.wait()


@pytest.mark.fault("publishing a version that exists with fewer platforms", "refused")
def test_list_of_fewer_platforms_is_other_content(release: Release, loopback: Registry) -> None:
    commit_settings(release.gate, PUBLISH_PLATFORMS="linux/amd64")
    assert release.publish().returncode == 0
    commit_settings(release.gate, PUBLISH_PLATFORMS="linux/amd64 linux/arm64")
    before = published(loopback)
    done = release.publish()
    assert done.returncode == 1
    assert f"refused: {loopback.repository}:v1.2.1 exists with other content" in done.stdout
    assert published(loopback) == before


@pytest.mark.fault("there is no registry to publish to", "error")
def test_registry_that_is_not_there(release: Release, loopback: Registry) -> None:
    loopback.process.kill()
    loopback.process.wait()
    done = release.publish()
    assert done.returncode == 1
    assert "error: the registry does not tell what" in done.stdout.splitlines()[-1]
    assert "; not pushed: " in done.stdout.splitlines()[-1]
    assert "; pushed: " not in done.stdout.splitlines()[-1]


def test_from_a_green_run_to_latest(
    gate: Gate, emulator: Path, loopback: Registry, docker_client: docker.DockerClient, tmp_path: Path
) -> None:
    """make compat saves what it tested; make publish on an engine that has forgotten it pushes those bits."""
    shutil.copytree(emulator, tmp_path / "emulator")
    commit_all(tmp_path / "emulator")
    settings = {
        "EMULATOR_SOURCE": str(tmp_path / "emulator"),
        "EMULATOR_VERSION": "1.2.1",
        "COMPAT_SAVE_IMAGE": "1",
        "PUBLISH_REPOSITORY": loopback.repository,
    }
    commit_settings(gate, PUBLISH_PLATFORMS="linux/amd64", **gate.settings)
    done = gate.make("compat", **settings)
    assert done.returncode == 0, done.stdout
    image_id = gate.verdict()["candidate"]["image_id"]
    docker_client.images.remove(image_id, force=True)
    done = gate.make("publish", **settings)
    assert done.returncode == 0, done.stdout
    pushed = loopback.holds("v1.2.1-x86_64")
    assert pushed
    assert pushed.is_image(image_id)
    assert loopback.holds("latest") == loopback.holds("v1.2.1")
