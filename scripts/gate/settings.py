"""The settings: .env.example, then .env, then the environment; later wins."""

import difflib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from dotenv import dotenv_values

from gate.cli import GateError
from gate.workspace import ROOT

PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}  # with the name in their tags
PREFIXES = ("SAMCLI_", "COMPAT_", "GATED_")  # an unknown name of ours is a mistake
PUBLISHED_TAG = re.compile(r"latest|stable|v?[0-9]+([._-].*)?", re.IGNORECASE)
UNMATCHED = re.compile(r"^[/!:-]|[{}:!]")  # git reads these literally: the glob guards nothing
Words = tuple[str, ...]  # separated by spaces


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
    compat_jobs: int
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


KNOWN = {each.name.upper(): each.type for each in fields(Settings)}


def load() -> Settings:
    return _checked(_file(".env.example") | _file(".env") | _known(os.environ, "the environment"))


def load_committed() -> Settings:
    return _checked(_file(".env.example"))


def local(value: str) -> Path:
    """Return the path that a setting means; a relative one is below the gate's folder."""
    return ROOT / Path(value).expanduser()


def _file(name: str) -> dict[str, str]:
    path = ROOT / name
    # Another program's lines may be of another encoding.
    text = path.read_text(encoding="utf-8-sig", errors="replace") if path.exists() else ""
    return _known(dotenv_values(stream=io.StringIO(text), interpolate=False), name)


def _known(values: Mapping[str, str | None], layer: str) -> dict[str, str]:
    """Return the settings among other programs' variables, which are never printed."""
    # A name is meant as a setting by our prefixes, in files also by its likeness to a setting's.
    for name in values.keys() - KNOWN.keys():
        ours = name.startswith(PREFIXES)
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5 if ours else 0.9)
        if ours or (near and layer != "the environment"):
            hint = f": did you mean {near[0]}?" if near else ""
            raise GateError(f"unknown setting {name} in {layer}{hint}")
    return {name: (value or "").strip() for name, value in values.items() if name in KNOWN}


def _checked(values: Mapping[str, str]) -> Settings:
    if missing := KNOWN.keys() - values.keys():
        raise GateError(f".env.example lacks {', '.join(missing)}: copy it again from the template")
    parsed = {name.lower(): _parsed(name, values[name]) for name in values}
    settings = Settings(**parsed)  # type: ignore[arg-type]
    if not settings.samcli_refs + settings.samcli_compared_refs:
        raise GateError("SAMCLI_REFS and SAMCLI_COMPARED_REFS are both empty: name a ref in one")
    if PUBLISHED_TAG.fullmatch(settings.emulator_tag):
        tag = settings.emulator_tag
        raise GateError(f"EMULATOR_TAG={tag} could be published: use one like pr-1")
    if wrong := set(settings.publish_platforms) - PLATFORMS.keys():
        raise GateError(f"PUBLISH_PLATFORMS: {wrong.pop()} is not one of {', '.join(PLATFORMS)}")
    for glob in filter(UNMATCHED.search, settings.gated_paths):
        raise GateError(f"GATED_PATHS: {glob} would match nothing: git reads / ! {{ }} literally")
    return settings


def _parsed(name: str, value: str) -> str | int | Words:
    kind = KNOWN[name]
    if kind is str:
        return value
    if kind not in (int, bool):
        return tuple(dict.fromkeys(value.split()))
    if not re.fullmatch("[01]?" if kind is bool else "[0-9]{0,9}", value):
        raise GateError(f"{name}={value}: must be {'0 or 1' if kind is bool else 'a number'}")
    return int(value or 0)
