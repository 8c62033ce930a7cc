"""make engine, on machines that shims on PATH pretend: nothing of the real one is changed."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[1] / "tools/engine"
REAL = "bash cat cp dirname env grep head ln mkdir mktemp nproc rm sed sleep tail touch"
SLIM, LAMBDA = "python:3.13-slim", "public.ecr.aws/lambda/python:3.13-x86_64"
# Stands in for every program that would change or describe the machine; notes what it did.
SHIM = r"""#!/bin/sh
add() { for command; do ln -sf "$STATE/shim" "$STATE/bin/$command"; done; }
did() { echo "$*" >>"$STATE/changes"; }
has() { for package; do grep -qw -- "$package" "$STATE/packages" || return 1; done; }
case "${0##*/} $*" in
  "id -u") cat "$STATE/uid" ;;
  "sudo "*) did sudo; "$@" ;;
  "apt-get indextargets"*) cat "$STATE/mirror" ;;
  "apt-get update") touch "$STATE/lists" ;;
  "apt-get install"*)
    shift 3
    [ -e "$STATE/lists" ] && has "$@" || exit 100
    did install "$@"
    for package; do
      case $package in
        docker.io) add dockerd; has docker-cli || add docker ;;
        docker-cli) add docker ;;
        docker-buildx) touch "$STATE/buildx" ;;
        *) add "${package%-static}" ;;
      esac
    done ;;
  "apt-get -o"*docker-buildx) touch docker-buildx_1.deb ;;
  "dpkg -x docker-buildx"*)
    did buildx from trixie
    mkdir -p usr/libexec/docker/cli-plugins
    touch usr/libexec/docker/cli-plugins/docker-buildx "$STATE/buildx" ;;
  "apt-get -o"*python3.13) touch python3.13_3.13.5.orig.tar.xz ;;
  "tar xf"*) mkdir Python-3.13.5; ln -s "$STATE/shim" Python-3.13.5/configure ;;
  "make "*altinstall) did python3.13 from trixie; add python3.13 ;;
  "debootstrap "*) mkdir -p root/usr/bin root/etc/ssl/certs ;;
  "pidof dockerd") cat "$STATE/dockerd" ;;
  "sh -c"*dockerd* | "systemctl start docker")
    did start dockerd
    [ -e "$STATE/broken" ] || touch "$STATE/engine" ;;
  "docker context"*) echo "${DOCKER_HOST:-unix:///var/run/docker.sock}" ;;
  "docker version"*) [ -e "$STATE/engine" ] || { echo "no answer" >&2; exit 1; }; echo 28.5 ;;
  "docker buildx version") cat "$STATE/buildx" ;;
  "docker image inspect"*) grep -qx "$3" "$STATE/images" ;;
  "docker images"*) cat "$STATE/stand-ins" ;;
  "docker pull"*)
    [ -e "$STATE/registry" ] || exit 1
    did "$@"
    for image; do :; done
    echo "$image" >>"$STATE/images" ;;
  "docker import"* | "docker build"*)
    case "$*" in *" python:3.13-slim") image=python:3.13-slim ;; *) image=$3 ;; esac
    did stand-in "$image"
    echo "$image" | tee -a "$STATE/images" >>"$STATE/stand-ins" ;;
esac
"""


@dataclass
class Machine:
    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def add(self, *commands: str) -> None:
        for command in commands:
            (self.root / "bin" / command).symlink_to(self.root / "shim")

    def has(self, **facts: str) -> None:
        for name, content in facts.items():
            (self.root / name).write_text(content)

    def lacks(self, *names: str) -> None:
        for name in names:
            (self.root / name).unlink()

    def run(self) -> "subprocess.CompletedProcess[str]":
        self.has(changes="")
        environ = {"STATE": str(self.root), "HOME": str(self.root), "TMPDIR": str(self.root)}
        environ |= {"PATH": str(self.root / "bin")} | self.settings
        return subprocess.run([ENGINE], env=environ, capture_output=True, text=True, timeout=60)

    def refusal(self) -> str:
        """Run it to its one error, which must be its last line."""
        done = self.run()
        assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr
        return done.stderr.splitlines()[-1]

    def changes(self) -> list[str]:
        return (self.root / "changes").read_text().splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Root on a Debian 12 that reaches Debian's mirror and no image registry."""
    machine = Machine(tmp_path)
    (tmp_path / "bin").mkdir()
    machine.has(shim=SHIM, uid="0\n", mirror="https://debian.example\n", images="")
    machine.has(**{"stand-ins": ""})
    machine.has(packages="git docker.io iptables busybox-static docker-registry gcc make libc6-dev "
                "libssl-dev zlib1g-dev libffi-dev libsqlite3-dev libbz2-dev liblzma-dev uuid-dev "
                "xz-utils")  # fmt: skip
    (tmp_path / "shim").chmod(0o755)
    for command in (*REAL.split(), "tee"):
        (tmp_path / "bin" / command).symlink_to(str(shutil.which(command)))
    machine.add("apt-get", "debootstrap", "dpkg", "id", "make", "pidof", "python3", "sh", "sudo")
    machine.add("systemctl", "tar")
    return machine


