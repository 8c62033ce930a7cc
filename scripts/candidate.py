"""The candidate: the one image that this run is about, as `image` found it and others read it."""

from dataclasses import asdict, dataclass
from typing import Any

import state

LABEL = "org.opencontainers.image"
NAME = "candidate.json"


@dataclass(frozen=True)
class Candidate:
    """What identifies a candidate. `version` and `revision` are the image's own labels, empty if it has none.

    `packages` are the durable packages inside the image with their versions, by its own pip; none if it has no pip.
    """

    image_id: str
    reference: str
    platform: str
    version: str
    revision: str
    packages: dict[str, str]

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    def save(self) -> None:
        state.write_json(state.folder(self.platform) / NAME, asdict(self))


def load(platform: str) -> Candidate:
    """Return the candidate of a platform. Raises GateError if `image` has not left one."""
    return read(state.read_json(state.folder(platform) / NAME, remedy="run `make image` first"))


def read(value: dict[str, Any]) -> Candidate:
    """Return a candidate from its JSON form."""
    return Candidate(**{name: value[name] for name in Candidate.__dataclass_fields__})
