"""The settings: .env.example < .env < environment; typed, checked, frozen."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path, PurePosixPath

from dotenv.parser import parse_stream

from command import GateError

ROOT = Path(__file__).resolve().parent.parent
OWN_PREFIXES = ("EMULATOR_", "SAMCLI_", "COMPAT_", "PUBLISH_", "GATED_")

COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:[a-z0-9.-]+(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
PUBLISHED = re.compile(r"latest.*|stable.*|v[0-9].*|[0-9]+([._-].*)?", re.IGNORECASE)
# The platforms that images are published for, with the name that their tags carry.
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
PYTHON = re.compile(r"3\.[0-9]+(\.[0-9]+)?")
# Git takes {a,b}, a leading / or ! and the like literally: such a glob would guard nothing and nobody would notice.
GLOB = re.compile(r"[^\s/!:{}-][^\s!:{}]*")
REF = re.compile(r"[^\s~^:?*\[\\-][^\s~^:?*\[\\]*")


@dataclass(frozen=True)
class Config:
    """Every setting, under its name in lower case; what each means is said in .env.example."""

    emulator_source: str
    emulator_prebuild: str
    emulator_image: str
    emulator_repository: str
    emulator_tag: str
    emulator_version: str
    samcli_source: str
    samcli_refs: tuple[str, ...]
    samcli_python: str
    samcli_tests: tuple[str, ...]
    compat_jobs: int | None
    compat_min_passed: int
    compat_reruns: int
    compat_timeout: int
    compat_baseline: str
    compat_save_image: bool
    publish_repository: str
    publish_platforms: tuple[str, ...]
    publish_dry_run: bool
    gated_paths: tuple[str, ...]


def load(root: Path = ROOT, environ: Mapping[str, str] | None = None, *, example_only: bool = False) -> Config:
    """Read the three layers below `root` and return the settings; with `example_only` the first layer alone.

    Raises GateError that names the setting, its value and the layer it came from.
    """
    example, dotenv = root / ".env.example", root / ".env"
    environ = os.environ if environ is None else environ
    if not example.is_file():
        raise GateError(f"{example} is not there: it lists every setting; copy it along with scripts/")
    values = {name: (value or "", ".env.example") for name, value in _read(example).items()}
    known = {field.name.upper() for field in fields(Config)}
    if missing := known - values.keys():
        raise GateError(f".env.example lacks {', '.join(sorted(missing))}: take it anew from the template")
    if example_only:
        return _check({name.lower(): values[name] for name in known})
    for name, value in _read(dotenv).items() if dotenv.is_file() else ():
        if name in known:
            values[name] = (value or "", ".env")
        elif name.startswith(OWN_PREFIXES) or _nearest(name, known, cutoff=0.9):  # others may be the host's
            raise GateError(f"unknown setting {name} in .env{_nearest(name, known)}")
    for name, value in environ.items():
        if name in known:
            values[name] = (value, "environment")
        elif name.startswith(OWN_PREFIXES) and (nearest := _nearest(name, known, cutoff=0.9)):
            raise GateError(f"unknown setting {name} in environment{nearest}")
    return _check({name.lower(): values[name] for name in known})


def _read(path: Path) -> dict[str, str | None]:
    try:
        bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8"))))
    except UnicodeDecodeError:
        raise GateError(f"{path.name} is not UTF-8 text: write it again") from None
    for binding in bindings:
        if binding.error:
            raise GateError(
                f"{path.name}, line {binding.original.line} is no NAME=value: {binding.original.string.strip()}"
            )
    return {binding.key: binding.value for binding in bindings if binding.key}


def local(value: str) -> Path:
    """Return the path that a setting means: ~ is the user's home, anything relative is below the project's root."""
    try:
        return ROOT / Path(value).expanduser()
    except RuntimeError:  # ~nobody-of-that-name
        return ROOT / value


def _nearest(name: str, known: set[str], cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f": did you mean {near[0]}?" if near else ""


def _check(raw: Mapping[str, tuple[str, str]]) -> Config:
    def wrong(name: str, want: str) -> GateError:
        value, layer = raw[name]
        return GateError(f"{name.upper()}={value!r} (from {layer}): {want}")

    def text(name: str) -> str:
        return raw[name][0].strip()

    def required(name: str) -> str:
        if not text(name):
            raise wrong(name, "must not be empty")
        return text(name)

    def words(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(required(name).split()))

    def number(name: str, least: int) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text(name)) or int(text(name)) < least:
            raise wrong(name, f"must be a whole number, {least} or more")
        return int(text(name))

    def switch(name: str) -> bool:
        if text(name) not in ("", "0", "1"):
            raise wrong(name, "must be 1, or 0 or empty")
        return text(name) == "1"

    def matching(name: str, pattern: re.Pattern[str], want: str) -> str:
        if text(name) and not pattern.fullmatch(text(name)):
            raise wrong(name, want)
        return text(name)

    if PUBLISHED.fullmatch(text("emulator_tag")):
        raise wrong("emulator_tag", "looks like a published tag, which a candidate must never have; use pr-…")
    for path in words("samcli_tests"):
        if path.startswith(("/", "-")) or ".." in Path(path).parts or not path.endswith(".py"):
            raise wrong("samcli_tests", f"{path} is not the path of a test file inside the sam-cli checkout")
    for ref in words("samcli_refs"):
        if not REF.fullmatch(ref):
            raise wrong("samcli_refs", f"{ref} is no branch, tag or commit")
    for platform in words("publish_platforms"):
        if platform not in PLATFORMS:
            raise wrong("publish_platforms", f"{platform} is none of {' '.join(PLATFORMS)}")
    for glob in words("gated_paths"):
        if not GLOB.fullmatch(glob) or ".." in Path(glob).parts:
            raise wrong("gated_paths", f"{glob} is no glob from the repository's root (such as src/**)")
    required("emulator_repository")
    required("samcli_python")
    return Config(
        emulator_source=required("emulator_source"),
        emulator_prebuild=text("emulator_prebuild"),
        emulator_image=text("emulator_image"),
        emulator_repository=matching("emulator_repository", REPOSITORY, "must be an image name without tag or digest"),
        emulator_tag=matching("emulator_tag", TAG, "is no image tag (letters, digits, _ . -, at most 128)"),
        emulator_version=matching("emulator_version", TAG, "is no version that an image tag could carry"),
        samcli_source=required("samcli_source"),
        samcli_refs=words("samcli_refs"),
        samcli_python=matching("samcli_python", PYTHON, "must be a Python version such as 3.13"),
        samcli_tests=tuple(dict.fromkeys(str(PurePosixPath(path)) for path in words("samcli_tests"))),
        compat_jobs=number("compat_jobs", 1) if text("compat_jobs") else None,
        compat_min_passed=number("compat_min_passed", 1),
        compat_reruns=number("compat_reruns", 0),
        compat_timeout=number("compat_timeout", 1),
        compat_baseline=matching("compat_baseline", TAG, "is no image tag"),
        compat_save_image=switch("compat_save_image"),
        publish_repository=matching("publish_repository", REPOSITORY, "must be an image name without tag or digest"),
        publish_platforms=words("publish_platforms"),
        publish_dry_run=switch("publish_dry_run"),
        gated_paths=words("gated_paths"),
    )
