"""`make adopt`: the gate copied into repositories that have files of their own, and updated there."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import commit_all, git

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ".sam-cli-compat"
WORKFLOWS = ".github/workflows"
DOCKERFILE = 'FROM python:3.13-slim\nCOPY dist/*.whl /tmp/\nCMD ["dex-local-runner", "start-server"]\n'
PROJECT = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
EMULATOR = {"Dockerfile": DOCKERFILE, "pyproject.toml": PROJECT, "src/emulator/__init__.py": "", "README.md": "own\n"}
# As the repository of the seed has it.
MONOREPO = {
    "LICENSE": "own\n",
    "NOTICE": "own\n",
    "packages/sdk/pyproject.toml": PROJECT,
    "packages/emulator/pyproject.toml": f'{PROJECT}[tool.hatch.build.force-include]\n"../../LICENSE" = "LICENSE"\n',
    "packages/emulator/Dockerfile": DOCKERFILE,
    f"{WORKFLOWS}/ci.yml": "env:\n  TOKEN: ${{ secrets.TOKEN }}\n",
    f"{WORKFLOWS}/ecr-release.yml": (
        "on: {release: {types: [published]}}\nsteps:\n- with:\n    role-to-assume: ${{ secrets.UPLOAD_ROLE }}\n"
        "- run: docker push public.ecr.aws/durable-functions/aws-durable-execution-emulator\n"
    ),
}

Repository = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it is here, committed."""
    root = tmp_path_factory.mktemp("committed") / "template"
    listed = git("ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    (root / "scripts/gate/__pycache__").mkdir()
    (root / "scripts/gate/__pycache__/left.pyc").write_text("")
    (root / ".compat").mkdir()
    commit_all(root)
    return root


@pytest.fixture
def template(committed: Path, tmp_path: Path) -> Path:
    """A clone of the template, to make newer versions in."""
    git("clone", "--quiet", str(committed), str(tmp_path / "template"), cwd=tmp_path)
    return tmp_path / "template"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    def make(files: dict[str, str]) -> Path:
        host = tmp_path / "host"
        write(host, files)
        commit_all(host)
        return host

    return make


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def release(template: Path, files: dict[str, str], version: str = "99.0.0") -> None:
    """Commit a newer version of the template."""
    write(template, files | {"scripts/VERSION": f"{version}\n"})
    commit_all(template)


def run(template: Path, into: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "scripts/adopt.py"], cwd=template, text=True, capture_output=True,
        env={**os.environ, "CALLER_PWD": str(template), "INTO": str(into), "FOLDER": "", **environment},
    )  # fmt: skip


