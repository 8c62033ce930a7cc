"""make publish against a registry on loopback: what is pushed, in which order, and what is not."""

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
import requests
from docker.errors import ImageNotFound

from gate import engine, images, registry
from gate.images import Image

from . import conftest
from .conftest import Gate, Registry, commit_all, commit_settings, shim, untag
from .test_release import BOTH, COMMIT, leave, move

pytestmark = pytest.mark.engine
REPOSITORY = f"{conftest.REPOSITORY}-publish"
TAGS = ["v1.2.1-x86_64", "v1.2.1-arm64", "v1.2.1"]


@pytest.fixture
def clone(
    template: Gate,
    docker_client: docker.DockerClient,
    loopback: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Gate]:
    """A clone with a green verdict for each platform that publishes to the loopback registry."""
    move(monkeypatch, template.root)
    given = {"EMULATOR_REPOSITORY": REPOSITORY, "PUBLISH_REPOSITORY": loopback.repository}
    commit_settings(template, **given)
    for platform in BOTH:
        judge(template, platform)
    yield template
    for repository in given.values():
        untag(docker_client, repository)


def judge(clone: Gate, platform: str, content: str = "good", version: str = "1.2.1") -> Image:
    """Build an image and leave its image.tar and a green verdict for it."""
    reference = f"{REPOSITORY}:pr-1"  # the same for both, as they are of one commit
    build(clone, reference, platform, content, version)
    found = images.describe(engine.connect(), reference)
    tar = clone.root / ".compat" / platform.replace("/", "-") / "image.tar"
    tar.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["docker", "save", f"--output={tar}", found.image_id], check=True)
    tested = dataclasses.replace(found, config_digest=images.digest_of(tar))
    leave(tested)
    return tested


def build(clone: Gate, reference: str, platform: str, content: str, version: str) -> None:
    folder = clone.root.parent
    (folder / "content").write_text(f"{platform} {content}")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY content /\nCMD /content\n")
    labels = {f"{images.LABEL}.version": version, f"{images.LABEL}.revision": COMMIT}
    labels |= {images.STAND_IN: "true"} if content == "stand-in" else {}
    command = ["docker", "buildx", "build", "--load", "--quiet", f"--tag={reference}"]
    command += [f"--platform={platform}", *(f"--label={name}={labels[name]}" for name in labels)]
    environ = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    subprocess.run([*command, str(folder)], check=True, env=environ)


def publish(clone: Gate, code: int, tags: list[str], **given: str) -> str:
    """Publish, with this exit code and these pushes; return what was printed."""
    done = clone.script("publish.py", **given)
    pushed = re.findall(r"(?m)^pushed \S+:(\S+) \(sha256:", done.stdout)
    assert (done.returncode, pushed) == (code, tags), done.stdout
    return done.stdout


def there(loopback: Registry) -> list[registry.Manifest | None]:
    return [loopback.holds(tag) for tag in (*TAGS, "latest")]


def config(reference: str, platform: str) -> str:
    found = registry.platform_manifest(reference, platform)
    return found.config if found else ""


@pytest.mark.containerd
def test_two_platforms_in_two_steps_and_again(
    clone: Gate, loopback: Registry, tmp_path: Path, docker_client: docker.DockerClient
) -> None:
    tested = [judge(clone, platform, content="travels") for platform in BOTH]
    for candidate in tested:  # as on another machine, which has image.tar only
        with contextlib.suppress(ImageNotFound):  # containerd's store drops what lost its tag
            docker_client.images.remove(candidate.image_id, force=True)
    output = publish(clone, 0, [], PUBLISH_DRY_RUN="1")
    assert all(f"{loopback.repository}:{tag}" in output for tag in TAGS)
    assert there(loopback) == [None] * 4

    publish(clone, 0, TAGS, PUBLISH_LATEST="0", GITHUB_OUTPUT=str(tmp_path / "output"))
    x86_64, arm64, whole, latest = there(loopback)
    assert x86_64 and arm64 and whole and not latest  # noqa: PT018
    assert whole.members == {BOTH[0]: x86_64.digest, BOTH[1]: arm64.digest}
    for candidate in tested:
        reference = f"{loopback.repository}:v1.2.1"
        assert config(reference, candidate.platform) == candidate.config_digest
    handed_on = f"name={loopback.repository}\ndigest={whole.digest}\n"
    assert (tmp_path / "output").read_text() == handed_on

    assert publish(clone, 0, ["latest"]).count("already pushed ") == 3
    output = publish(clone, 0, [])
    assert f"unchanged {loopback.repository}:latest ({whole.digest})" in output
    assert there(loopback) == [x86_64, arm64, whole, whole]


@pytest.mark.containerd
def test_a_version_with_other_content_is_never_overwritten(clone: Gate, loopback: Registry) -> None:
    publish(clone, 0, TAGS, PUBLISH_LATEST="0")
    for tag in ("v1.2.1", "v1.2.1-arm64"):
        other = f"{loopback.repository}:{tag}"
        build(clone, other, "linux/arm64", "other", "1.2.1")
        subprocess.run(["docker", "push", "--quiet", other], check=True)
        before = there(loopback)
        assert f"refused: {other} already exists with different content (" in publish(clone, 1, [])
        assert there(loopback) == before


