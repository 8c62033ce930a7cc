"""The Docker engine that the docker CLI would use, asked through the SDK."""

import json
import os
from typing import Any

import docker
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound

from gate import workspace
from gate.programs import GateError, call


def context() -> dict[str, Any]:
    """Return the docker CLI's current context, as `docker context inspect` shows it."""
    command = ["docker", "context", "inspect", "--format={{json .}}"]
    printed = call(command, failure="docker has no current context")
    if not printed:
        # podman-docker's `docker` succeeds and prints nothing.
        raise GateError(
            "`docker context inspect` prints nothing: is `docker` Docker's own program?"
        )
    inspected: dict[str, Any] = json.loads(printed)
    return inspected


def docker_environment() -> dict[str, str]:
    """Return the variables that lead the SDK, and aws-sam-cli, to the CLI's engine.

    The SDK's own `from_env()` knows variables, not contexts (FACTS.md#docker-contexts).
    """
    current = context()
    endpoint = current["Endpoints"]["docker"]
    variables = {"DOCKER_HOST": endpoint["Host"]}
    if current["TLSMaterial"].get("docker"):
        # Empty: encrypted, and not verified.
        variables["DOCKER_TLS_VERIFY"] = (
            "" if endpoint["SkipTLSVerify"] else "1"
        )
        variables["DOCKER_CERT_PATH"] = (
            f"{current['Storage']['TLSPath']}/docker"
        )
    of_caller = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    return variables | {
        name: os.environ[name] for name in of_caller if name in os.environ
    }


def connect() -> DockerClient:
    """Return a client of the engine. Raises GateError if none answers."""
    variables = docker_environment()
    host = variables["DOCKER_HOST"]
    if host.startswith("ssh://"):
        raise GateError(
            f"{host} is another machine: the gate needs an engine whose ports are on 127.0.0.1"
        )
    try:
        return docker.from_env(environment=variables)
    except DockerException as error:
        remedy = "start it, set DOCKER_HOST, or join the group `docker`"
        raise GateError(
            f"{host}: no engine answers ({_cause(error)}): {remedy}"
        ) from None


def _cause(error: BaseException) -> str:
    """Return the operating system's words below the errors of the HTTP client and of docker."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def platform(client: DockerClient) -> str:
    """Return the engine's own platform as images name it. Raises GateError for Podman."""
    version = client.version()
    if "Podman" in str(version.get("Components")):
        # Its events differ from Docker's (FACTS.md#podman-events).
        raise GateError(
            "the engine is Podman, whose events differ from Docker's: use Docker"
        )
    return f"{version['Os']}/{version['Arch']}"


def image_id(client: DockerClient, reference: str) -> str:
    """Return the id of an image of this engine, by name or id; "" if there is none."""
    try:
        return str(client.images.get(reference).id)
    except ImageNotFound:
        return ""


def short(image_id: str) -> str:
    """Return the twelve digits of an id that docker prints."""
    return image_id.removeprefix("sha256:")[:12]


def remove_leftovers(client: DockerClient) -> None:
    """Remove what this clone's runs left in the engine: containers and volumes.

    The gate's own have this clone's name. aws-sam-cli's function containers have names of its own
    and mount a folder of a shard.
    """
    prefix = f"{workspace.CLONE}-"
    ours = (
        prefix,
        f"{workspace.CACHE}/{prefix}",
        f"{workspace.MEMORY}/{prefix}",
    )
    for container in client.api.containers(all=True):
        marks = [
            mount.get("Source", "") for mount in container.get("Mounts") or []
        ]
        marks += [name.lstrip("/") for name in container.get("Names") or []]
        if any(mark.startswith(ours) for mark in marks):
            remove_container(client, container["Id"])
    for volume in client.volumes.list(filters={"name": prefix}):
        if volume.name.startswith(prefix):
            volume.remove()


def remove_container(client: DockerClient, container: str) -> None:
    """Remove a container by name or id, if it is there, with its anonymous volumes."""
    try:
        client.api.remove_container(container, force=True, v=True)
    except APIError as error:
        # 404: there is none. 409: it is being removed already.
        if error.status_code not in (404, 409):
            raise
