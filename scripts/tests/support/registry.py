"""Image registries on loopback."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import requests

from gate import registry

from .machine import missing
from .server import running_server

# Every kind of manifest. A registry answers with an image of a list that is not among these.
ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


@dataclass
class Registry:
    """A registry that runs."""

    address: str
    process: "subprocess.Popen[bytes]"

    @property
    def repository(self) -> str:
        """The name of the one repository that the tests push to."""
        return f"{self.address}/durable/emulator"

    def holds(self, tag: str) -> registry.Manifest | None:
        """Return what a tag of the repository holds."""
        return registry.inspect(f"{self.repository}:{tag}")

    def stop(self) -> None:
        """Refuse every connection from now on."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """Run an empty registry that keeps its files in a folder."""
    program = shutil.which("docker-registry")
    if not program:
        missing("no registry program: install docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = {
        "filesystem": {"rootdirectory": f"{folder}/registry"},
        "delete": {"enabled": True},
    }
    config = {
        "version": 0.1,
        "storage": storage,
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.yml").write_text(json.dumps(config))
    with (folder / "registry.log").open("wb") as log:
        command = [program, "serve", str(folder / "registry.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Registry(f"localhost:{port}", process)
    try:
        while not _answers(running):
            assert process.poll() is None, (folder / "registry.log").read_text()
            time.sleep(0.05)
        yield running
    finally:
        running.stop()


def _answers(running: Registry) -> bool:
    try:
        requests.get(
            f"http://{running.address}/v2/", timeout=5
        ).raise_for_status()
    except requests.ConnectionError:
        return False
    return True


@contextlib.contextmanager
def lagging_front(behind: Registry, seconds: float) -> Iterator[str]:
    """Run a front of a registry that goes on showing a tag as it was before a push.

    It does so from the first request for the tag on, for so many seconds. Yields the name of its
    repository.
    """
    earlier: dict[str, requests.Response] = {}
    first_asked: dict[str, float] = {}

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://{behind.address}{self.path}"
            if "/blobs/" in self.path:
                self.send_response(307)
                self.send_header("Location", url)
                self.end_headers()
                return
            headers = {"Accept": ACCEPT}
            if self.command == "PUT":
                headers["Content-Type"] = self.headers["Content-Type"]
                earlier[self.path] = requests.get(
                    url, headers=headers, timeout=9
                )
                first_asked.pop(self.path, None)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = requests.request(
                self.command, url, data=body, headers=headers, timeout=9
            )
            if self.command != "PUT" and self.path in earlier:
                now = time.monotonic()
                if now - first_asked.setdefault(self.path, now) < seconds:
                    answer = earlier[self.path]
            self.send_response(answer.status_code)
            for name in (
                "Content-Type",
                "Content-Length",
                "Docker-Content-Digest",
            ):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer.content)

        do_HEAD = do_PUT = do_POST = do_GET

    with running_server(Front) as server:
        yield f"localhost:{server.server_port}/durable/emulator"
