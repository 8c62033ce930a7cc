"""The candidate, as `make image` describes it in candidate.json."""

import hashlib
from dataclasses import asdict

from gate import workspace
from gate.cli import GateError
from gate.containers.images import Image
from gate.decode import decode
from gate.settings import Settings


def save(candidate: Image, settings: Settings) -> None:
    """Write candidate.json, with a hash of each setting that made it."""
    path = workspace.results(candidate.platform) / workspace.CANDIDATE
    workspace.write_json(path, {"candidate": asdict(candidate), "settings": _hashes(settings)})


def load(platform: str, settings: Settings | None = None) -> Image:
    """Return the candidate of a platform. Raises GateError if there is none, or none for these settings."""
    path, remedy = workspace.results(platform) / workspace.CANDIDATE, "run `make image` first"
    value = workspace.read_json(path, remedy=remedy)
    try:
        candidate: Image = decode(Image, value["candidate"], "candidate")
        made_with: dict[str, str] = decode(dict[str, str], value["settings"], "settings")
    except (ValueError, KeyError, TypeError):
        raise GateError(f"{path} is damaged or of another version of this gate: {remedy}") from None
    wanted = _hashes(settings) if settings else {}
    if differ := [name.upper() for name, value in wanted.items() if made_with.get(name) != value]:
        raise GateError(f"the candidate was made with another {', '.join(differ)}: {remedy}")
    return candidate


def delete(platform: str) -> None:
    """Remove the candidate's description, so that a failed build leaves none."""
    (workspace.results(platform) / workspace.CANDIDATE).unlink(missing_ok=True)


def _hashes(settings: Settings) -> dict[str, str]:
    """Return a hash of each setting that decides which image the candidate is; a URL or a command may hold a secret."""
    made_by = {name: str(value) for name, value in asdict(settings).items() if name.startswith("emulator_")}
    return {name: hashlib.sha256(value.encode()).hexdigest()[:12] for name, value in made_by.items()}
