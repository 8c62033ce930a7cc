"""make engine: a Docker engine with buildx, and base images, on Debian or Ubuntu. Standard library only."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOCKET = "unix:///var/run/docker.sock"
TEST_TOOLS = {"busybox": "busybox-static", "docker-registry": "docker-registry"}  # for the template's tests
VERSION = ("docker", "version", "--format={{.Server.Version}}")
LABELS = ("docker", "image", "inspect", "--format={{json .Config.Labels}}")
BASES = ("python:3.13-slim", "public.ecr.aws/lambda/python:3.13-x86_64")


def main() -> int:
    """Install and start what is missing, and print the result; return 0, or 2 if none may start here."""
    if shutil.which("dockerd") and not shutil.which("docker"):
        debian("install", "docker-cli")  # a package of its own since Debian 13
    context = ask("docker", "context", "inspect", "--format={{.Endpoints.docker.Host}}")
    engine, host = ask(*VERSION), context or os.environ.get("DOCKER_HOST") or SOCKET
    if not engine and (reason := why_none_may_start(host)):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    tools = {"git": "git"} | ({} if engine else {"dockerd": "docker.io", "iptables": "iptables"})
    tools |= TEST_TOOLS if (HERE / "tests").exists() else {}
    packages = [package for command, package in tools.items() if not shutil.which(command)]
    packages += [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]
    if packages:
        debian("install", *packages)
    if not shutil.which("docker"):
        debian("install", "docker-cli")
    if not ask("docker", "buildx", "version"):
        debian("buildx")
    if not engine:
        debian("start")
    for image in BASES:
        debian("image", image)
    stand_ins = [image for image in BASES if "sam-compat.stand-in" in ask(*LABELS, image)]
    if stand_ins and not any(ask(f"{folder}/python3.13", "-V") for folder in os.get_exec_path()):
        debian("python3.13")  # where stand-ins were needed, uv cannot download it either
    for image in stand_ins:
        print(f"{image} is a stand-in, made from Debian's packages; to pull the real one, `docker rmi` it first.")
    print(f"Docker {ask(*VERSION)} answers at {host}.")
    return 0


def why_none_may_start(host: str) -> str:
    """Return why starting dockerd here would be wrong, "" if it would not."""
    answer = "".join(ask("bash", "-c", "docker version 2>&1 >/dev/null || true").splitlines()[-1:])
    if host != SOCKET:
        return f"no engine answers at {host} ({answer}): start it, or unset DOCKER_HOST and DOCKER_CONTEXT"
    if process := ask("pidof", "dockerd"):  # a second dockerd would take docker0 from the first
        remedy = "set DOCKER_HOST, join the `docker` group, or stop it"
        return f"dockerd runs (process {process}), but you cannot connect to {SOCKET} ({answer}): {remedy}"
    return ""


def ask(*command: str) -> str:
    """Return what a command prints, nothing if it fails or is missing."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def debian(step: str, *arguments: str) -> None:
    """Run one step of engine/debian, which prints what it does; exit with 2 if it fails."""
    if subprocess.run(["bash", HERE / "engine/debian", step, *arguments], stdin=subprocess.DEVNULL).returncode:
        sys.exit(2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    sys.exit(main())
