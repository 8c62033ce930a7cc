"""The Docker engine that the docker CLI would use, asked through the SDK."""

import os

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from gate import workspace
from gate.cli import GateError, call

Client = docker.DockerClient
TLS = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def context(template: str) -> str:
    command = ["docker", "context", "inspect", f"--format={template}"]
    return call(command, failure="docker has no current context")


def environment() -> dict[str, str]:
    # The SDK's own from_env() knows DOCKER_HOST, not the docker CLI's context (fact 16).
    tls = {name: os.environ[name] for name in TLS if name in os.environ}
    return tls | {"DOCKER_HOST": context("{{.Endpoints.docker.Host}}")}


def connect() -> Client:
    at = environment()
    try:
        return docker.from_env(environment=at)
    except DockerException as error:
        remedy = "start it, set DOCKER_HOST, or join the group `docker`"
        raise GateError(f"{at['DOCKER_HOST']}: no engine answers: {remedy} ({error})") from None


def platform(client: Client) -> str:
    """Return the engine's own platform as images name it. Raises GateError for Podman."""
    about = client.version()
    if "Podman" in str(about.get("Components")):  # fact 31
        raise GateError("the engine is Podman, whose events differ from Docker's: use Docker")
    return "{Os}/{Arch}".format_map(about)


def image_id(client: Client, reference: str) -> str:
    """Return the id that a name has in this engine now, "" if it has none."""
    try:
        return str(client.images.get(reference).id)
    except ImageNotFound:
        return ""


def short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def remove_leftovers(client: Client) -> None:
    """Remove what this clone's runs left: containers by name or by what they mount, and volumes."""
    prefix = f"{workspace.CLONE}-"
    ours = (prefix, f"{workspace.CACHE}/", f"{workspace.MEMORY}/{prefix}")
    for container in client.api.containers(all=True):
        places = [mount.get("Source", "") for mount in container.get("Mounts") or []]
        places += [name.lstrip("/") for name in container.get("Names") or []]
        if any(place.startswith(ours) for place in places):
            remove_container(client, container["Id"])
    for volume in client.volumes.list(filters={"name": prefix}):
        volume.remove()


def remove_container(client: Client, container: str) -> None:
    try:
        client.api.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):  # 409: it is being removed already
            raise
