"""The settings: .env.example, then .env, then the environment; later wins."""

import contextlib
import difflib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path, PurePosixPath

from dotenv.parser import parse_stream
from packaging.version import InvalidVersion, Version

from gate.programs import GateError
from gate.workspace import ROOT

# Platform -> how the tag of its image ends, as in v1.2.1-arm64.
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
# A name that begins with one of these is meant for the gate.
OUR_PREFIXES = ("SAMCLI_", "COMPAT_", "GATED_")
# The value of EMULATOR_IMAGE for the image that COMPAT_BASELINE names.
PUBLISHED = "published"
# What a value must be, as a regular expression and in words.
REPOSITORY = (
    r"([\w.-]+(:[0-9]+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*",
    "an image's name, in lower case and without a tag",
)
TAG = (
    "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}",
    "a tag, without the image's name",
)
ABOVE_0 = ("0*[1-9][0-9]*", "above 0")
# Unless they are empty.
FORMS = {
    "EMULATOR_REPOSITORY": REPOSITORY,
    "EMULATOR_TAG": TAG,
    "COMPAT_SDK": ("released|source", "released or source"),
    "COMPAT_JOBS": ABOVE_0,
    "COMPAT_TIMEOUT": ABOVE_0,
    "COMPAT_BASELINE": TAG,
    "PUBLISH_REPOSITORY": REPOSITORY,
}
PUBLISHED_TAG = re.compile(r"latest|stable|v?[0-9]+([._-].*)?", re.IGNORECASE)
# A glob with one of these would match no file: git does not expand braces, `:` or `!` give a path
# another meaning, and no path from the repository's root begins with `./` or has a comma in a list.
READ_LITERALLY = re.compile(r"^[/!:-]|^\.{1,2}/|[{}:!,'\"\\]|//")
NEVER_EMPTY = [
    "EMULATOR_SOURCE",
    "EMULATOR_REPOSITORY",
    "SAMCLI_SOURCE",
    "SAMCLI_PYTHON",
    "SAMCLI_TESTS",
    "COMPAT_SDK",
    "PUBLISH_PLATFORMS",
]
KNOWN_FAILURE = re.compile(r"(\S+::\S+)@([0-9]{4}-[0-9]{2}-[0-9]{2})")
# Separated by spaces in the file, each of them once.
Words = list[str]


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
    samcli_refs: Words
    samcli_compared_refs: Words
    samcli_python: str
    samcli_tests: Words
    samcli_known_failures: Words
    sdk_source: str
    compat_sdk: str
    sdk_tag_prefix: str
    compat_jobs: int | None
    compat_min_passed: int
    compat_reruns: int
    compat_timeout: int
    compat_baseline: str
    compat_save_image: bool
    publish_repository: str
    publish_platforms: Words
    publish_latest: bool
    publish_dry_run: bool
    release_tag_prefix: str
    gated_paths: Words


TYPE_BY_NAME = {field.name.upper(): field.type for field in fields(Settings)}


def load() -> Settings:
    """Return the settings of this run, from all three layers."""
    files = _file(".env.example") | _file(".env")
    settings = _checked(files | _known(os.environ, "the environment"))
    # The jobs that test have no RELEASE_TAG.
    if os.environ.get("GITHUB_EVENT_NAME") == "release":
        # A release sets no test aside.
        return replace(settings, samcli_known_failures=[])
    return settings


def load_committed() -> Settings:
    """Return the settings that the repository committed: a release requires at least these."""
    return _checked(_file(".env.example"))


def path_of(value: str) -> Path:
    """Turn a setting's value into a path. Relative ones start at the gate's folder."""
    try:
        return ROOT / Path(value).expanduser()
    except RuntimeError:
        # There is no such user.
        return ROOT / value


def known_failure(entry: str) -> tuple[str, date]:
    """Return the test id in an entry of SAMCLI_KNOWN_FAILURES, and the last day that it counts."""
    match = KNOWN_FAILURE.fullmatch(entry)
    try:
        if match:
            return _normal_path(match[1]), date.fromisoformat(match[2])
    except ValueError:
        pass
    remedy = "write path::Class::test@YYYY-MM-DD, the last day on which it is set aside"
    raise GateError(f"SAMCLI_KNOWN_FAILURES: {entry} cannot be read: {remedy}")


def versions_in_tag(tag: str, prefix: str) -> list[str]:
    """Return the versions of one package that a release's tag names, such as 1.3.0.

    A monorepo's tag may name several packages, as in sdk-v1.8.0,testing-v1.3.0. A part is the
    package's if a version follows its prefix (FACTS.md#release-tags).
    """
    versions = []
    for part in tag.split(","):
        version = part.removeprefix(prefix)
        with contextlib.suppress(InvalidVersion):
            Version(version)
            if part.startswith(prefix):
                versions.append(version)
    return versions


