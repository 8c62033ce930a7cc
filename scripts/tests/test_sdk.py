"""The SDK of a commit: its wheel, in the image and in the functions. A release's is waited for."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gate import sdk, workspace
from gate.programs import GateError
from gate.sdk import Wheel
from gate.settings import Settings, load_committed

from .support.server import running_server

# Of the package that the tests call the SDK.
NAME = "durable-sdk"
PROJECT = '[project]\nname = "Durable.SDK"\nversion = "3.1.0"\n'
BACKEND = """description = "x"
[build-system]
requires = ["flit_core"]
build-backend = "flit_core.buildapi"
[tool.flit.module]
name = "durable"
"""
PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in a folder with a space in its name."""
    folder = tmp_path / "a clone"
    monkeypatch.setattr(workspace, "CACHE", folder)
    folder.mkdir()
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source of the SDK."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    (folder / "durable.py").write_text("STEP = 1\n")
    (folder / "pyproject.toml").write_text(PROJECT + BACKEND)
    return folder


def settings(**other: str) -> Settings:
    return dataclasses.replace(load_committed(), **other)  # type: ignore[arg-type]


def write_wheel(
    folder: Path, name: str = "durable_sdk", version: str = "3.1.0"
) -> Path:
    """Write a wheel that pip takes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", f"{name} {version}")
    return path


# --- the wheel


@pytest.mark.parametrize(
    ("pyproject", "name"),
    [
        (PROJECT, NAME),
        ('[project]\nname = "durable-_-sdk"\n', NAME),
        ("[tool.other]\n", ""),
        (None, ""),
    ],
    ids=["a dot", "separators", "no project", "no pyproject.toml"],
)
def test_a_packages_name_is_the_one_that_an_index_spells(
    tmp_path: Path, pyproject: str | None, name: str
) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    assert sdk.project_name(tmp_path) == name


def test_a_wheel_is_identified_by_its_bytes_and_by_its_list_of_files(
    tmp_path: Path,
) -> None:
    path = write_wheel(tmp_path)
    assert sdk.describe(path) == Wheel(
        path=str(path),
        name=NAME,
        version="3.1.0",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        record=hashlib.sha256(b"durable_sdk 3.1.0").hexdigest(),
    )


def test_the_released_sdk_is_not_built(source: Path, clone: Path) -> None:
    released = settings(compat_sdk="released", sdk_source=str(source))
    assert sdk.build(released) is None
    assert list(clone.iterdir()) == []


def test_the_same_source_gives_the_same_wheel_and_another_one_does_not(
    source: Path,
) -> None:
    """Each job of a run builds it: what one of them tested is what another one has."""
    of_source = settings(compat_sdk="source", sdk_source=str(source))
    first = sdk.build(of_source)
    assert first
    assert (first.name, first.version) == (NAME, "3.1.0")
    # As in a fresh clone.
    os.utime(source / "durable.py", (1e9, 1e9))
    assert sdk.build(of_source) == first
    (source / "durable.py").write_text("STEP = 2\n")
    second = sdk.build(of_source)
    assert second
    assert second.sha256 != first.sha256
    assert second.record != first.record


def test_the_wheel_of_another_version_takes_the_place_of_the_earlier_one(
    source: Path,
) -> None:
    of_source = settings(compat_sdk="source", sdk_source=str(source))
    sdk.build(of_source)
    pyproject = source / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("3.1.0", "3.2.0"))
    wheel = sdk.build(of_source)
    assert wheel
    assert wheel.version == "3.2.0"


def test_a_folder_of_no_package_is_an_error_by_the_settings_name(
    tmp_path: Path,
) -> None:
    of_source = settings(compat_sdk="source", sdk_source=str(tmp_path))
    says = f"^SDK_SOURCE: no wheel can be built in {tmp_path}"
    with pytest.raises(GateError, match=says):
        sdk.build(of_source)


# --- in the functions under test


def downloaded(
    folder: Path, environ: dict[str, str], *packages: str
) -> set[str]:
    """Return the files that pip takes for packages, by the constraints of this environment."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_")
    }
    options = [f"--dest={folder / 'out'}", f"--find-links={folder / 'index'}"]
    subprocess.run(
        [*PIP, "--no-index", *options, *packages],
        check=True,
        env=plain | {"PIP_CONFIG_FILE": os.devnull} | environ,
    )
    return {path.name for path in (folder / "out").iterdir()}


