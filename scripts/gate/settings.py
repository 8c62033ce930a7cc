"""The settings: .env.example < .env < environment; typed, checked, frozen."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path, PurePosixPath

from dotenv.parser import parse_stream

from gate.cli import GateError
from gate.workspace import ROOT

PREFIXES = ("EMULATOR_", "SAMCLI_", "COMPAT_", "PUBLISH_", "GATED_")
NOT_SETTINGS = {"COMPAT_REQUIRE_ENGINE", "EMULATOR_RELEASE_TAG"}  # of the template's tests, of the release workflow

COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:[a-z0-9.-]+(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
IMAGE = re.compile(rf"(?:sha256:)?[0-9a-f]{{12,64}}|{REPOSITORY.pattern}(?::{TAG.pattern})?(?:@sha256:[0-9a-f]{{64}})?")
PUBLISHED = re.compile(r"latest.*|stable.*|v[0-9].*|[0-9]+([._-].*)?", re.IGNORECASE)
# The platforms that images are published for, with the name that their tags carry.
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
PYTHON = re.compile(r"3\.[0-9]+(\.[0-9]+)?")
# Git takes {a,b}, a leading / or ! and the like literally: such a glob would guard nothing without an error.
GLOB = re.compile(r"[^\s/!:{}-][^\s!:{}]*")
REF = re.compile(r"latest:[1-9][0-9]?|[^\s~^:?*\[\\-][^\s~^:?*\[\\]{0,243}")


@dataclass(frozen=True)
class Settings:
    """Every setting, under its name in lower case; .env.example says what each means."""

    emulator_source: str
    emulator_prebuild: str
    emulator_image: str
    emulator_repository: str
    emulator_tag: str
    emulator_version: str
    samcli_source: str
    samcli_refs: tuple[str, ...]
    samcli_compared_refs: tuple[str, ...]
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
    publish_latest: bool
    publish_older: bool
    publish_dry_run: bool
    gated_paths: tuple[str, ...]


KNOWN = {field.name.upper() for field in fields(Settings)}


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the three layers. Raises GateError that names a setting, its value and its layer."""
    values = _defaults()
    if (ROOT / ".env").exists():
        for name, value in _read(ROOT / ".env").items():
            _known(name, ".env", name.upper().startswith(PREFIXES) or bool(_nearest(name)))  # others may be the host's
            values |= {name: (value, ".env")} if name in KNOWN else {}
    for name, value in (os.environ if environ is None else environ).items():
        _known(name, "the environment", name.startswith(PREFIXES))
        values |= {name: (value, "the environment")} if name in KNOWN else {}
    return _checked(values)


def load_committed() -> Settings:
    """Return the settings of .env.example alone."""
    return _checked(_defaults())


def local(value: str) -> Path:
    """Return the path that a setting means: ~ is the user's home, a relative path is below the gate's folder."""
    try:
        return ROOT / Path(value).expanduser()
    except RuntimeError:  # ~ of a user that does not exist
        return ROOT / value


def _defaults() -> dict[str, tuple[str, str]]:
    if not (ROOT / ".env.example").is_file():
        raise GateError(f"{ROOT / '.env.example'} is missing: it lists every setting; copy it along with scripts/")
    values = {name: (value, ".env.example") for name, value in _read(ROOT / ".env.example").items()}
    if missing := KNOWN - values.keys():
        raise GateError(f".env.example lacks {', '.join(sorted(missing))}: copy it again from the template")
    for name in values:
        _known(name, ".env.example", name.upper().startswith(PREFIXES))
    return values


def _read(path: Path) -> dict[str, str]:
    try:
        bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8"))))
    except UnicodeDecodeError:
        raise GateError(f"{path.name} is not UTF-8 text: save it as UTF-8") from None
    except IsADirectoryError:
        raise GateError(f"{path.name} is a folder: the settings are read from a file of that name") from None
    for binding in bindings:
        line, own = binding.original.string.strip(), str(binding.key or "").upper().startswith(PREFIXES)
        if binding.error or (own and binding.value is None):
            raise GateError(f"{path.name}, line {binding.original.line} is not NAME=value: {line}")
        if own and re.search(r"=[^'\"]*\s#", line):
            raise GateError(f"{path.name}, line {binding.original.line}: put the comment on a line of its own: {line}")
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def _known(name: str, layer: str, ours: bool) -> None:
    if ours and name not in KNOWN | NOT_SETTINGS:
        near = _nearest(name, cutoff=0.6)
        raise GateError(f"unknown setting {name} in {layer}{f': did you mean {near}?' if near else ''}")