def _file(name: str) -> dict[str, str]:
    """Return the settings in a file. Raises GateError for a line that looks like one and is not.

    Lines of other programs may have another encoding, and need not be readable.
    """
    path = ROOT / name
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if "\0" in text:
        # As PowerShell's `>` writes it.
        raise GateError(f"{name} is UTF-16: save it as UTF-8")
    values: dict[str, str | None] = {}
    read = set()
    for binding in parse_stream(io.StringIO(text)):
        if binding.key and binding.value is not None:
            values[binding.key] = binding.value
            # A binding begins with the empty lines above it.
            whole = binding.original.string
            above = whole[: -len(whole.lstrip())]
            number = binding.original.line + above.count("\n")
            read.add(number)
            if binding.key in TYPE_BY_NAME and binding.value.endswith("\\"):
                raise GateError(
                    f"{name}, line {number}: {binding.key} ends with \\: write it in one line, "
                    "or in quotes"
                )
    for number, line in enumerate(text.split("\n"), start=1):
        begins = re.match(r"\s*(?:export\s+)?(\w+)", line)
        # It can also have been taken for a part of a value above, whose quote is not closed.
        if begins and begins[1] in TYPE_BY_NAME and number not in read:
            raise GateError(
                f"{name}, line {number}: {begins[1]} cannot be read: write {begins[1]}=VALUE"
            )
    return _known(values, name)


def _known(values: Mapping[str, str | None], layer: str) -> dict[str, str]:
    """Return the settings among other programs' variables, which are never printed.

    A name with one of our prefixes must be a setting. In a file, so must one that is nearly one.
    """
    for name in values.keys() - TYPE_BY_NAME.keys():
        upper = name.upper()
        ours = upper.startswith(OUR_PREFIXES)
        likeness = 0.5 if ours else 0.9
        nearest = difflib.get_close_matches(
            upper, TYPE_BY_NAME, n=1, cutoff=likeness
        )
        if ours or (nearest and layer != "the environment"):
            hint = f": did you mean {nearest[0]}?" if nearest else ""
            raise GateError(f"unknown setting {name} in {layer}{hint}")
    return {
        name: (value or "").strip()
        for name, value in values.items()
        if name in TYPE_BY_NAME
    }


def _checked(values: Mapping[str, str]) -> Settings:
    if missing := TYPE_BY_NAME.keys() - values.keys():
        raise GateError(
            f".env.example lacks {', '.join(missing)}: copy it again from the template"
        )
    for name in NEVER_EMPTY:
        if not values[name]:
            raise GateError(f"{name} is empty: see .env.example")
    parsed = {
        name.lower(): _parsed(name, value) for name, value in values.items()
    }
    for name, (form, in_words) in FORMS.items():
        if values[name] and not re.fullmatch(form, values[name]):
            raise GateError(f"{name}={values[name]}: must be {in_words}")
    tests = map(_normal_path, values["SAMCLI_TESTS"].split())
    parsed["samcli_tests"] = list(dict.fromkeys(tests))
    settings = Settings(**parsed)  # type: ignore[arg-type]
    if not settings.samcli_refs + settings.samcli_compared_refs:
        raise GateError(
            "SAMCLI_REFS and SAMCLI_COMPARED_REFS are both empty: name a ref in one"
        )
    if PUBLISHED_TAG.fullmatch(settings.emulator_tag):
        tag = settings.emulator_tag
        raise GateError(
            f"EMULATOR_TAG={tag} could be published: use one like pr-1"
        )
    if settings.emulator_image == PUBLISHED and not settings.compat_baseline:
        raise GateError(
            f"EMULATOR_IMAGE={PUBLISHED} needs COMPAT_BASELINE, the tag of that image"
        )
    for platform in settings.publish_platforms:
        if platform not in PLATFORMS:
            known = ", ".join(PLATFORMS)
            raise GateError(
                f"PUBLISH_PLATFORMS: {platform} is not one of {known}"
            )
    for entry in settings.samcli_known_failures:
        known_failure(entry)
    if settings.compat_sdk == "source" and not settings.sdk_source:
        raise GateError(
            "COMPAT_SDK=source needs SDK_SOURCE, the folder of that package"
        )
    for glob in filter(READ_LITERALLY.search, settings.gated_paths):
        reason = "it must not begin with / ./ ../ - or contain // { } : ! , \\ or a quote"
        raise GateError(f"GATED_PATHS: {glob} would match nothing: {reason}")
    return settings


def _parsed(name: str, value: str) -> str | int | Words | None:
    kind = TYPE_BY_NAME[name]
    if kind is str:
        return value
    if kind == Words:
        return list(dict.fromkeys(value.split()))
    if kind == int | None and not value:
        return None
    if kind is bool and value not in ("0", "1"):
        raise GateError(f"{name}={value}: must be 0 or 1")
    if not re.fullmatch("[0-9]{1,9}", value):
        raise GateError(f"{name}={value}: must be a number")
    return int(value)


def _normal_path(entry: str) -> str:
    """Return a path or test id with the path as pytest prints it, without `./` or `//`."""
    path, separator, test = entry.partition("::")
    normal = PurePosixPath(path)
    if normal.is_absolute() or ".." in normal.parts:
        raise GateError(
            f"the test {entry} must have a path from the top of aws-sam-cli"
        )
    return f"{normal}{separator}{test}"
