"""The Docker engine that the docker CLI would use, asked through the SDK."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.tls import TLSConfig
from requests.exceptions import RequestException

from gate.cli import GateError
from gate.programs import call

Client = docker.DockerClient
ERRORS = (DockerException, RequestException)
# These select another builder, or another platform than the engine's.
NOT_HANDED_ON = {"BUILDX_BUILDER", "DOCKER_DEFAULT_PLATFORM"}


def environment() -> dict[str, str]:
    """Return DOCKER_HOST, and the TLS settings if any, of the docker CLI's current context.

    The SDK's own from_env() knows DOCKER_HOST only; Docker Desktop, colima and rootless engines are contexts.
    """
    answer = call(["docker", "context", "inspect"], failure="cannot find out which Docker engine to use")
    context = json.loads(answer)[0]
    found = {"DOCKER_HOST": context["Endpoints"]["docker"]["Host"]}
    if "docker" in (context.get("TLSMaterial") or {}):
        found |= {"DOCKER_CERT_PATH": f"{context['Storage']['TLSPath']}/docker", "DOCKER_TLS_VERIFY": "1"}
    elif os.environ.get("DOCKER_TLS_VERIFY"):
        default = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
        found |= {"DOCKER_CERT_PATH": os.environ.get("DOCKER_CERT_PATH") or default, "DOCKER_TLS_VERIFY": "1"}
    return found


def cli_environment() -> dict[str, str]:
    """Return the environment of the docker CLI: the caller's, without what names another builder or platform."""
    return {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}


def connect() -> docker.DockerClient:
    """Return a client of the current engine. Raises GateError if none answers or its use is not permitted."""
    at = environment()
    host, tls = at["DOCKER_HOST"], None
    if host.startswith("ssh://"):
        raise GateError(f"{host}: an engine over ssh is not supported: forward its socket and set DOCKER_HOST to that")
    if certificates := at.get("DOCKER_CERT_PATH"):
        pair = (f"{certificates}/cert.pem", f"{certificates}/key.pem")
        tls = TLSConfig(client_cert=pair, ca_cert=f"{certificates}/ca.pem", verify=True)
    try:
        return docker.DockerClient(base_url=host, version="auto", tls=tls or False)
    except ERRORS as error:
        if "PermissionError" in str(error):
            raise GateError(f"{host}: permission denied: join the group `docker` or set DOCKER_HOST") from None
        remedy = "start it, set DOCKER_HOST, or on Debian and Ubuntu run `make engine`"
        raise GateError(f"{host}: no Docker engine answers: {remedy} ({_brief(error)})") from None


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
    """Convert an engine that stops answering, or that refuses a request, to a GateError of one line."""
    try:
        yield
    except APIError as error:
        raise GateError(f"the Docker engine refused a request: {_brief(error.explanation or error)}") from None
    except ERRORS as error:
        raise GateError(f"the Docker engine stopped answering ({_brief(error)}): start it and run again") from None


def platform(client: docker.DockerClient) -> str:
    """Return the engine's own platform as images name it, e.g. linux/amd64."""
    about = client.version()
    return f"{about['Os']}/{about['Arch']}"


def image_id(client: docker.DockerClient, reference: str) -> str | None:
    """Return the id that a name has in this engine now, None if it has none."""
    try:
        return str(client.images.get(reference).id)
    except ImageNotFound:
        return None


def volumes(client: docker.DockerClient) -> list[str]:
    """Return the names of the volumes that this engine has."""
    return [str(volume["Name"]) for volume in client.api.volumes()["Volumes"] or []]


def name_of(container: dict[str, Any]) -> str:
    """Return the name of a container in a listing, its id where it has none: it is being removed."""
    return str(next(iter(container.get("Names") or []), container["Id"])).lstrip("/")


def remove_container(client: docker.DockerClient, container: str) -> None:
    """Kill and remove a container and its anonymous volumes; do nothing if it is gone."""
    try:
        client.api.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):  # 409: it is being removed already
            raise


def short(image: str) -> str:
    """Return the first twelve digits of an image id."""
    return image.removeprefix("sha256:")[:12]


def _brief(error: Exception | str) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