def adopt(template: Path, into: str | Path, **environment: str) -> str:
    done = run(template, into, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(template: Path, into: str | Path, **environment: str) -> tuple[str, list[str]]:
    """Run an adoption that must end with one line and change nothing; return that line, and the list before it."""
    before = state(into)
    done = run(template, into, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    *listed, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert all(line.startswith("  | ") for line in listed)
    assert state(into) == before
    return error, [line.removeprefix("  | ") for line in listed]


def state(folder: str | Path) -> str:
    """Return a digest of every file and folder, and of what git says about them; nothing if it is no folder."""
    root = Path(folder)
    if not folder or not root.is_dir():
        return ""
    paths = sorted(path for path in root.rglob("*") if ".git" not in path.relative_to(root).parts)
    content = [f"{path} {path.read_bytes().hex() if path.is_file() else ''}" for path in paths]
    status = git("status", "--porcelain", "--ignored", cwd=root) if (root / ".git").exists() else ""
    return hashlib.sha256("\n".join([*content, status]).encode()).hexdigest()


def settings(path: Path) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", (path / ".env.example").read_text()))


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def staged(host: Path) -> set[str]:
    return set(git("diff", "--cached", "--name-only", cwd=host).splitlines())


def test_at_the_top_of_a_repository_without_such_files(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR | {".gitignore": "/dist/\n/.env"})
    printed = adopt(template, host)
    new = staged(host)
    top = {name.split("/")[0] for name in new}
    assert top == {"Makefile", ".env.example", ".gitignore", "scripts", ".github"}
    assert new >= {"scripts/compat.py", "scripts/gate/settings.py", "scripts/VERSION", "scripts/LICENSE"}
    assert new >= {"scripts/CONTRACT.md", f"{WORKFLOWS}/sam-cli-compat.yml", f"{WORKFLOWS}/ecr-release.yml"}
    for left_out in ("scripts/tests", "scripts/gate/__pycache__", "scripts/requirements-dev.txt", "scripts/adopt.py"):
        assert not (host / left_out).exists()
    assert not (host / WORKFLOWS / "ci.yml").exists()
    assert git("status", "--porcelain", "--untracked-files=all", cwd=host).count("\n") == len(new) - 1
    for name in new & set(git("ls-files", "scripts", cwd=template).splitlines()):
        assert (host / name).stat().st_mode == (template / name).stat().st_mode
    assert (host / ".gitignore").read_text() == "/dist/\n/.env\n/.cache/\n/.compat/\n"
    assert (host / "README.md").read_text() == "own\n"
    workflow = f"{WORKFLOWS}/sam-cli-compat.yml"
    assert (host / workflow).read_bytes() == (template / workflow).read_bytes()
    values = settings(host)
    assert values["EMULATOR_SOURCE"] == "."
    assert values["EMULATOR_PREBUILD"] == "uv build --wheel --clear --out-dir dist"
    assert values["GATED_PATHS"] == "src/** Dockerfile .dockerignore pyproject.toml uv.lock"
    assert f"  GATED_PATHS={values['GATED_PATHS']}\n" in printed
    assert f"Copied the gate {(template / 'scripts/VERSION').read_text().strip()} (" in printed
    assert "seem to publish" not in printed
    assert "EMULATOR_RELEASE_TAG" not in printed


@pytest.mark.parametrize("own", ["Makefile", "GNUmakefile", ".env.example", "scripts/release.py"])
def test_in_a_folder_beside_files_of_the_repository(template: Path, repository: Repository, own: str) -> None:
    host = repository(EMULATOR | {own: "own\n", ".gitignore": ".*\n*.txt\n"})
    printed = adopt(template, host)
    new = staged(host)
    assert {name.split("/")[0] for name in new} == {FOLDER, ".github"}
    assert {f"{FOLDER}/{name}" for name in ("LICENSE", "CONTRACT.md", "scripts/requirements.txt")} < new
    assert (host / own).read_text() == "own\n"
    assert (host / FOLDER / ".gitignore").read_text() == "/.cache/\n/.compat/\n/.env\n"
    for name in new:
        if name.startswith(WORKFLOWS):
            assert not re.search(r"(?<![\w./])\./(?!\.github)", (host / name).read_text())
    assert f"    working-directory: {FOLDER}/\n" in (host / WORKFLOWS / "sam-cli-compat.yml").read_text()
    assert settings(host / FOLDER)["EMULATOR_SOURCE"] == ".."
    assert settings(host / FOLDER)["GATED_PATHS"] == "src/** Dockerfile .dockerignore pyproject.toml uv.lock"
    assert f"make -C {FOLDER} compat" in printed


def test_in_the_folder_that_the_caller_names(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR)
    adopt(template, os.path.relpath(host, template / "docs"), FOLDER="tools/gate/", CALLER_PWD=str(template / "docs"))
    assert (host / "tools/gate/scripts/compat.py").is_file()
    assert settings(host / "tools/gate")["EMULATOR_SOURCE"] == "../.."
    commit_all(host)
    release(template, {"scripts/new.py": "new = 1\n"})
    assert "added   tools/gate/scripts/new.py" in adopt(template, host)
    assert not (host / FOLDER).exists()


def test_a_monorepo_that_publishes_the_image_already(template: Path, repository: Repository) -> None:
    host = repository(MONOREPO)
    printed = adopt(template, host)
    assert {name.split("/")[0] for name in staged(host)} == {FOLDER, ".github"}
    values = settings(host / FOLDER)
    assert values["EMULATOR_SOURCE"] == "../packages/emulator"
    assert values["GATED_PATHS"] == "packages/emulator/** LICENSE"
    ours = f"{WORKFLOWS}/sam-cli-compat-release.yml"
    assert "make publish" in (host / ours).read_text()
    assert (host / WORKFLOWS / "ecr-release.yml").read_text() == MONOREPO[f"{WORKFLOWS}/ecr-release.yml"]
    warning = printed.partition("must not push `latest`")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^  (\S+)", warning) == [f"{WORKFLOWS}/ecr-release.yml", ours]
    assert "secrets.UPLOAD_ROLE" in printed
    assert "EMULATOR_RELEASE_TAG" in printed

    git("rm", "--quiet", f"{WORKFLOWS}/ecr-release.yml", cwd=host)
    edit(host / ours, "vars.ECR_PUBLIC_ROLE_ARN", "secrets.UPLOAD_ROLE")
    commit_all(host)
    newer = (template / WORKFLOWS / "ecr-release.yml").read_text() + "# newer\n"
    release(template, {f"{WORKFLOWS}/ecr-release.yml": newer})
    adopt(template, host)
    assert not (host / WORKFLOWS / "ecr-release.yml").exists()
    assert "secrets.UPLOAD_ROLE" in (host / ours).read_text()
    assert (host / ours).read_text().endswith("# newer\n")


@pytest.mark.parametrize("files", [EMULATOR, MONOREPO], ids=["top", "monorepo"])
def test_the_values_that_were_found_are_valid(template: Path, repository: Repository, files: dict[str, str]) -> None:
    host = repository(files)
    adopt(template, host)
    (scripts,) = {path.parent for path in host.rglob("VERSION")}
    program = (
        "from gate.settings import load_committed, local; print(local(load_committed().emulator_source).resolve())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=scripts, capture_output=True, text=True)
    assert done.stdout.strip() == str(host / ("packages/emulator" if files is MONOREPO else "")), done.stderr


def test_a_package_outside_of_src_is_guarded(template: Path, repository: Repository) -> None:
    host = repository({"Dockerfile": DOCKERFILE, "pyproject.toml": PROJECT, "emulator/__init__.py": ""})
    adopt(template, host)
    assert settings(host)["GATED_PATHS"] == "**"


def test_of_many_dockerfiles_the_one_that_runs_the_emulator(template: Path, repository: Repository) -> None:
    host = repository({"a/Dockerfile": "FROM scratch\n", "b/Dockerfile": DOCKERFILE, "c/Dockerfile": "# no emulator\n"})
    adopt(template, host)
    assert settings(host / FOLDER)["EMULATOR_SOURCE"] == "../b"


def test_a_dockerfile_that_is_not_clear_is_asked_for(template: Path, repository: Repository) -> None:
    host = repository({"a/Dockerfile": "FROM scratch\n", "b/Dockerfile": "FROM scratch\n"})
    printed = adopt(template, host)
    assert "which of a/Dockerfile, b/Dockerfile?" in printed
    assert settings(host)["GATED_PATHS"] == "**"


@pytest.mark.parametrize("copied", ["server /", "src/a \\\n  lib/ /x/", "--from=build dist/a /"])
def test_an_image_without_a_wheel_of_its_own(template: Path, repository: Repository, copied: str) -> None:
    host = repository(EMULATOR | {"Dockerfile": f"FROM scratch\nCOPY {copied}\nRUN true\n"})
    adopt(template, host)
    assert settings(host)["EMULATOR_PREBUILD"] == ""
    assert settings(host)["GATED_PATHS"] == "**"


def test_what_is_in_the_way_is_listed_and_nothing_written(template: Path, repository: Repository) -> None:
    own = {f"{WORKFLOWS}/sam-cli-compat.yml": "own\n", f"{FOLDER}/Makefile": "own\n", f"{FOLDER}/scripts/gate": "own\n"}
    host = repository(EMULATOR | own | {"Makefile": "own\n"})
    error, listed = refused(template, host)
    assert "nothing was written" in error
    assert f"{WORKFLOWS}/sam-cli-compat.yml exists already" in listed
    assert f"{FOLDER}/Makefile exists already" in listed
    assert f"{FOLDER}/scripts/gate is not a folder" in listed


def test_a_link_in_the_way_is_not_followed(template: Path, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    host = repository(EMULATOR)
    (host / ".github").symlink_to(tmp_path / "elsewhere")
    _, listed = refused(template, host)
    assert ".github is not a folder" in listed


def test_a_file_that_has_uncommitted_changes_is_not_touched(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR | {".gitignore": "/dist/\n"})
    (host / ".gitignore").write_text("/dist/\n/build/\n")
    _, listed = refused(template, host)
    assert listed == [".gitignore has changes that are not committed"]


def test_an_adoption_that_fails_half_way_leaves_nothing(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR | {".gitignore": "/dist/\n"})
    (host / ".git/index.lock").write_text("")
    refused(template, host)
    (host / ".git/index.lock").unlink()
    adopt(template, host)
    commit_all(host)

    release(template, {"scripts/new/new.py": "new = 1\n", "Makefile": "all:\n"})
    (template / "scripts/changed.py").unlink()
    commit_all(template)
    (host / ".git/index.lock").write_text("")
    refused(template, host)


def test_a_second_adoption_of_the_same_version_changes_nothing(template: Path, repository: Repository) -> None:
    host = repository(MONOREPO)
    adopt(template, host)
    before = state(host)
    assert "already" in adopt(template, host).splitlines()[0]
    assert state(host) == before
    commit_all(host)
    before = state(host)
    assert "already" in adopt(template, host).splitlines()[0]
    assert state(host) == before


def test_an_update_of_an_unedited_copy(template: Path, repository: Repository) -> None:
    host = repository(MONOREPO)
    adopt(template, host)
    commit_all(host)
    old = git("rev-parse", "HEAD", cwd=template)
    (template / "scripts/changed.py").unlink()
    release(template, {"scripts/compat.py": "newer = 1\n", "scripts/gate/new.py": "new = 1\n"})
    printed = adopt(template, host)
    new = git("rev-parse", "HEAD", cwd=template)
    assert re.search(rf"from \S+ \({old[:12]}\) to 99\.0\.0 \({new[:12]}\)", printed)
    assert f"changed {FOLDER}/scripts/compat.py" in printed
    assert f"added   {FOLDER}/scripts/gate/new.py" in printed
    assert f"removed {FOLDER}/scripts/changed.py" in printed
    assert (host / FOLDER / "scripts/compat.py").read_text() == "newer = 1\n"
    assert not (host / FOLDER / "scripts/changed.py").exists()
    assert (host / FOLDER / "scripts/VERSION").read_text() == "99.0.0\n"
    adopted = json.loads((host / FOLDER / "scripts/ADOPTED").read_text())
    assert (adopted["version"], adopted["commit"]) == ("99.0.0", new)
    assert {name.rpartition("/")[2] for name in staged(host)} == {
        "compat.py", "new.py", "changed.py", "VERSION", "ADOPTED"
    }  # fmt: skip
    assert git("diff", "--name-only", cwd=host) == ""


def test_an_update_keeps_edited_settings_and_adds_new_ones(template: Path, repository: Repository) -> None:
    host = repository(MONOREPO)
    adopt(template, host)
    mine = host / FOLDER / ".env.example"
    edit(mine, "COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=900")
    edit(mine, "COMPAT_RERUNS=1", "COMPAT_RERUNS=0")
    mine.write_text(mine.read_text() + "\n# Our own.\nPORT=9014\n")
    commit_all(host)
    theirs = template / ".env.example"
    for old, new in (
        ("COMPAT_TIMEOUT=1800", "COMPAT_TIMEOUT=2400\n\n# Why it is new.\nCOMPAT_NEW=7"),
        ("COMPAT_MIN_PASSED=35", "COMPAT_MIN_PASSED=36"),
        ("COMPAT_RERUNS=1\n", ""),
    ):
        edit(theirs, old, new)
    release(template, {})
    printed = adopt(template, host)
    values = settings(host / FOLDER)
    assert values["EMULATOR_SOURCE"] == "../packages/emulator"
    assert (values["COMPAT_TIMEOUT"], values["COMPAT_MIN_PASSED"], values["COMPAT_NEW"]) == ("900", "36", "7")
    assert "COMPAT_RERUNS" not in values
    assert values["PORT"] == "9014"
    assert "\n\n# Why it is new.\nCOMPAT_NEW=7\n" in mine.read_text()
    assert "new setting COMPAT_NEW=7" in printed
    assert "COMPAT_RERUNS=0 was dropped" in printed
    assert "the template's default is now COMPAT_TIMEOUT=2400" in printed


def test_an_update_merges_what_was_edited_elsewhere_in_a_file(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR)
    adopt(template, host)
    (host / "Makefile").write_text((host / "Makefile").read_text() + "\nown: ; @echo own\n")
    (host / "scripts/changed.py").write_text((host / "scripts/changed.py").read_text() + "# own\n")
    (host / "scripts/required.py").unlink()
    commit_all(host)
    (template / "scripts/changed.py").unlink()
    release(template, {"Makefile": "# newer\n" + (template / "Makefile").read_text(), "scripts/required.py": "new\n"})
    printed = adopt(template, host)
    makefile = (host / "Makefile").read_text()
    assert makefile.startswith("# newer\n")
    assert makefile.endswith("own: ; @echo own\n")
    assert "scripts/changed.py is not part of the gate since 99.0.0, but was edited here" in printed
    assert (host / "scripts/changed.py").exists()
    assert "scripts/required.py was removed here" in printed
    assert not (host / "scripts/required.py").exists()


def test_an_update_of_lines_that_were_edited_is_refused(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR)
    adopt(template, host)
    (host / "scripts/compat.py").write_text("mine = 1\n")
    commit_all(host)
    release(template, {"scripts/compat.py": "theirs = 1\n", "scripts/new.py": "new = 1\n"})
    _, listed = refused(template, host)
    assert listed == ["scripts/compat.py was edited here, and the template changed the same lines"]
    assert (host / "scripts/VERSION").read_bytes() == git(
        "show", "HEAD~1:scripts/VERSION", cwd=template
    ).encode() + b"\n"


def test_an_update_from_a_commit_that_the_clone_lacks(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR)
    adopt(template, host)
    edit(host / "scripts/ADOPTED", git("rev-parse", "HEAD", cwd=template), "0" * 40)
    commit_all(host)
    error, _ = refused(template, host)
    assert "commit 000000000000, which this clone lacks" in error
    (host / "scripts/ADOPTED").write_text("{}")
    error, _ = refused(template, host)
    assert "scripts/ADOPTED is damaged" in error


@pytest.mark.parametrize(
    ("into", "says"),
    [
        ("", "INTO is not set"),
        ("nowhere", "is not a folder"),
        ("plain", "is not in a git repository"),
        ("template", "is the template itself"),
        ("template/scripts", "is the template itself"),
        ("committed", "is the template itself"),
        ("host/src", "use INTO="),
    ],
)
def test_a_folder_that_cannot_take_the_gate(
    template: Path, committed: Path, repository: Repository, tmp_path: Path, into: str, says: str
) -> None:
    repository(EMULATOR)
    (tmp_path / "plain").mkdir()
    named = committed if into == "committed" else tmp_path / into if into else ""
    error, _ = refused(template, named, GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert says in error


@pytest.mark.parametrize("folder", ["/tmp", "../elsewhere", "a/../../b", "a b"])
def test_a_folder_outside_of_the_repository_is_refused(template: Path, repository: Repository, folder: str) -> None:
    error, _ = refused(template, repository(EMULATOR), FOLDER=folder)
    assert error.startswith(f"error: FOLDER={folder!r}")


def test_a_second_folder_for_the_same_repository_is_refused(template: Path, repository: Repository) -> None:
    host = repository(EMULATOR)
    adopt(template, host)
    commit_all(host)
    error, _ = refused(template, host, FOLDER="elsewhere")
    assert "already" in error
