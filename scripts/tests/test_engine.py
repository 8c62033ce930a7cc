"""`make engine` on machines that are nothing but programs on PATH.

The real machine is neither changed nor asked: not which programs it has, not whether systemd or an
engine runs there.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLIM = "python:3.13-slim"
LAMBDA = "public.ecr.aws/lambda/python:3.13-x86_64"
SOCKET = "unix:///var/run/docker.sock"
# What Python's build needs of Debian 12.
LIBRARIES = (
    "gcc make libc6-dev libssl-dev zlib1g-dev libffi-dev libsqlite3-dev libbz2-dev liblzma-dev "
    "uuid-dev xz-utils"
)
# The real programs: they change what is in the scratch folder, or nothing.
REAL = "bash cat dirname env grep ln mkdir mktemp nproc rm sed tail tee touch"
# The state of a machine is in files in $STATE. `did` notes a change of it, and shows it where it
# happens in the output.
FUNCTIONS = r"""#!/bin/sh
did() { echo "$*" | tee -a "$STATE/changes" >&2; }
provide() { for name; do ln -sf "$STATE/programs/$name" "$STATE/bin/"; done; }
offered() { grep -qw -- "$1" "$STATE/packages"; }
start_engine() {
  did start dockerd
  [ -e "$STATE/broken" ] || touch "$STATE/engine"
}
stand_in() {
  did stand-in "$1"
  echo "$1" | tee -a "$STATE/images" >>"$STATE/stand-ins"
}
"""
PROGRAMS = {
    "id": 'cat "$STATE/uid"',
    "pidof": 'cat "$STATE/dockerd"',
    "sudo": 'did sudo; "$@"',
    "systemctl": """
        case $1 in
          is-system-running) cat "$STATE/systemd" ;;
          start) start_engine ;;
        esac
    """,
    "sh": "start_engine",
    "install": 'did buildx from trixie; touch "$STATE/buildx"',
    "debootstrap": "mkdir -p root/usr/bin",
    "tar": 'mkdir -p Python-3.13.5; ln -sf "$STATE/programs/git" Python-3.13.5/configure',
    "make": """
        case "$*" in
          *altinstall) did python3.13 from source; provide python3.13 ;;
        esac
    """,
    "apt-get": """
        case "$*" in
          indextargets*) cat "$STATE/mirror" ;;
          update) touch "$STATE/lists" ;;
          install*)
            shift 3
            [ -e "$STATE/lists" ] || exit 100
            for package; do offered "$package" || exit 100; done
            did install "$@"
            for package; do
              case $package in
                docker.io) provide dockerd; offered docker-cli || provide docker ;;
                docker-cli) provide docker ;;
                docker-buildx) touch "$STATE/buildx" ;;
                *) provide "${package%-static}" ;;
              esac
            done ;;
        esac
    """,
    "docker": """
        case "$*" in
          context*) echo "${DOCKER_HOST:-unix:///var/run/docker.sock}" ;;
          version*) [ -e "$STATE/engine" ] || { echo "no answer" >&2; exit 1; }; echo 28.5 ;;
          buildx*) cat "$STATE/buildx" ;;
          "image inspect"*) grep -qx "$3" "$STATE/images" ;;
          images*) cat "$STATE/stand-ins" ;;
          pull*)
            [ -e "$STATE/registry" ] || exit 1
            did "$@"
            for image; do :; done
            echo "$image" >>"$STATE/images" ;;
          import*) stand_in python:3.13-slim ;;
          build*) stand_in "$3" ;;
        esac
    """,
}
# Programs of which only matters whether they are there.
IDLE = "busybox cp docker-registry dockerd dpkg git iptables python3 python3.13 sleep"


@dataclass
class Machine:
    """Its programs are in `bin`; the other files are its state."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def add(self, programs: str) -> None:
        """Install programs."""
        for program in programs.split():
            (self.root / "bin" / program).symlink_to(
                self.root / "programs" / program
            )

    def set(self, **state: str) -> None:
        """Write files of the state."""
        for name, content in state.items():
            (self.root / name.replace("_", "-")).write_text(content)

    def remove(self, names: str) -> None:
        """Remove programs or files of the state."""
        for name in names.split():
            (self.root / name).unlink()

    def make_engine(self) -> "subprocess.CompletedProcess[str]":
        """Run `make engine`; what it prints is in one stream, as on a terminal."""
        self.set(changes="")
        environ = {
            "STATE": str(self.root),
            "HOME": str(self.root),
            "TMPDIR": str(self.root),
        }
        environ |= {"PATH": str(self.root / "bin")} | self.settings
        return subprocess.run(
            [str(shutil.which("make")), "--no-print-directory", "engine"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )

    def refusal(self) -> str:
        """Run `make engine`, which must fail, and return its one error."""
        done = self.make_engine()
        errors = re.findall(r"^error: .*", done.stdout, re.MULTILINE)
        assert (done.returncode, len(errors)) == (2, 1), done.stdout
        return str(errors[0])

    def changes(self) -> list[str]:
        """Return what the last run changed."""
        return (self.root / "changes").read_text().splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Root on a Debian 12 without systemd, which reaches Debian's mirror and no image registry."""
    machine = Machine(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "programs").mkdir()
    for program in (*PROGRAMS, *IDLE.split()):
        path = tmp_path / "programs" / program
        path.write_text(FUNCTIONS + PROGRAMS.get(program, ""))
        path.chmod(0o755)
    for program in REAL.split():
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    machine.add(
        "apt-get cp dpkg id install make pidof python3 sh sleep sudo systemctl tar"
    )
    machine.set(
        uid="0\n", systemd="offline\n", mirror="https://debian.example\n"
    )
    machine.set(images="", stand_ins="")
    machine.set(
        packages=f"git docker.io iptables busybox-static docker-registry debootstrap {LIBRARIES}\n"
    )
    return machine


@pytest.fixture
def ready(bare: Machine) -> Machine:
    """A machine that has everything."""
    bare.add("git docker dockerd iptables busybox docker-registry")
    bare.set(
        engine="",
        buildx="",
        lists="",
        dockerd="12\n",
        images=f"{SLIM}\n{LAMBDA}\n",
    )
    return bare


def test_where_everything_is_there_both_parts_are_shown_and_change_nothing(
    ready: Machine,
) -> None:
    done = ready.make_engine()
    assert (done.returncode, ready.changes()) == (0, [])
    assert done.stdout.splitlines() == [
        "scripts/tools/install-engine",
        f"Docker 28.5 answers at {SOCKET}",
        "scripts/tools/stand-ins",
    ]


def test_an_engine_elsewhere_is_used(ready: Machine) -> None:
    ready.settings["DOCKER_HOST"] = "tcp://engine.example:2375"
    ready.remove("bin/dockerd bin/iptables bin/apt-get dockerd")
    assert (
        "Docker 28.5 answers at tcp://engine.example:2375\n"
        in ready.make_engine().stdout
    )
    assert ready.changes() == []


def test_an_engine_elsewhere_that_does_not_answer_is_not_replaced(
    ready: Machine,
) -> None:
    ready.settings["DOCKER_HOST"] = "tcp://engine.example:2375"
    ready.remove("bin/dockerd dockerd engine")
    error = "error: no engine answers at tcp://engine.example:2375 (no answer)"
    assert ready.refusal().startswith(error)
    assert ready.changes() == []


def test_no_engine_is_started_beside_one_that_this_user_cannot_reach(
    ready: Machine,
) -> None:
    ready.remove("engine")
    assert ready.refusal().startswith(
        "error: dockerd runs (process 12), but you cannot connect"
    )
    assert ready.changes() == []


def test_a_bare_debian_12_without_a_registry_gets_stand_ins_and_python(
    bare: Machine,
) -> None:
    done = bare.make_engine()
    assert done.returncode == 0, done.stdout
    assert bare.changes() == [
        "install git docker.io iptables",
        "buildx from trixie",
        "start dockerd",
        "install docker-registry busybox-static",
        "install debootstrap",
        f"stand-in {SLIM}",
        f"stand-in {LAMBDA}",
        f"install {LIBRARIES}",
        "python3.13 from source",
    ]
    # Nothing stays of what it unpacked.
    assert list(bare.root.glob("engine.*")) == []

    again = bare.make_engine()
    assert (again.returncode, bare.changes()) == (0, [])
    for image in (SLIM, LAMBDA):
        assert f"\n{image} is a stand-in from Debian's packages" in again.stdout


def test_a_bare_debian_13_gets_all_of_it_from_packages(bare: Machine) -> None:
    packages = (bare.root / "packages").read_text()
    bare.set(packages=f"{packages} docker-cli docker-buildx python3.13")
    done = bare.make_engine()
    assert done.returncode == 0, done.stdout
    assert bare.changes() == [
        "install git docker.io iptables",
        "install docker-cli",
        "install docker-buildx",
        "start dockerd",
        "install docker-registry busybox-static",
        "install debootstrap",
        f"stand-in {SLIM}",
        f"stand-in {LAMBDA}",
        "install python3.13",
    ]


@pytest.mark.parametrize(
    ("announced", "change"),
    [
        (
            f"Making a stand-in for {SLIM}, which cannot be pulled",
            f"stand-in {SLIM}",
        ),
        (
            f"Making a stand-in for {LAMBDA}, which cannot be pulled",
            f"stand-in {LAMBDA}",
        ),
        (
            "Building CPython 3.13 from Debian's source package",
            "python3.13 from source",
        ),
    ],
)
def test_a_stand_in_is_announced_with_how_long_it_takes(
    bare: Machine, announced: str, change: str
) -> None:
    lines = bare.make_engine().stdout.splitlines()
    (place,) = (
        at
        for at, line in enumerate(lines)
        if line.startswith(f"--- {announced}")
    )
    assert re.search(r" \([^)]*minutes?\b[^)]*\)$", lines[place])
    assert change in lines[place:]
    assert change not in lines[:place]


def test_where_images_can_be_pulled_there_is_no_stand_in_and_no_python(
    bare: Machine,
) -> None:
    bare.set(registry="")
    done = bare.make_engine()
    assert (done.returncode, "stand-in for" in done.stdout) == (0, False)
    pulls = [f"pull {SLIM}", f"pull --platform linux/amd64 {LAMBDA}"]
    assert bare.changes()[-2:] == pulls


def test_a_user_becomes_root_by_sudo(bare: Machine) -> None:
    bare.set(registry="", uid="1000\n")
    assert bare.make_engine().returncode == 0
    changes = bare.changes()
    for change in (
        "install git docker.io iptables",
        "buildx from trixie",
        "start dockerd",
    ):
        assert changes[changes.index(change) - 1] == "sudo"


def test_python_is_built_only_where_none_on_path_works(ready: Machine) -> None:
    """The first on PATH is a shim of pyenv without an interpreter."""
    ready.set(
        **{"stand-ins": f"{SLIM}\n", "python3.13": "#!/bin/sh\nexit 127\n"}
    )
    (ready.root / "python3.13").chmod(0o755)
    ready.settings["PATH"] = f"{ready.root}:{ready.root}/bin"
    ready.add("python3.13")
    assert (ready.make_engine().returncode, ready.changes()) == (0, [])
    ready.remove("bin/python3.13")
    ready.make_engine()
    assert ready.changes()[-1] == "python3.13 from source"


def test_a_missing_client_is_installed_before_its_engine_is_judged(
    ready: Machine,
) -> None:
    """In Debian 13 the client is a package of its own."""
    ready.remove("bin/docker")
    ready.set(packages="docker-cli\n")
    assert (ready.make_engine().returncode, ready.changes()) == (
        0,
        ["install docker-cli"],
    )


@pytest.mark.parametrize("missing", ["apt-get", "sudo"])
def test_where_nothing_can_be_installed_one_line_says_why(
    bare: Machine, missing: str
) -> None:
    bare.set(uid="1000\n")
    bare.remove(f"bin/{missing}")
    assert f"{missing} " in bare.refusal().replace(",", " ")
    assert bare.changes() == []


def test_a_step_that_fails_is_named_and_is_the_last(bare: Machine) -> None:
    bare.set(packages="docker.io\n")
    assert (
        bare.refusal()
        == "error: Installing git docker.io iptables failed (see above)"
    )
    assert bare.changes() == []


@pytest.mark.parametrize(
    ("systemd", "log"),
    [
        ("offline\n", "/var/log/dockerd.log"),
        ("", "/var/log/dockerd.log"),
        ("degraded\n", "journalctl -u docker"),
    ],
)
def test_an_engine_that_was_started_and_does_not_answer_is_an_error(
    bare: Machine, systemd: str, log: str
) -> None:
    bare.set(broken="", systemd=systemd)
    assert bare.refusal().startswith(
        f"error: Docker does not answer (no answer): see {log};"
    )
    assert bare.changes()[-1] == "start dockerd"
