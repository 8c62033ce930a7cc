"""The settings: .env.example < .env < environment; typed, checked, frozen."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from dotenv.parser import parse_stream

from gate.cli import GateError
from gate.workspace import ROOT

# GitHub Actions, GitLab, Jenkins, CircleCI, Azure Pipelines, Buildkite and GitHub's runner images set no such name.
PREFIXES = ("EMULATOR_", "SAMCLI_", "COMPAT_", "PUBLISH_", "GATED_")
NOT_SETTINGS = {"COMPAT_REQUIRE_ENGINE", "EMULATOR_RELEASE_TAG"}  # of the template's tests, of the release workflow

COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:[a-z0-9.-]+(?::[0-9]+)?/)?{COMPONENT}(?:/{COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
IMAGE = rf"(?:sha256:)?[0-9a-f]{{12,64}}|{REPOSITORY.pattern}(?::{TAG.pattern})?(?:@sha256:[0-9a-f]{{64}})?|.*\.tar"
UNPUBLISHED = rf"(?!(?i:latest|stable|v[0-9]|[0-9]+(?:[._-]|$))){TAG.pattern}"
# The platforms that images are published for, with the name that their tags carry.
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
# Git takes {a,b}, a leading / or ! and the like literally: such a glob would guard nothing without an error.
GLOB = r"[^/!:{}-][^!:{}]*"
REF = r"latest:[1-9][0-9]?|[^~^:?*\[\\-][^~^:?*\[\\]{0,243}"
TEST = r"[^/-][^:]*\.py(::.+)?"
A_TAG = "must be an image tag (letters, digits, _ . -, at most 128)"
A_REPOSITORY = "must be an image name in lower case without tag or digest"
A_REF = "branch, tag, commit, `latest` or `latest:N`"


def _text(pattern: str = "(?s:.*)", want: str = "", *, needed: bool = False) -> Any:
    def parse(value: str) -> str:
        if needed and not value:
            raise ValueError("must not be empty")
        if value and not re.fullmatch(pattern, value):
            raise ValueError(want)
        return value

    return field(metadata={"parse": parse})


def _words(pattern: str, want: str, *, needed: bool = True, normal: Callable[[str], str] = str) -> Any:
    def parse(value: str) -> tuple[str, ...]:
        if needed and not value:
            raise ValueError("must not be empty")
        for word in value.split():
            if not re.fullmatch(pattern, word) or ".." in re.split(r"[/:]", word):
                raise ValueError(f"{word} is not a valid {want}")
        return tuple(dict.fromkeys(map(normal, value.split())))

    return field(metadata={"parse": parse})


def _number(least: int, most: int = 999_999, *, needed: bool = True) -> Any:
    def parse(value: str) -> int | None:
        if not value and not needed:
            return None
        if not re.fullmatch("[0-9]{1,6}", value) or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return field(metadata={"parse": parse})


def _switch() -> Any:
    def parse(value: str) -> bool:
        if value not in ("", "0", "1"):
            raise ValueError("must be 1, or 0 or empty")
        return value == "1"

    return field(metadata={"parse": parse})


def _normal(test: str) -> str:
    path, colons, name = test.partition("::")
    return f"{PurePosixPath(path)}{colons}{name}"


@dataclass(frozen=True)
class Settings:
    """Every setting, under its name in lower case; .env.example says what each means."""

    emulator_source: str = _text(needed=True)
    emulator_prebuild: str = _text()
    emulator_image: str = _text(IMAGE, "must be an image name in lower case, an image id, or a file NAME.tar")
    emulator_repository: str = _text(REPOSITORY.pattern, A_REPOSITORY, needed=True)
    emulator_tag: str = _text(UNPUBLISHED, f"{A_TAG} that is never published, such as pr-1")
    emulator_version: str = _text(TAG.pattern, "must be a version that an image tag can carry")
    samcli_source: str = _text(needed=True)
    samcli_refs: tuple[str, ...] = _words(REF, A_REF)
    samcli_compared_refs: tuple[str, ...] = _words(REF, A_REF, needed=False)
    samcli_python: str = _text(r"3\.[0-9]+(\.[0-9]+)?", "must be a Python version such as 3.13", needed=True)
    samcli_tests: tuple[str, ...] = _words(TEST, "path or test id inside the sam-cli checkout", normal=_normal)
    compat_jobs: int | None = _number(1, 64, needed=False)
    compat_min_passed: int = _number(1)
    compat_reruns: int = _number(0, 9)
    compat_timeout: int = _number(1)
    compat_baseline: str = _text(TAG.pattern, A_TAG)
    compat_save_image: bool = _switch()
    publish_repository: str = _text(REPOSITORY.pattern, A_REPOSITORY)
    publish_platforms: tuple[str, ...] = _words("|".join(PLATFORMS), f"platform: {' or '.join(PLATFORMS)}")
    publish_latest: bool = _switch()
    publish_older: bool = _switch()
    publish_dry_run: bool = _switch()
    gated_paths: tuple[str, ...] = _words(GLOB, "glob from the repository's root, such as src/**")


KNOWN = {each.name.upper() for each in fields(Settings)}


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the three layers. Raises GateError that names a setting, its value and its layer."""
    example, own, around = ROOT / ".env.example", ROOT / ".env", os.environ if environ is None else environ
    return _checked(_layer(example) | (_layer(own) if own.exists() else {}) | _known(around, "the environment"))


