"""What was run and what it showed, as verdict.json holds it: enough to judge it again elsewhere."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gate import workspace
from gate.cli import GateError, without_secrets
from gate.images import Image
from gate.settings import Settings

SCHEMA = 3
# The settings that a verdict depends on, kept in it by their own names.
REQUIREMENTS = ["samcli_source", "samcli_refs", "samcli_compared_refs", "samcli_tests"]
REQUIREMENTS += ["compat_min_passed", "compat_reruns", "compat_baseline"]


@dataclass
class TestResult:
    """One test: passed, skipped or failed; when it ran, in seconds since 1970.

    `flaky`: passed on a retry only. `attribution` of a failure: regression, pre-existing, unknown.
    `requests` counts what its emulator answered, by "METHOD /route STATUS" with ids as {}.
    """

    __test__ = False  # pytest must not collect it

    id: str
    outcome: str
    shard: str
    began: float
    ended: float
    flaky: bool = False
    message: str = ""
    attribution: str = ""
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]


@dataclass
class ShardResult:
    name: str
    seconds: float = 0.0
    logs: list[str] = field(default_factory=list)
    containers: dict[str, int] = field(default_factory=dict)  # emulators' starts by image id
    answered: bool = False  # one of the tested image did, or at least it did not end by itself


@dataclass
class Difference:
    route: str
    candidate: list[int]  # statuses that failing tests got, none if they did not request it
    baseline: list[int]
    tests: list[str] = field(default_factory=list)


@dataclass
class Run:
    """One aws-sam-cli against one image. `requested_as` are the entries of the refs that name it.

    `compared`: only regressions and unknown failures are red. `problems` are of files and shards,
    `unexpected` are containers of other images. `not_compared`: why failures could not be.
    """

    ref: str
    commit: str
    version: str
    requested_as: list[str]
    compared: bool
    seconds: float = 0.0
    tests: list[TestResult] = field(default_factory=list)
    shards: list[ShardResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    baseline: Image | None = None
    not_compared: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def failed(self) -> list[TestResult]:
        return [test for test in self.tests if test.outcome == "failed"]

    def shard(self, name: str) -> ShardResult:
        return next((shard for shard in self.shards if shard.name == name), ShardResult(name))

    def count(self) -> dict[str, int]:
        found = Counter(test.outcome for test in self.tests)
        counts = {name: found[name] for name in ("failed", "passed", "skipped")}
        return counts | {"flaky": sum(test.flaky for test in self.tests)}

    def attributions(self) -> str:
        """Return such as "2 pre-existing, 3 regressions"."""
        text = listed(test.attribution or "not compared" for test in self.failed)
        return re.sub("(?<!\\b1) regression", " regressions", text)


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(Counter(names).items())) or "no result"


@dataclass
class Verdict:
    settings: dict[str, Any]  # those of REQUIREMENTS
    candidate: Image
    runs: list[Run]
    reasons: list[str]  # against green

    @property
    def green(self) -> bool:
        return not self.reasons

    def save(self) -> None:
        value = {"schema": SCHEMA, "gate": workspace.VERSION, "green": self.green} | asdict(self)
        value["runs"] = [asdict(run) | run.count() for run in self.runs]
        workspace.write_json(workspace.results(self.candidate.platform) / workspace.VERDICT, value)


def requirements(settings: Settings) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in REQUIREMENTS}
    return values | {"samcli_source": without_secrets(settings.samcli_source)}


def load(platform: str) -> Verdict:
    path = workspace.results(platform) / workspace.VERDICT
    value = workspace.read_json(path, remedy="run `make compat` there")
    if (value.get("schema"), value.get("gate")) != (SCHEMA, workspace.VERSION):
        raise GateError(f"{path} is of gate {value.get('gate')}: run `make compat` again")
    runs = list(map(_run, value["runs"]))
    return Verdict(value["settings"], Image(**value["candidate"]), runs, value["reasons"])


def _run(value: dict[str, Any]) -> Run:
    run = Run(**{each.name: value[each.name] for each in fields(Run)})
    run.tests = [TestResult(**each) for each in value["tests"]]
    run.shards = [ShardResult(**each) for each in value["shards"]]
    run.differences = [Difference(**each) for each in value["differences"]]
    run.baseline = value["baseline"] and Image(**value["baseline"])
    return run
