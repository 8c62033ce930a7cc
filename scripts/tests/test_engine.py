"""make engine, on machines that shims on PATH pretend: nothing of the real one is installed, started or asked."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1]
REAL = (
    "bash",
    "cat",
    "cp",
    "dirname",
    "env",
    "grep",
    "head",
    "ln",
    "mkdir",
    "mktemp",
    "nproc",
    "rm",
    "sed",
    "seq",
    "sleep",
    "tail",
    "touch",
)
SLIM, LAMBDA = "python:3.13-slim", "public.ecr.aws/lambda/python:3.13-x86_64"
LIBRARIES = (
    "gcc make libc6-dev libssl-dev zlib1g-dev libffi-dev libsqlite3-dev libbz2-dev liblzma-dev uuid-dev xz-utils"
)
# Stands in for every program that would change or describe the machine; notes how it was called.
SHIM = r"""#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$STATE/calls"
add() { for command; do ln -s "$STATE/shim" "$STATE/bin/$command"; done; }
case "$name $*" in
  "id -u") cat "$STATE/uid" ;;
  "id -g") echo 1000 ;;
  sudo*) "$@" ;;
  *"apt-get indextargets"*) cat "$STATE/mirror" ;;
  *"apt-get update"*) touch "$STATE/lists" ;;
  *"apt-get install"*)
    [ -e "$STATE/lists" ] || exit 100
    shift 3
    for package; do
      grep -qx "$package" "$STATE/packages" || { echo "E: Unable to locate package $package"; exit 100; }
    done
    for package; do
      case $package in
        docker.io) add dockerd; [ -e "$STATE/cli-apart" ] || add docker ;;
        docker-cli) add docker ;;
        docker-buildx) touch "$STATE/buildx" ;;
        busybox-static) add busybox ;;
        git | iptables | docker-registry) add "$package" ;;
      esac
    done ;;
  *"apt-get -o"*"download docker-buildx") touch docker-buildx_1.deb ;;
  *"apt-get -o"*"source --download-only python3.13") touch python3.13_3.13.5.orig.tar.xz ;;
  "dpkg -x docker-buildx"*)
    mkdir -p usr/libexec/docker/cli-plugins
    touch usr/libexec/docker/cli-plugins/docker-buildx "$STATE/buildx" ;;
  "debootstrap "*) mkdir -p root/usr/bin root/etc/ssl/certs root/var/lib/apt ;;
  "tar xf"*)
    mkdir Python-3.13.5
    ln -s "$STATE/shim" Python-3.13.5/configure ;;
  "make altinstall") add python3.13 ;;
  "python3.13 -V") echo Python 3.13.5 ;;
  "pidof dockerd") cat "$STATE/dockerd" ;;
  "sh -c"*dockerd* | "systemctl start docker") [ -e "$STATE/broken" ] || touch "$STATE/engine" ;;
  "docker context"*) echo "${DOCKER_HOST:-unix:///var/run/docker.sock}" ;;
  "docker version"*) [ -e "$STATE/engine" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }; echo 28.5 ;;
  "docker buildx version") cat "$STATE/buildx" && echo buildx ;;
  "docker image inspect"*) shift 3; cat "$STATE/images/${1##*/}" ;;
  "docker pull"*)
    [ -e "$STATE/registry" ] || { echo "no such host"; exit 1; }
    for image; do :; done
    echo null >"$STATE/images/${image##*/}" ;;
  "docker import"* | "docker build"*)
    case "$*" in *python:3.13-slim) image=python:3.13-slim ;; *) image=python:3.13-x86_64 ;; esac
    echo '{"sam-compat.stand-in": "true"}' >"$STATE/images/$image" ;;