def test_an_image_that_is_not_the_tested_one_is_refused(
    clone: Gate, loopback: Registry, docker_client: docker.DockerClient
) -> None:
    gone = judge(clone, "linux/arm64", content="gone")
    docker_client.images.remove(gone.image_id, force=True)
    tar = clone.root / ".compat/linux-arm64/image.tar"
    shutil.copy(clone.root / ".compat/linux-amd64/image.tar", tar)
    assert f"refused: digest mismatch: {tar} " in publish(clone, 1, [])
    tar.unlink()
    assert f"refused: linux/arm64: {gone.image_id} is not in this" in publish(clone, 1, [])
    judge(clone, "linux/arm64", content="stand-in")
    assert "refused: linux/arm64: it was built on a stand-in of its" in publish(clone, 1, [])
    assert there(loopback) == [None] * 4


def test_a_release_that_failed_half_way_goes_on_with_the_same_images(
    clone: Gate, loopback: Registry, tmp_path: Path
) -> None:
    for tar in clone.root.glob(".compat/*/image.tar"):  # on the machine that tested
        tar.unlink()
    path = shim(tmp_path, f"create --tag {loopback.repository}:v1.2.1 ", "exit 1")
    output = publish(clone, 2, TAGS[:2], PATH=path)
    assert f"error: {loopback.repository}:v1.2.1 cannot be written" in output
    x86_64, arm64, *others = there(loopback)
    assert others == [None, None]
    publish(clone, 0, ["v1.2.1", "latest"])
    assert there(loopback)[:2] == [x86_64, arm64]


LAG = 2.0  # seconds, less than registry.PAUSE
KINDS = ("oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.v2")


@pytest.fixture
def lagging(loopback: Registry) -> Iterator[str]:
    """A repository whose registry goes on showing each tag as it was before a push (fact 27)."""
    earlier: dict[str, tuple[float, requests.Response]] = {}

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://{loopback.address}{self.path}"
            headers = {"Accept": ", ".join(f"application/vnd.{kind}+json" for kind in KINDS)}
            if "/blobs/" in self.path:
                self.send_response(307)
                self.send_header("Location", url)
                self.end_headers()
                return
            if self.command == "PUT":
                headers["Content-Type"] = self.headers["Content-Type"]
                before = requests.get(url, headers=headers, timeout=9)
                earlier[self.path] = (time.monotonic(), before)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = requests.request(self.command, url, data=body, headers=headers, timeout=9)
            since, before = earlier.get(self.path, (0.0, answer))
            if self.command != "PUT" and time.monotonic() - since < LAG:
                answer = before
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer.content)

        do_HEAD = do_PUT = do_POST = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        repository = f"localhost:{server.server_port}/durable/emulator"
        yield repository
        server.shutdown()
    untag(engine.connect(), repository)


def test_a_registry_that_answers_404_or_old_content_for_a_while(
    clone: Gate, loopback: Registry, lagging: str
) -> None:
    commit_settings(clone, PUBLISH_PLATFORMS="linux/amd64")
    publish(clone, 0, ["v1.2.1-x86_64", "v1.2.1", "latest"])
    judge(clone, "linux/amd64", version="1.3.0")
    began = time.monotonic()
    new = ["v1.3.0-x86_64", "v1.3.0", "latest"]
    publish(clone, 0, new, PUBLISH_REPOSITORY=lagging)
    assert time.monotonic() - began > 3 * LAG
    newest = loopback.holds("latest")
    assert newest == loopback.holds("v1.3.0") is not None

    judge(clone, "linux/amd64", version="1.2.9")
    output = publish(clone, 0, ["v1.2.9-x86_64", "v1.2.9"])
    assert f"{loopback.repository}:latest stays: it is 1.3.0, newer than 1.2.9" in output
    assert loopback.holds("latest") == newest


@pytest.mark.containerd
def test_from_a_green_run_to_latest(
    gate: Gate, emulator: Path, loopback: Registry, tmp_path: Path
) -> None:
    shutil.copytree(emulator, tmp_path / "emulator")
    commit_all(tmp_path / "emulator")
    platform = engine.platform(engine.connect())
    given = {"EMULATOR_SOURCE": str(tmp_path / "emulator"), "EMULATOR_VERSION": "1.2.1"}
    given |= {"SAMCLI_TESTS": "tests/test_steps.py", "PUBLISH_PLATFORMS": platform}
    given = gate.settings | given | {"COMPAT_MIN_PASSED": "1"}
    commit_settings(gate, **given)
    given |= {"COMPAT_SAVE_IMAGE": "1", "PUBLISH_REPOSITORY": loopback.repository}
    done = gate.make("compat", **given)
    assert done.returncode == 0, done.stdout
    tested = gate.verdict()["candidate"]
    engine.connect().images.remove(tested["image_id"], force=True)
    done = gate.make("publish", **given, BUILT_DIGESTS=f"{platform}=sha256:0")
    assert (done.returncode, loopback.holds("v1.2.1")) == (2, None), done.stdout
    done = gate.make("publish", **given, RELEASE_TAG="sdk-v1.0.0,v1.2.1")
    assert done.returncode == 0, done.stdout
    assert config(f"{loopback.repository}:latest", platform) == tested["config_digest"]
    untag(engine.connect(), loopback.repository)