def _nearest(name: str, cutoff: float = 0.9) -> str:
    return "".join(difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=cutoff))


def _checked(raw: Mapping[str, tuple[str, str]]) -> Settings:
    def wrong(name: str, want: str) -> GateError:
        value, layer = raw[name.upper()]
        return GateError(f"{name.upper()}={value!r} (from {layer}): {want}")

    def text(name: str, pattern: re.Pattern[str] | None = None, want: str = "", *, needed: bool = False) -> str:
        value = raw[name.upper()][0].strip()
        if needed and not value:
            raise wrong(name, "must not be empty")
        if value and pattern and not pattern.fullmatch(value):
            raise wrong(name, want)
        return value

    def words(name: str, *, needed: bool = True) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text(name, needed=needed).split()))

    def each(name: str, good: re.Pattern[str], want: str, *, needed: bool = True) -> tuple[str, ...]:
        for word in words(name, needed=needed):
            if not good.fullmatch(word) or ".." in re.split(r"[/:]", word):
                raise wrong(name, f"{word} is not a valid {want}")
        return words(name, needed=needed)

    def number(name: str, least: int, most: int = 999_999) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text(name)) or not least <= int(text(name)) <= most:
            raise wrong(name, f"must be a whole number from {least} to {most}")
        return int(text(name))

    def switch(name: str) -> bool:
        return text(name, re.compile("[01]"), "must be 1, or 0 or empty") == "1"

    def image(name: str) -> str:
        return text(name, REPOSITORY, "must be an image name in lower case without tag or digest")

    if not (text("emulator_image").endswith(".tar") or IMAGE.fullmatch(text("emulator_image") or "a")):
        raise wrong("emulator_image", "must be an image name in lower case, an image id, or a file NAME.tar")
    if PUBLISHED.fullmatch(text("emulator_tag")):
        raise wrong("emulator_tag", "looks like a published tag, which a candidate must never have; use pr-…")
    tests = each(
        "samcli_tests", re.compile(r"[^\s/-][^\s]*\.py(::\S+)?"), "path or test id inside the sam-cli checkout"
    )
    tag = "must be an image tag (letters, digits, _ . -, at most 128)"
    return Settings(
        emulator_source=text("emulator_source", needed=True),
        emulator_prebuild=text("emulator_prebuild"),
        emulator_image=text("emulator_image"),
        emulator_repository=image("emulator_repository") or text("emulator_repository", needed=True),
        emulator_tag=text("emulator_tag", TAG, tag),
        emulator_version=text("emulator_version", TAG, "must be a version that an image tag can carry"),
        samcli_source=text("samcli_source", needed=True),
        samcli_refs=each("samcli_refs", REF, "branch, tag, commit, `latest` or `latest:N`"),
        samcli_compared_refs=each(
            "samcli_compared_refs", REF, "branch, tag, commit, `latest` or `latest:N`", needed=False
        ),
        samcli_python=text("samcli_python", PYTHON, "must be a Python version such as 3.13", needed=True),
        samcli_tests=tuple(dict.fromkeys(_normal(test) for test in tests)),
        compat_jobs=number("compat_jobs", 1, 64) if text("compat_jobs") else None,
        compat_min_passed=number("compat_min_passed", 1),
        compat_reruns=number("compat_reruns", 0, 9),
        compat_timeout=number("compat_timeout", 1),
        compat_baseline=text("compat_baseline", TAG, tag),
        compat_save_image=switch("compat_save_image"),
        publish_repository=image("publish_repository"),
        publish_platforms=each("publish_platforms", re.compile("|".join(PLATFORMS)), f"one of {' '.join(PLATFORMS)}"),
        publish_latest=switch("publish_latest"),
        publish_older=switch("publish_older"),
        publish_dry_run=switch("publish_dry_run"),
        gated_paths=each("gated_paths", GLOB, "glob from the repository's root, such as src/**"),
    )


def _normal(test: str) -> str:
    path, colons, name = test.partition("::")
    return f"{PurePosixPath(path)}{colons}{name}"
