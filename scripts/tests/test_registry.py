"""What a registry answers, and what keeps it from answering: an absent tag is neither."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gate.cli import GateError
from gate.containers import registry

from .conftest import Registry

NOWHERE = "registry.example/durable/emulator:v1"
DIGEST = f"sha256:{'a' * 64}"
LIST = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, *, out: str = "", err: str = "", code: int = 1) -> None:
    """Put a docker on PATH that prints what the real one was seen to print."""
    (folder / "out").write_text(out)
    (folder / "err").write_text(err)
    script = folder / "docker"
    script.write_text(f'#!/bin/sh\ncat "{folder}/err" >&2\ncat "{folder}/out"\nexit {code}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    "said",
    [
        'error getting credentials - err: exec: "docker-credential-ecr": executable file not found in $PATH, out: ``',
        'failed to do request: Head "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        'failed to do request: Head "http://registry.example/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
        "unexpected status from HEAD request to https://registry.example/v2/x/manifests/v1: 401 Unauthorized",
        "unexpected status from HEAD request to https://registry.example/v2/x/manifests/v1: 403 Forbidden",
        "pull access denied, repository does not exist or may require authorization: no basic auth credentials",
        "failed to fetch anonymous token: unexpected status from https://x/token: 404 Not Found: not found",
        'builder "v1: not found" not found',
        f"{NOWHERE}-other: not found",
        f'no builder "{NOWHERE}" found',
    ],
)
def test_what_cannot_be_read_is_not_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    fake(tmp_path, monkeypatch, err=f"ERROR: {said}\n")
    with pytest.raises(GateError, match=f"cannot read {NOWHERE} from the registry") as caught:
        registry.inspect(NOWHERE)
    assert caught.value.detail == [f"ERROR: {said}"]


@pytest.mark.parametrize("printed", ["", "WARNING: No output specified\n"])
def test_absent_is_what_the_registry_says_of_this_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    fake(tmp_path, monkeypatch, err=f"{printed}ERROR: {NOWHERE}: not found\n")
    assert registry.inspect(NOWHERE) is None


def test_docker_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateError, match="docker was not found: install it"):
        registry.inspect(NOWHERE)


@pytest.mark.parametrize("raw", ["", "<html>", "[]", "null", '{"manifests": [{}]}', '{"config": 5}', "[" * 99_999])
def test_answer_that_is_not_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    fake(tmp_path, monkeypatch, out=raw, code=0)
    with pytest.raises(GateError, match=f"{NOWHERE} is not a manifest that this gate can read"):
        registry.inspect(NOWHERE)


def member(platform: str, digit: str) -> dict[str, object]:
    system, architecture = platform.split("/")
    return {"digest": f"sha256:{digit * 64}", "platform": {"os": system, "architecture": architecture}}


def test_list_with_attestations_is_read_and_is_not_the_list_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As buildx pushes one by default."""
    images = [member("linux/amd64", "a"), member("linux/arm64", "b")]
    attested = [*images, member("unknown/unknown", "c"), member("unknown/unknown", "d")]
    fake(tmp_path, monkeypatch, out=json.dumps({"mediaType": LIST, "manifests": attested}), code=0)
    found = registry.inspect(NOWHERE)
    assert found
    assert found.members["linux/amd64"] == f"sha256:{'a' * 64}"
    assert len(found.members) == 4
    assert not found.is_list_of({"linux/amd64": f"sha256:{'a' * 64}", "linux/arm64": f"sha256:{'b' * 64}"})


IMAGE = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"org.opencontainers.image.version": "1.2.1"}}}
NEWER = {"architecture": "arm64", "os": "linux", "config": {"Labels": {"org.opencontainers.image.version": "1.3.0"}}}