def load_committed() -> Settings:
    """Return the settings of .env.example alone."""
    return _checked(_layer(ROOT / ".env.example"))


def local(value: str) -> Path:
    """Return the path that a setting means: ~ is the user's home, a relative path is below the gate's folder."""
    try:
        return ROOT / Path(value).expanduser()
    except RuntimeError:  # ~ of a user that does not exist
        return ROOT / value


def _layer(path: Path) -> dict[str, tuple[str, str]]:
    """Return the settings in a file, each with the file's name."""
    try:
        bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise GateError(f"{path} is missing: it lists every setting; copy it along with scripts/") from None
    except UnicodeDecodeError:
        raise GateError(f"{path.name} is not UTF-8 text: save it as UTF-8") from None
    except IsADirectoryError:
        raise GateError(f"{path.name} is a folder: the settings are read from a file of that name") from None
    for binding in bindings:
        text, own = binding.original.string, str(binding.key or "").upper().startswith(PREFIXES)
        line = text.strip()
        at = f"{path.name}, line {binding.original.line + text[: text.find(line)].count(chr(10))}"
        if binding.error or (own and binding.value is None):
            raise GateError(f"{at} is not NAME=value: {line}")
        if own and re.search(r"=(?!\s*['\"]).*\s#", line):  # it would be cut off without an error
            raise GateError(f"{at}: put the comment on a line of its own: {line}")
    return _known({binding.key: binding.value or "" for binding in bindings if binding.key}, path.name)


def _known(values: Mapping[str, str], layer: str) -> dict[str, tuple[str, str]]:
    """Return the settings among other programs' variables. Raises GateError for one that is meant as a setting."""
    for name in sorted(values.keys() - KNOWN - NOT_SETTINGS):
        ours = name.upper().startswith(PREFIXES)
        near = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.6 if ours else 0.9)
        if ours or (near and layer != "the environment"):
            raise GateError(f"unknown setting {name} in {layer}{f': did you mean {near[0]}?' if near else ''}")
    return {name: (value, layer) for name, value in values.items() if name in KNOWN}


def _checked(values: Mapping[str, tuple[str, str]]) -> Settings:
    if missing := KNOWN - values.keys():
        raise GateError(f".env.example lacks {', '.join(sorted(missing))}: copy it again from the template")
    parsed = {}
    for each in fields(Settings):
        value, layer = values[each.name.upper()]
        try:
            if "\0" in value or re.search("[\ud800-\udfff]", value):
                raise ValueError("must be UTF-8 text")
            parsed[each.name] = each.metadata["parse"](value.strip())
        except ValueError as error:
            raise GateError(f"{each.name.upper()}={value!r} (from {layer}): {error}") from None
    return Settings(**parsed)
