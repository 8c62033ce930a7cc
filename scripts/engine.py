"""make engine: a Docker engine with buildx, and the base images, on Debian or Ubuntu where they are missing.

Standard library only, and nothing of `gate`: this runs before anything is installed. What is there stays as it is.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOCKET = "unix:///var/run/docker.sock"
TOOLS = {"git": "git", "make": "make"}
ENGINE_TOOLS = {"dockerd": "docker.io", "iptables": "iptables"}
TEST_TOOLS = {"busybox": "busybox-static", "docker-registry": "docker-registry"}  # of the template's own tests
VERSION = ("docker", "version", "--format={{.Server.Version}}")
BASES = ("python:3.13-slim", "public.ecr.aws/lambda/python:3.13-x86_64")
STAND_IN = "sam-compat.stand-in"  # the label of a stand-in, and of each image that is built on it


def main() -> None:
    """Install and start what is missing, and print what is there."""
    engine = ask(*VERSION)
    if not engine:
        check_that_one_may_start()
    tools = TOOLS | ({} if engine else ENGINE_TOOLS) | (TEST_TOOLS if (HERE.parent / ".ci/run").exists() else {})
    packages = [package for command, package in tools.items() if not shutil.which(command)]
    packages += [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]
    if packages:
        debian("install", *packages)
    if not shutil.which("docker"):
        debian("install", "docker-cli")  # a package of its own since Debian 13
    if not ask("docker", "buildx", "version"):
        debian("buildx")
    if not engine:
        debian("start")
    for image in BASES:
        if not labels(image):
            debian("image", image)
    stand_ins = [image for image in BASES if STAND_IN in labels(image)]
    if stand_ins and not any(ask(f"{folder}/python3.13", "-V") for folder in os.get_exec_path()):
        debian("python3.13")  # which uv downloads where registries can be reached
    for image in stand_ins:
        print(f"{image} is a stand-in, made from Debian's packages; to pull the real one, `docker rmi` it first.")
    print(f"Docker {ask(*VERSION)} answers at {host()}.")


def check_that_one_may_start() -> None:
    """Exit with 2 if an engine that starts here would not be the one that is meant, or not the only one."""
    reason = "".join(ask("bash", "-c", "docker version 2>&1 >/dev/null || true").splitlines()[-1:])
    if host() != SOCKET:
        fail(f"no engine answers at {host()} ({reason}): start it, or unset DOCKER_HOST and DOCKER_CONTEXT")
    if process := ask("pidof", "dockerd"):  # a second one would take the bridge of the first, docker0
        fail(
            f"dockerd runs (process {process}) but not for you at {SOCKET} ({reason}): "
            "set DOCKER_HOST, join the `docker` group, or stop it"
        )


def host() -> str:
    """Return the address that the docker command uses."""
    context = ask("docker", "context", "inspect", "--format={{.Endpoints.docker.Host}}")
    return context or os.environ.get("DOCKER_HOST") or SOCKET


def labels(image: str) -> str:
    """Return an image's labels as JSON, which is never empty; nothing if there is no such image."""
    return ask("docker", "image", "inspect", "--format={{json .Config.Labels}}", image)


def ask(*command: str) -> str:
    """Return what a command prints, nothing if it fails or is missing."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def debian(step: str, *arguments: str) -> None:
    """Take one step of engine/debian, which prints what it does; exit with 2 if it fails."""
    if subprocess.run(["bash", HERE / "engine/debian", step, *arguments], stdin=subprocess.DEVNULL).returncode:
        sys.exit(2)


def fail(message: str) -> None:
    """Print the error and exit with 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    main()