@pytest.mark.parametrize(
    ("image", "versions"),
    [
        (IMAGE, {"1.2.1"}),
        ({"linux/amd64": IMAGE, "linux/arm64": IMAGE}, {"1.2.1"}),
        ({"linux/amd64": IMAGE, "linux/arm64": NEWER}, {"1.2.1", "1.3.0"}),
        ({"architecture": "amd64", "config": {"Env": ['x="org.opencontainers.image.version":"9"']}}, set()),
        ({"architecture": "amd64", "config": None}, set()),
        (None, set()),
    ],
)
def test_versions_are_the_labels_of_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: object, versions: set[str]
) -> None:
    fake(tmp_path, monkeypatch, out=json.dumps(image), code=0)
    assert registry.versions(NOWHERE) == versions


@pytest.mark.parametrize(("out", "code"), [("", 1), ("<html>", 0), ("[1]", 0)])
def test_version_that_cannot_be_read_is_not_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, code: int
) -> None:
    """Else `latest` could go back while its registry does not answer."""
    fake(tmp_path, monkeypatch, out=out, code=code, err="ERROR: 503 Service Unavailable\n")
    with pytest.raises(GateError, match="cannot read the version"):
        registry.versions(NOWHERE)


# --- with the real docker


@pytest.fixture
def answering() -> Iterator[tuple[str, dict[str, object]]]:
    """A server that answers every request as it is asked to: its address and the answer."""
    answer: dict[str, object] = {"code": 404, "headers": {}, "body": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(str(answer["code"])))
            headers, body = answer["headers"], answer["body"]
            assert isinstance(headers, dict)
            assert isinstance(body, bytes)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"localhost:{server.server_port}", answer
        server.shutdown()


@pytest.fixture(scope="module")
def buildx() -> None:
    try:
        subprocess.run(["docker", "buildx", "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no buildx: install its docker plugin")


@pytest.mark.parametrize(
    ("code", "headers", "body"),
    [
        (401, {}, ""),
        (401, {"WWW-Authenticate": 'Basic realm="x"'}, ""),
        (401, {"WWW-Authenticate": 'Bearer realm="http://localhost:1/token",service="x"'}, ""),
        (403, {}, '{"errors":[{"code":"DENIED"}]}'),
        (429, {}, '{"errors":[{"code":"TOOMANYREQUESTS"}]}'),
        (500, {}, "not found"),
        (302, {"Location": "http://localhost:1/"}, ""),
        (200, {"Content-Type": "text/html"}, "<html>not found</html>"),
    ],
)
@pytest.mark.usefixtures("buildx")
def test_server_that_refuses(
    answering: tuple[str, dict[str, object]], code: int, headers: dict[str, str], body: str
) -> None:
    address, answer = answering
    answer.update(code=code, headers=headers, body=body.encode())
    with pytest.raises(GateError):
        registry.inspect(f"{address}/durable/emulator:v1")


@pytest.mark.usefixtures("buildx")
def test_credential_helper_that_is_missing(
    answering: tuple[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, answer = answering
    (tmp_path / "cli-plugins").mkdir()
    plugins = (Path.home() / ".docker/cli-plugins", Path("/usr/libexec/docker/cli-plugins"))
    found = [plugin for folder in plugins if (plugin := folder / "docker-buildx").exists()]
    if found:  # it lies in the folder of the configuration, which is another one here
        (tmp_path / "cli-plugins/docker-buildx").symlink_to(found[0])
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {address: "not-there"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    answer.update(code=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(GateError) as caught:
        registry.inspect(f"{address}/durable/emulator:v1")
    assert any("executable file not found" in line for line in caught.value.detail)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "localhost:1"])
@pytest.mark.usefixtures("buildx")
def test_host_that_does_not_answer(host: str) -> None:
    with pytest.raises(GateError, match="cannot read"):
        registry.inspect(f"{host}/durable/emulator:v1")


@pytest.mark.parametrize("name", ["durable/emulator:v1", "no/such/repository:v1", f"durable/emulator@{DIGEST}"])
@pytest.mark.parametrize("builder", ["", "no-such-builder"])
def test_absent_tag_repository_and_digest(
    loopback: Registry, monkeypatch: pytest.MonkeyPatch, name: str, builder: str
) -> None:
    monkeypatch.setenv("BUILDX_BUILDER", builder)
    assert registry.inspect(f"{loopback.address}/{name}") is None
