"""A small emulator: an image of a few files that answers on the port it is started with."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import docker
from docker.errors import APIError, NotFound

# Two test runs may share an engine: each has a repository of its own.
REPOSITORY = f"compat.example/durable/emulator-{os.getpid()}"
# Containers that are not the gate's have names that begin with this.
OTHERS = REPOSITORY.rpartition("/")[2]
# The route that the consumer asks for. An empty file `health` means that the image lost it.
ANSWER = """#!/bin/busybox sh
status=404
[ -s /health ] && status=200
echo "- - - [-] \\"$REQUEST_METHOD $REQUEST_URI HTTP/1.1\\" $status -" >&2
printf 'Status: %s -\\r\\n\\r\\n' $status
/bin/busybox cat /health
"""
# The label keeps the image's id from being that of another test run's image.
DOCKERFILE = f"""FROM scratch
LABEL tests={REPOSITORY}
COPY busybox /bin/busybox
COPY answer /www/cgi-bin/health
COPY health /health
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www", "-p"]
CMD ["9014"]
"""


def write_emulator(folder: Path, busybox: Path) -> Path:
    """Write the emulator's source into a folder."""
    shutil.copy2(busybox, folder / "busybox")
    (folder / "health").write_text("ok\n")
    (folder / "answer").write_text(ANSWER)
    (folder / "answer").chmod(0o755)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def build(folder: Path, tag: str) -> str:
    """Build an image of the emulator's repository and return its name."""
    reference = f"{REPOSITORY}:{tag}"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", reference, str(folder)],
        check=True,
    )
    return reference


def build_variant(
    emulator: Path, folder: Path, tag: str, instruction: str
) -> str:
    """Build an image that one more Dockerfile instruction makes different; return its tag."""
    source = shutil.copytree(emulator, folder / tag)
    with (source / "Dockerfile").open("a") as file:
        file.write(f"{instruction}\n")
    build(source, tag)
    return tag


def untag(client: docker.DockerClient, repository: str) -> None:
    """Remove a repository's images by tag: another test run's may be the same image."""
    for tag in tags_of(client, repository):
        # A container of a failed test uses it.
        with contextlib.suppress(APIError):
            client.images.remove(tag, force=True)


def tags_of(client: docker.DockerClient, repository: str) -> list[str]:
    """Return the full names of a repository's images."""
    for _ in range(20):
        # containerd's list fails while another test run is removing an image.
        with contextlib.suppress(NotFound):
            return [
                tag
                for image in client.api.images()
                for tag in image["RepoTags"] or []
                if tag.startswith(f"{repository}:")
            ]
        time.sleep(0.5)
    return []