esac
"""


@dataclass
class Machine:
    """A machine with the programs and packages that a test gives it."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def add(self, *commands: str) -> None:
        for command in commands:
            (self.state / "bin" / command).symlink_to(self.state / "shim")

    def has(self, *facts: str, **contents: str) -> None:
        for name, content in {**dict.fromkeys(facts, ""), **contents}.items():
            (self.state / name).write_text(content)

    def run(self) -> "subprocess.CompletedProcess[str]":
        """Run it, after forgetting the calls of an earlier run."""
        (self.state / "calls").write_text("")
        environ = {
            "PATH": str(self.state / "bin"),
            "STATE": str(self.state),
            "HOME": str(self.root),
            "TMPDIR": str(self.root),
        }
        command = [sys.executable, str(self.root / "scripts/engine.py")]
        return subprocess.run(command, env=environ | self.settings, capture_output=True, text=True, timeout=60)

    def changes(self) -> list[str]:
        """Return the calls that install, start, fetch or make something, shortened to what they do."""
        found = []
        for command in (self.state / "calls").read_text().splitlines():
            if command.startswith("apt-get -o"):
                command = "trixie: " + command.split("APT::Sandbox::User=root ")[1]
            elif command.startswith(("sh -c", "systemctl start")):
                command = "start dockerd"
            elif command.startswith(("docker import", "docker build ")):
                command = f"{' '.join(command.split()[:2])} {SLIM if SLIM in command else LAMBDA}"
            elif command.startswith("debootstrap"):
                command = "debootstrap"
            harmless = ("sudo", "apt-get indextargets", "id", "pidof", "python3.13", "tar", "dpkg", "configure")
            if not command.startswith((*harmless, "docker context", "docker version", "docker image", "docker buildx")):
                found.append(command.replace("install -y --no-install-recommends", "install"))
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Root on a Debian 12 that has Python, make and sudo only, and reaches Debian's mirror and no registry."""
    made = Machine(tmp_path)
    for folder in ("state/bin", "state/images", "scripts/tests"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCRIPTS / "engine.py", tmp_path / "scripts")
    shutil.copytree(SCRIPTS / "engine", tmp_path / "scripts/engine")
    (made.state / "shim").write_text(SHIM)
    (made.state / "shim").chmod(0o755)
    for command in REAL:
        (made.state / "bin" / command).symlink_to(str(shutil.which(command)))
    made.add("apt-get", "debootstrap", "dpkg", "id", "make", "pidof", "sh", "sudo", "systemctl", "tar")
    packages = (
        "git docker.io iptables busybox-static docker-registry python3-venv gcc make libc6-dev libssl-dev zlib1g-dev"
    )
    packages += " libffi-dev libsqlite3-dev libbz2-dev liblzma-dev uuid-dev xz-utils"
    made.has(uid="0\n", mirror="https://debian.example/debian\n", packages=packages.replace(" ", "\n"))
    return made


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """A machine that has everything."""
    machine.add("git", "docker", "dockerd", "iptables", "busybox", "docker-registry", "python3.13")
    machine.has("engine", "buildx", "lists", dockerd="12\n")
    for image in (SLIM, LAMBDA):
        (machine.state / "images" / image.rpartition("/")[2]).write_text("null\n")
    return machine


def test_nothing_is_touched_where_an_engine_and_the_images_are(ready: Machine) -> None:
    done = ready.run()
    assert (done.returncode, done.stderr, ready.changes()) == (0, "", [])
    assert done.stdout == "Docker 28.5 answers at unix:///var/run/docker.sock.\n"


def test_an_engine_that_answers_elsewhere_is_used(ready: Machine) -> None:
    ready.settings["DOCKER_HOST"] = "tcp://engine.example:2375"
    for name in ("dockerd", "iptables"):
        (ready.state / "bin" / name).unlink()
    done = ready.run()
    assert (done.returncode, ready.changes()) == (0, [])
    assert done.stdout.endswith("answers at tcp://engine.example:2375.\n")


def test_only_the_missing_image_is_pulled(ready: Machine) -> None:
    (ready.state / "images" / "python:3.13-x86_64").unlink()
    ready.has("registry")
    (ready.state / "bin/apt-get").unlink()  # macOS has none and needs none
    done = ready.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert ready.changes() == [f"docker pull --platform linux/amd64 {LAMBDA}"]
    assert "stand-in" not in done.stdout


def test_steps_on_a_bare_debian_12_without_a_registry(machine: Machine) -> None:
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    changes = machine.changes()
    tools = "apt-get install git docker.io iptables busybox-static docker-registry"
    assert changes == [
        tools,
        "apt-get update",
        tools,
        "apt-get install docker-buildx",
        "apt-get update",
        "apt-get install docker-buildx",
        "trixie: update",
        "trixie: download docker-buildx",
        "start dockerd",
        f"docker pull {SLIM}",
        "debootstrap",
        f"docker import {SLIM}",
        f"docker pull --platform linux/amd64 {LAMBDA}",
        f"docker build {LAMBDA}",
        "apt-get install python3.13",
        "apt-get update",
        "apt-get install python3.13",
        f"apt-get install {LIBRARIES}",
        "trixie: update",
        "trixie: source --download-only python3.13",
        f"make -j{os.cpu_count()}",
        "make altinstall",
    ]
    assert (machine.root / ".docker/cli-plugins/docker-buildx").exists()
    assert "cannot be pulled (no such host)" in done.stdout
    *_, slim, functions, last = done.stdout.splitlines()
    assert slim.startswith(f"{SLIM} is a stand-in")
    assert functions.startswith(f"{LAMBDA} is a stand-in")
    assert last == "Docker 28.5 answers at unix:///var/run/docker.sock."


def test_a_second_call_does_nothing_and_names_the_stand_ins_again(machine: Machine) -> None:
    first, second = machine.run(), machine.run()
    assert (second.returncode, machine.changes()) == (0, [])
    assert second.stdout.splitlines() == first.stdout.splitlines()[-3:]