@pytest.fixture
def wheel(clone: Path, tmp_path: Path) -> Wheel:
    """The SDK of this commit, beside an index that has a newer one."""
    write_wheel(tmp_path / "index", version="9.9.0")
    return sdk.describe(write_wheel(clone / "sdk"))


def test_pip_takes_this_wheel_and_not_the_newest(
    wheel: Wheel, tmp_path: Path
) -> None:
    newest = downloaded(tmp_path, {}, NAME)
    assert newest == {"durable_sdk-9.9.0-py3-none-any.whl"}
    (tmp_path / "out" / newest.pop()).unlink()
    environ = sdk.constraint(wheel, "")
    assert downloaded(tmp_path, environ, NAME) == {Path(wheel.path).name}


def test_the_callers_own_constraints_stay(wheel: Wheel, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("other==1.0\n")
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "index", name="other", version=version)
    environ = sdk.constraint(wheel, str(own))
    assert downloaded(tmp_path, environ, NAME, "other") == {
        Path(wheel.path).name,
        "other-1.0-py3-none-any.whl",
    }


def test_the_released_sdk_is_no_constraint(clone: Path) -> None:
    assert sdk.constraint(None, "") == {}
    assert list(clone.iterdir()) == []


# --- a release waits for the SDK that is released with it


@dataclasses.dataclass
class Index:
    """A package index that has a file from the nth time on that it is asked for its package."""

    wheel: Path
    shown_from: int = 1
    asked: int = 0


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index of this machine's pip; it has version 1.8.0 of the SDK."""
    index = Index(write_wheel(tmp_path / "index", version="1.8.0"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b""
            if self.path == f"/simple/{NAME}/":
                index.asked += 1
                if index.asked >= index.shown_from:
                    name = index.wheel.name
                    body = f'<a href="/{name}">{name}</a>'.encode()
            elif self.path == f"/{index.wheel.name}":
                body = index.wheel.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    for name in os.environ:
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(sdk, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(sdk, "INDEX_LAG", 60.0)
    with running_server(Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield index


def wait(source: Path | str, tag: str, prefix: str = "sdk-v") -> str:
    """Wait for the SDK of a release, whose tags name it by a prefix."""
    monorepo = settings(sdk_source=str(source), sdk_tag_prefix=prefix)
    return sdk.wait_for_release(monorepo, tag)


def test_a_release_goes_on_once_the_index_has_its_sdk(
    source: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.shown_from = 3
    assert wait(source, "sdk-v1.8.0,testing-v1.3.0") == "1.8.0"
    assert index.asked == 3
    waiting = "waiting for durable-sdk 1.8.0 on the index\n"
    assert capsys.readouterr().out == 2 * waiting


def test_a_release_whose_sdk_never_comes_ends_with_what_to_do(
    source: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "INDEX_LAG", 0.0)
    says = "durable-sdk 1.9.0 is not on the index yet: re-run the failed jobs"
    with pytest.raises(GateError, match=f"^{says} "):
        wait(source, "sdk-v1.9.0,testing-v1.3.0")
    assert index.asked == 1


@pytest.mark.parametrize(
    ("tag", "prefix"),
    [("testing-v1.3.0", "sdk-v"), ("sdk-v1.9.0,v1.3.0", ""), ("", "sdk-v")],
    ids=["another package's", "no prefix", "no release"],
)
def test_a_run_that_releases_no_sdk_does_not_wait(
    source: Path, index: Index, tag: str, prefix: str
) -> None:
    assert wait(source, tag, prefix) == ""
    assert index.asked == 0


def test_a_prefix_without_the_package_that_it_is_of_is_an_error(
    tmp_path: Path,
    source: Path,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A package in the gate's own folder is not the SDK.
    shutil.copy(workspace.ROOT / ".env.example", source)
    monkeypatch.setattr("gate.settings.ROOT", source)
    says = "^SDK_TAG_PREFIX=sdk-v needs SDK_SOURCE, the folder of that package"
    for sdk_source in ("", tmp_path):
        with pytest.raises(GateError, match=says):
            wait(sdk_source, "sdk-v1.8.0,testing-v1.3.0")
    assert index.asked == 0
