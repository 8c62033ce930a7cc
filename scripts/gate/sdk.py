"""The SDK of this commit: its wheel, which the image and the functions under test both install.

Off unless COMPAT_SDK=source. Evidence, not trust: the image's pip and the functions' RECORD show
that it is really this wheel.
"""

import hashlib
import shutil
import sys
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from gate import workspace
from gate.programs import UV, GateError, call, stream, uv_environment
from gate.settings import Settings, path_of, versions_in_tag

# Seconds that a release waits until the index has its SDK, and between two attempts.
INDEX_LAG = 30 * 60
POLL_INTERVAL = 60


@dataclass(frozen=True)
class Wheel:
    """A built package. `record`: the hash of its RECORD, which is in what it is installed to."""

    path: str
    name: str
    version: str
    sha256: str
    record: str


def project_name(folder: Path) -> str:
    """Return the name of the package in a folder as an index spells it, "" without one."""
    file = folder / "pyproject.toml"
    if not file.exists():
        return ""
    name = (
        tomllib.loads(file.read_text(encoding="utf-8"))
        .get("project", {})
        .get("name", "")
    )
    return canonicalize_name(name)


def build(settings: Settings) -> Wheel | None:
    """Build the wheel of SDK_SOURCE, if COMPAT_SDK=source; the same source gives the same bytes."""
    if settings.compat_sdk != "source":
        return None
    folder = path_of(settings.sdk_source).resolve()
    out = workspace.CACHE / "sdk"
    shutil.rmtree(out, ignore_errors=True)
    workspace.shield_from_parents()
    environ = uv_environment() | {"SOURCE_DATE_EPOCH": "315532800"}
    stream(
        [UV, "build", "--quiet", "--wheel", f"--out-dir={out}", folder],
        failure=f"SDK_SOURCE: no wheel can be built in {folder}",
        env=environ,
    )
    (path,) = out.glob("*.whl")
    return describe(path)


def describe(path: Path) -> Wheel:
    """Return what identifies a wheel."""
    name, version = path.name.split("-")[:2]
    with zipfile.ZipFile(path) as archive:
        record = archive.read(f"{name}-{version}.dist-info/RECORD")
    return Wheel(
        path=str(path),
        name=canonicalize_name(name),
        version=version,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        record=hashlib.sha256(record).hexdigest(),
    )


def constraint(wheel: Wheel | None, own: str) -> dict[str, str]:
    """Return the environment in which pip takes exactly this wheel, in the functions under test.

    `own` are the caller's constraints, which stay (FACTS.md#direct-url).
    """
    if not wheel:
        return {}
    path = Path(wheel.path)
    file = path.with_name("constraint.txt")
    workspace.write_text(file, f"{wheel.name} @ {path.as_uri()}\n")
    return {"PIP_CONSTRAINT": f"{own} {file.as_uri()}".strip()}


def wait_for_release(settings: Settings, release_tag: str) -> str:
    """Wait until the index has the SDK's version that a release's tag names, and return that.

    "" if it names none. The upload to the index begins at the same moment (FACTS.md#release-tags).
    """
    prefix = settings.sdk_tag_prefix
    versions = versions_in_tag(release_tag, prefix) if prefix else []
    if not versions:
        return ""
    version = versions[0]
    name = project_name(path_of(settings.sdk_source))
    if not settings.sdk_source or not name:
        raise GateError(
            f"SDK_TAG_PREFIX={prefix} needs SDK_SOURCE, the folder of that package"
        )
    target = workspace.CACHE / "index"
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
    ]
    deadline = time.monotonic() + INDEX_LAG
    while True:
        try:
            call(
                [*download, f"--dest={target}", f"{name}=={version}"],
                failure="pip",
            )
            return version
        except GateError as error:
            if time.monotonic() > deadline:
                raise GateError(
                    f"{name} {version} is not on the index yet: re-run the failed jobs ({error})"
                ) from None
        print(f"waiting for {name} {version} on the index")
        time.sleep(POLL_INTERVAL)