def test_no_python_is_built_where_a_registry_answers(machine: Machine) -> None:
    machine.has("registry")
    done = machine.run()
    assert done.returncode == 0
    assert machine.changes()[-2:] == [f"docker pull {SLIM}", f"docker pull --platform linux/amd64 {LAMBDA}"]


def test_a_python_later_on_path_is_found_behind_a_broken_one(ready: Machine) -> None:
    (ready.state / "images" / SLIM).write_text('{"sam-compat.stand-in": "true"}\n')
    (ready.root / "broken").mkdir()
    (ready.root / "broken/python3.13").write_text("#!/bin/sh\nexit 127\n")
    (ready.root / "broken/python3.13").chmod(0o755)
    ready.settings["PATH"] = f"{ready.root}/broken:{ready.state}/bin"
    assert (ready.run().returncode, ready.changes()) == (0, [])


def test_the_client_is_a_package_of_its_own_since_debian_13(machine: Machine) -> None:
    packages = (machine.state / "packages").read_text()
    machine.has("cli-apart", "registry", packages=f"{packages}\ndocker-cli\ndocker-buildx\n")
    assert machine.run().returncode == 0
    changes = machine.changes()
    assert changes.index("apt-get install docker-cli") < changes.index("apt-get install docker-buildx")
    assert changes.index("apt-get install docker-buildx") < changes.index("start dockerd")
    assert not [change for change in changes if change.startswith("trixie")]


def test_a_client_that_is_missing_beside_a_dockerd_that_runs_is_installed_first(ready: Machine) -> None:
    """Else that engine seems to be one that does not answer to this user."""
    (ready.state / "bin/docker").unlink()
    ready.has(packages="docker-cli\n")
    done = ready.run()
    assert (done.returncode, done.stderr, ready.changes()) == (0, "", ["apt-get install docker-cli"])


def test_a_repository_that_adopted_the_gate_needs_no_tools_of_its_tests(ready: Machine) -> None:
    (ready.root / "scripts/tests").rmdir()
    for name in ("busybox", "docker-registry"):
        (ready.state / "bin" / name).unlink()
    assert (ready.run().returncode, ready.changes()) == (0, [])


def test_a_user_installs_and_starts_through_sudo(machine: Machine) -> None:
    machine.has("registry", uid="1000\n")
    assert machine.run().returncode == 0
    calls = (machine.state / "calls").read_text().splitlines()
    assert "sudo env DEBIAN_FRONTEND=noninteractive apt-get update" in calls
    assert [call for call in calls if call.startswith(("sudo sh -c", "sudo systemctl start docker"))]


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("apt-get", "apt-get, which was not found: this knows Debian and Ubuntu"),
        ("sudo", "root, and sudo was not found"),
    ],
)
def test_where_nothing_can_be_installed(machine: Machine, missing: str, why: str) -> None:
    machine.has(uid="1000\n")
    (machine.state / "bin" / missing).unlink()
    done = machine.run()
    assert (done.returncode, machine.changes()) == (2, [])
    assert done.stderr.startswith("error: Installing git docker.io")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_engine_that_is_meant_and_does_not_answer_is_not_replaced(ready: Machine) -> None:
    (ready.state / "engine").unlink()
    (ready.state / "dockerd").unlink()
    ready.settings["DOCKER_HOST"] = "unix:///elsewhere.sock"
    done = ready.run()
    assert (done.returncode, done.stdout, ready.changes()) == (2, "", [])
    assert done.stderr.startswith("error: no engine answers at unix:///elsewhere.sock (Cannot connect")
    assert "unset DOCKER_HOST" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("client", [True, False])
def test_no_engine_is_started_beside_another_one(machine: Machine, client: bool) -> None:
    machine.has(dockerd="12\n")
    if client:
        machine.add("docker")
    done = machine.run()
    assert (done.returncode, done.stdout, machine.changes()) == (2, "", [])
    assert done.stderr.startswith("error: dockerd runs (process 12)")
    assert "set DOCKER_HOST" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_step_that_fails_shows_why_and_is_the_last(machine: Machine) -> None:
    machine.has(packages="")
    done = machine.run()
    assert done.returncode == 2
    *shown, last = done.stderr.splitlines()
    assert shown[-1] == "  | E: Unable to locate package git"
    assert last == "error: Installing git docker.io iptables busybox-static docker-registry: failed with exit code 100"
    assert "start dockerd" not in machine.changes()


def test_an_engine_that_ends_at_once_is_an_error(machine: Machine) -> None:
    machine.has("broken")
    done = machine.run()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: Docker does not answer: see /var/log/dockerd.log")
    assert machine.changes()[-1] == "start dockerd"


def test_stand_ins_need_a_debian_mirror(machine: Machine) -> None:
    machine.has("engine", "buildx", mirror="")
    machine.add("docker")
    done = machine.run()
    assert done.returncode == 2
    assert "no source of Debian" in done.stderr
    assert done.stderr.count("\n") == 1
