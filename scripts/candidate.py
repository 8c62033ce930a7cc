"""The candidate: the one image that this run is about, as `image` found it and others read it."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import state
from command import GateError
from config import Config

LABEL = "org.opencontainers.image"
NAME = "candidate.json"
SHARED = "If another clone of its commit moved the tag, give each an EMULATOR_TAG"


@dataclass(frozen=True)
class Candidate:
    """What identifies a candidate. `version` and `revision` are the image's own labels, empty if it has none.

    `packages` are the durable packages inside the image with their versions, by its own pip; none if it has no pip.
    `settings` tells which ones made it.
    """

    image_id: str
    reference: str
    platform: str
    version: str
    revision: str
    packages: dict[str, str]
    settings: dict[str, str]

    @property
    def repository(self) -> str:
        """The reference without its tag."""
        return self.reference.rpartition(":")[0]

    def save(self) -> None:
        """Write candidate.json into the platform's folder, whole or not at all."""
        state.write_json(state.folder(self.platform) / NAME, asdict(self))


def settings(config: Config) -> dict[str, str]:
    """Return a hash of each setting that decides which image the candidate is; a URL or a command may hold a secret."""
    made_by = {name: str(value) for name, value in asdict(config).items() if name.startswith("emulator_")}
    return {name: hashlib.sha256(value.encode()).hexdigest()[:12] for name, value in made_by.items()}


def load(platform: str, config: Config) -> Candidate:
    """Return the candidate of a platform. Raises GateError if `image` has not left one for these settings."""
    remedy = "run `make image` first"
    value: dict[str, Any] = state.read_json(state.folder(platform) / NAME, remedy=remedy)
    try:
        found = Candidate(**value)
    except TypeError:
        raise GateError(f"{state.folder(platform) / NAME} is of another version of this gate: {remedy}") from None
    differ = [name.upper() for name, was in settings(config).items() if found.settings.get(name) != was]
    if differ:
        raise GateError(f"the candidate was made with another {', '.join(differ)}: {remedy}")
    return found
