"""The Docker engine: the one the docker CLI would use, asked through the SDK."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.tls import TLSConfig
from requests.exceptions import RequestException

from command import GateError, call

ERRORS = (DockerException, RequestException)


def environment() -> dict[str, str]:
    """Return DOCKER_HOST, and the TLS settings if any, of the docker CLI's current context.

    The SDK's own from_env() knows DOCKER_HOST only; Docker Desktop, colima and rootless engines are contexts.
    """
    said = call(["docker", "context", "inspect"], failure="cannot tell which Docker engine to use")
    context = json.loads(said)[0]
    found = {"DOCKER_HOST": context["Endpoints"]["docker"]["Host"]}
    if "docker" in (context.get("TLSMaterial") or {}):
        found |= {"DOCKER_CERT_PATH": f"{context['Storage']['TLSPath']}/docker", "DOCKER_TLS_VERIFY": "1"}
    elif os.environ.get("DOCKER_TLS_VERIFY"):
        default = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
        found |= {"DOCKER_CERT_PATH": os.environ.get("DOCKER_CERT_PATH") or default, "DOCKER_TLS_VERIFY": "1"}
    return found


def connect() -> docker.DockerClient:
    """Return a client of the current engine. Raises GateError if there is none or it may not be used."""
    at = environment()
    host, tls = at["DOCKER_HOST"], None
    if certificates := at.get("DOCKER_CERT_PATH"):
        pair = (f"{certificates}/cert.pem", f"{certificates}/key.pem")
        tls = TLSConfig(client_cert=pair, ca_cert=f"{certificates}/ca.pem", verify=True)
    try:
        return docker.DockerClient(base_url=host, version="auto", tls=tls or False)
    except ERRORS as error:
        if "PermissionError" in str(error):
            remedy = "not permitted; join the `docker` group or choose an engine of your own with DOCKER_HOST"
        else:
            remedy = f"no Docker engine answers; start it or set DOCKER_HOST ({_brief(error)})"
        raise GateError(f"{host}: {remedy}") from None


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Raise GateError where the engine does not answer the SDK any more; what it answers with an error, says why."""
    try:
        yield
    except RequestException as error:
        if isinstance(error, APIError):
            raise
        raise GateError(
            f"the engine does not answer any more ({_brief(error)}): start the engine and run again"
        ) from None


def platform(client: docker.DockerClient) -> str:
    """Return the engine's own platform as images name it, e.g. linux/amd64."""
    about = client.version()
    return f"{about['Os']}/{about['Arch']}"


def platform_of(client: docker.DockerClient, reference: str) -> str:
    """Return an image's platform. Raises docker's ImageNotFound if there is no such image."""
    attributes = client.images.get(reference).attrs
    return f"{attributes['Os']}/{attributes['Architecture']}"


def image_id(client: docker.DockerClient, reference: str) -> str | None:
    """Return the id that a tag names in this engine now, or None. Ids of two engines are not comparable."""
    try:
        return str(client.images.get(reference).id)
    except ImageNotFound:
        return None


def remove_container(client: docker.DockerClient, container: str) -> None:
    """Kill and remove a container; nothing happens if it is gone already."""
    try:
        client.api.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):  # 409: somebody else is removing it
            raise


def short(image: str) -> str:
    """Return the first twelve digits of an image id."""
    return image.removeprefix("sha256:")[:12]


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