@pytest.fixture
def ready(bare: Machine) -> Machine:
    """A machine that has everything."""
    bare.add("git", "docker", "dockerd", "iptables", "busybox", "docker-registry")
    bare.has(engine="", buildx="", lists="", dockerd="12\n", images=f"{SLIM}\n{LAMBDA}\n")
    return bare


def test_where_everything_is_there_nothing_is_changed(ready: Machine) -> None:
    done = ready.run()
    assert (done.returncode, done.stderr, ready.changes()) == (0, "", [])
    assert done.stdout == "Docker 28.5 answers at unix:///var/run/docker.sock\n"


def test_an_engine_elsewhere_is_used_and_never_replaced(ready: Machine) -> None:
    ready.settings["DOCKER_HOST"] = "tcp://engine.example:2375"
    ready.lacks("bin/dockerd", "bin/iptables", "bin/apt-get", "dockerd")
    assert ready.run().stdout.endswith("answers at tcp://engine.example:2375\n")
    ready.lacks("engine")
    error = "error: no engine answers at tcp://engine.example:2375 (no answer)"
    assert ready.refusal().startswith(error)
    assert ready.changes() == []


def test_no_engine_is_started_beside_one_that_this_user_cannot_reach(ready: Machine) -> None:
    ready.lacks("engine")
    assert ready.refusal().startswith("error: dockerd runs (process 12), but you cannot connect")
    assert ready.changes() == []


def test_a_bare_debian_12_without_a_registry_gets_stand_ins_and_python(bare: Machine) -> None:
    done = bare.run()
    assert done.returncode == 0, done.stderr
    libraries = (bare.root / "packages").read_text().partition("docker-registry ")[2]
    assert bare.changes() == [
        "install git busybox-static docker-registry docker.io iptables",
        "buildx from trixie",
        "start dockerd",
        f"stand-in {SLIM}",
        f"stand-in {LAMBDA}",
        f"install {libraries}",
        "python3.13 from trixie",
    ]
    assert (bare.root / ".docker/cli-plugins/docker-buildx").exists()
    last = done.stdout.splitlines()[-3:]
    assert [line.partition(" is a stand-in")[0] for line in last[:2]] == [SLIM, LAMBDA]
    again = bare.run()
    assert (again.stdout.splitlines(), bare.changes()) == (last, [])
    assert list(bare.root.glob("engine.*")) == []


def test_a_user_with_a_registry_pulls_and_builds_no_python(bare: Machine) -> None:
    bare.has(registry="", uid="1000\n")
    done = bare.run()
    assert (done.returncode, "stand-in" in done.stdout) == (0, False)
    pulls = [f"pull {SLIM}", f"pull --platform linux/amd64 {LAMBDA}"]
    assert bare.changes()[-4:] == ["sudo", "start dockerd", *pulls]


def test_python_is_built_only_where_none_on_path_works(ready: Machine) -> None:
    ready.has(**{"stand-ins": f"{SLIM}\n"})
    ready.add("python3.13")
    (ready.root / "python3.13").write_text("#!/bin/sh\nexit 127\n")
    (ready.root / "python3.13").chmod(0o755)
    ready.settings["PATH"] = f"{ready.root}:{ready.root}/bin"
    assert (ready.run().returncode, ready.changes()) == (0, [])
    ready.lacks("bin/python3.13")
    ready.run()
    assert ready.changes()[-1] == "python3.13 from trixie"


def test_a_missing_client_is_installed_before_its_engine_is_judged(ready: Machine) -> None:
    """In Debian 13 the client is a package of its own."""
    ready.lacks("bin/docker")
    ready.has(packages="docker-cli\n")
    assert (ready.run().returncode, ready.changes()) == (0, ["install docker-cli"])


@pytest.mark.parametrize("missing", ["apt-get", "sudo"])
def test_where_nothing_can_be_installed_one_line_says_why(bare: Machine, missing: str) -> None:
    bare.has(uid="1000\n")
    bare.lacks(f"bin/{missing}")
    assert f"{missing} " in bare.refusal().replace(",", " ")
    assert bare.changes() == []


def test_a_step_that_fails_is_named_and_is_the_last(bare: Machine) -> None:
    bare.has(packages="docker.io\n")
    assert bare.refusal().startswith("error: Installing git busybox-static")
    assert bare.changes() == []


def test_an_engine_that_ends_at_once_is_an_error(bare: Machine) -> None:
    bare.has(broken="")
    assert "error: Docker does not answer: see" in bare.refusal()
