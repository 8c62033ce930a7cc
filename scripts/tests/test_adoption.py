"""What README says about adopting the gate, done word by word in repositories that have files of their own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from config import ROOT

from .conftest import Gate, Registry, commit_all, copy_template, git, untag

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not (ROOT / ".ci/run").is_file(), reason="a copy of the template, which has no README"),
]

GATED = {".": {"Makefile", ".env.example", "scripts"}}
GATED[".sam-cli-compat"] = GATED["."] | {".gitignore"}
WORKFLOWS = {".github/workflows/sam-cli-compat.yml", ".github/workflows/ecr-release.yml"}
# The same emulator as in conftest.py, and whatever else `docker build` is sent.
DOCKERFILE = """\
FROM scratch
COPY {busybox} /bin/busybox
COPY {health} /www/health
COPY . /context
{more}
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-h", "/www", "-p"]
CMD ["9014"]
"""
PYTHONIC = {
    "Makefile": "VENV := own\nall: ; @echo make of its own, $(VENV) $(MAKECMDGOALS)\ntest: ; @$(PY) -m pytest\n",
    "scripts/release.py": "raise SystemExit('not this one')\n",
    "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef own():\n    return 1\n",
    "tests/test_own.py": "def test_own(own):\n    assert own == 1\n",
    "src/small_emulator/__init__.py": "",
    "src/small_emulator/health": "ok\n",
    "pyproject.toml": "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
    "[project]\nname = 'small-emulator'\nversion = '1.2.1'\n",
    "Dockerfile": DOCKERFILE.format(
        busybox="busybox", health="src/small_emulator/health", more="COPY dist/*.whl /wheels/"
    ),
    ".dockerignore": "*\n!*/**\n!*.toml\n!busybox",  # which would take the gate in
    ".gitignore": "/build/\n/dist/\n*.egg-info/\n",
    ".env.example": "PORT=9014\n",
    ".github/workflows/ci.yml": "name: its own\n",
}
PLAIN = {
    "health": "ok\n",
    "build.sh": "#!/bin/sh\nset -eu\nmkdir -p out\ncp health busybox out/\n",
    "Dockerfile": DOCKERFILE.format(
        busybox="out/busybox", health="out/health", more="LABEL org.opencontainers.image.version=1.2.1"
    ),
    ".gitignore": "/out/\n/.env\n",
    ".env": "PORT=9014\nexport DATABASE_URL='postgres://x y'\n",
}


FOLDER, PLAINLY = "gate=.*\nmkdir .sam-cli-compat ", "gate=.*\ngit .*Makefile"


def readme(pattern: str) -> list[str]:
    """Return the indented blocks of README's section that begin with a pattern."""
    section = (ROOT / "README.md").read_text().partition("## Adopt it in your repository\n")[2].partition("\n## ")[0]
    blocks = [re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", section, re.M)]
    return [block for block in blocks if re.match(pattern, block)]


def located(steps: str, template: Path, root: Path) -> str:
    """Return README's steps for a template that lies elsewhere."""
    return re.sub(r"^gate=\S+", f"gate={shlex.quote(os.path.relpath(template, root))}", steps)


class Sibling:
    """A repository with files of its own, into which the gate goes as README says."""

    def __init__(self, root: Path, files: dict[str, str], busybox: Path, settings: dict[str, str]) -> None:
        self.root, self.settings, self.gate = root, settings, Gate(root, settings)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        for script in root.glob("*.sh"):
            script.chmod(0o755)
        shutil.copy2(busybox, root / "busybox")
        commit_all(root)
        self.before = self.content()

    def content(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file() and ".git" not in path.parts)
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def adopt(self, steps: str, template: Path, folder: str, *edits: str) -> None:
        """Run README's steps and then `edits` of settings; nothing but the files they speak of is there afterwards."""
        subprocess.run(["bash", "-c", located(steps, template, self.root)], cwd=self.root, check=True)
        after = self.content()
        for name, content in self.before.items():
            assert after[name] == content
        new = {name for name in after.keys() - self.before.keys() if name not in WORKFLOWS}
        assert {Path(name).relative_to(folder).parts[0] for name in new} == GATED[folder]
        assert after.keys() >= WORKFLOWS
        self.gate = Gate(self.root / folder, self.settings)
        for edit in edits:
            subprocess.run(["sed", "-i", edit, ".env.example"], cwd=self.gate.root, check=True)
        commit_all(self.root)

    def make(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            ["make", *arguments], cwd=self.root, env=self.gate.environ(**settings), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout, done.stdout
        return done

    def compat(self, *make: str) -> tuple[bool, list[str]]:
        """Run `make compat` and return whether it is green and the reasons why not. It leaves nothing to commit."""
        was = git("status", "--porcelain", cwd=self.root)
        done = self.make(*make, "compat")
        assert git("status", "--porcelain", cwd=self.root) == was
        assert list(self.gate.root.glob(".compat/*/verdict.json")), done.stdout
        verdict = self.gate.verdict()
        assert done.returncode == (0 if verdict["green"] else 2), done.stdout
        assert verdict["candidate"]["version"] == "1.2.1"
        assert verdict["candidate"]["revision"].removesuffix("-dirty") == git("rev-parse", "HEAD", cwd=self.root)
        return verdict["green"], verdict["reasons"]

    def refused(self, *make: str, **settings: str) -> str:
        done = self.make(*make, "publish", **settings)
        assert done.returncode == 2
        return "\n".join(line for line in done.stdout.splitlines() if line.startswith("refused: "))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the template, as it is now."""
    root = copy_template(tmp_path_factory.mktemp("clone"))
    shutil.copytree(ROOT / ".github", root / ".github")
    shutil.copy2(ROOT / ".gitignore", root)
    commit_all(root)
    return root


@pytest.fixture
def settings(gate: Gate, docker_client: docker.DockerClient) -> dict[str, str]:
    """Those of the small consumer; whatever is about the emulator is the sibling's own."""
    own = ("EMULATOR_SOURCE", "EMULATOR_PREBUILD")
    one = {"PUBLISH_PLATFORMS": f"linux/{docker_client.version()['Arch']}"}
    return {name: value for name, value in gate.settings.items() if name not in own} | one


@pytest.fixture
def target(loopback: Registry, docker_client: docker.DockerClient) -> Iterator[Registry]:
    """An empty registry, of whose tags none stays in the engine."""
    yield loopback
    untag(docker_client, loopback.repository)


def inside(client: docker.DockerClient, image: str, path: str) -> bool:
    container = client.containers.create(image)
    try:
        container.get_archive(path)
        return True
    except NotFound:
        return False
    finally:
        container.remove()


@pytest.mark.parametrize("way", [FOLDER, PLAINLY], ids=["folder", "plain"])
@pytest.mark.parametrize("own", ["sam-cli-compat.yml", "ecr-release.yml"])
def test_a_workflow_of_ones_own_stays_and_is_told(source: Path, tmp_path: Path, way: str, own: str) -> None:
    mine = tmp_path / ".github/workflows" / own
    mine.parent.mkdir(parents=True)
    mine.write_text("uses: ./.github/workflows/mine.yml\n")
    commit_all(tmp_path)
    (steps,) = readme(way)
    done = subprocess.run(["bash", "-c", located(steps, source, tmp_path)], cwd=tmp_path, capture_output=True)
    assert done.returncode != 0
    assert b"exist" in done.stderr or b"not empty" in done.stderr
    assert mine.read_text() == "uses: ./.github/workflows/mine.yml\n"
    assert git("diff", "--cached", "--name-only", cwd=tmp_path) == ""


def test_beside_a_makefile_scripts_and_tests_of_its_own(
    source: Path,
    settings: dict[str, str],
    docker_client: docker.DockerClient,
    busybox: Path,
    tmp_path: Path,
    target: Registry,
) -> None:
    settings["PUBLISH_REPOSITORY"] = target.repository
    sibling = Sibling(tmp_path / "sibling", PYTHONIC, busybox, settings)
    (steps,) = readme(FOLDER)
    sibling.adopt(steps, source, ".sam-cli-compat")
    (rule,) = readme(".PHONY: compat\n")
    (sibling.root / "Makefile").open("a").write(rule)
    commit_all(sibling.root)
    there = ("-C", ".sam-cli-compat")
    assert "\n  A\t.sam-cli-compat/.env.example\n" in sibling.make(*there, "changed", BASE="HEAD~2").stdout

    assert sibling.compat() == (True, [])
    candidate = sibling.gate.verdict()["candidate"]
    assert inside(docker_client, candidate["image_id"], "/context/scripts/release.py")
    assert not inside(docker_client, candidate["image_id"], "/context/.sam-cli-compat")
    done = sibling.make(*there, "publish")
    assert done.returncode == 0, done.stdout
    good = target.holds("latest")
    assert good
    assert good == target.holds("v1.2.1")
    assert sibling.make(*there, "image").returncode == 0
    assert json.loads((sibling.gate.findings / "candidate.json").read_text())["image_id"] == candidate["image_id"]

    health = sibling.root / "src/small_emulator/health"
    health.write_text("forgot a route\n")
    assert sibling.make(*there, "changed", BASE="HEAD").stdout.splitlines()[1:-1] == ["gated=false"]
    commit_all(sibling.root)
    assert "gated=true\n  M\tsrc/small_emulator/health" in sibling.make(*there, "changed", BASE="HEAD~1").stdout
    green, reasons = sibling.compat(*there)
    assert (green, reasons[0]) == (False, "develop: 1 of 5 tests failed")
    assert "the verdict is red" in sibling.refused(*there)

    health.write_text("ok\n")
    assert sibling.compat(*there) == (True, [])
    assert "built from a tree with changes" in sibling.refused(*there)
    assert target.holds("latest") == good

    assert sibling.make("all", f"PY={sys.executable}").stdout == "make of its own, own all\n"
    tested = sibling.make("test", f"PY={sys.executable}")
    assert (tested.returncode, "collected 1 item" in tested.stdout) == (0, True), tested.stdout
    uv = [str(Path(sys.executable).with_name("uv")), "build", "--wheel", "--clear"]
    subprocess.run(uv, cwd=sibling.root, capture_output=True, check=True)
    assert [wheel.name for wheel in (sibling.root / "dist").glob("*.whl")] == ["small_emulator-1.2.1-py3-none-any.whl"]


def test_an_emulator_that_is_no_python_package(
    source: Path, settings: dict[str, str], docker_client: docker.DockerClient, busybox: Path, tmp_path: Path
) -> None:
    sibling = Sibling(tmp_path / "sibling", PLAIN, busybox, settings)
    (steps,) = readme(PLAINLY)
    sibling.adopt(steps, source, ".", "s|^EMULATOR_PREBUILD=.*|EMULATOR_PREBUILD=./build.sh|")

    assert sibling.compat() == (True, [])
    candidate = sibling.gate.verdict()["candidate"]
    assert candidate["packages"] == {}
    for path, is_there in (("scripts/compat.py", True), (".cache", False), (".compat", False)):
        assert inside(docker_client, candidate["image_id"], f"/context/{path}") == is_there
    assert sibling.make("image").returncode == 0
    assert json.loads((sibling.gate.findings / "candidate.json").read_text())["image_id"] == candidate["image_id"]

    (sibling.root / "health").write_text("forgot a route\n")
    commit_all(sibling.root)
    green, reasons = sibling.compat()
    assert (green, reasons[0]) == (False, "develop: 1 of 5 tests failed")
    assert "the verdict is red" in sibling.refused()
