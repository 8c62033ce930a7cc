"""What was run and what it showed, as verdict.json holds it: enough to judge it again elsewhere."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gate import workspace
from gate.cli import GateError, without_secrets
from gate.images import Image
from gate.settings import Settings

SCHEMA = 3
# The settings that a verdict depends on, kept in it by their own names.
OF_SAMCLI = ("samcli_source", "samcli_refs", "samcli_compared_refs", "samcli_tests")
REQUIREMENTS = (*OF_SAMCLI, "compat_min_passed", "compat_reruns", "compat_baseline")


@dataclass
class TestResult:
    """One test of aws-sam-cli: passed, skipped or failed; from when to when, in seconds since 1970.

    `flaky`: it passed on a retry only. `requests` counts what its emulator answered, by "METHOD
    /route STATUS" with ids as {}. `attribution` of a failure: regression, pre-existing or unknown.
    """

    __test__ = False  # pytest must not collect it

    id: str
    outcome: str
    shard: str
    began: float
    ended: float
    seconds: float = 0.0
    flaky: bool = False
    message: str = ""
    attribution: str = ""
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]


@dataclass
class ShardResult:
    """What one pytest process left: what it and its emulators printed, and starts by image id.

    `answered`: an emulator of the tested image answered a request, or did not end by itself.
    """

    name: str
    seconds: float = 0.0
    logs: list[str] = field(default_factory=list)
    containers: dict[str, int] = field(default_factory=dict)
    answered: bool = False


@dataclass
class Difference:
    """A route and the statuses that failing tests got; a side is empty if it was not requested."""

    route: str
    candidate: list[int]
    baseline: list[int]
    tests: list[str] = field(default_factory=list)


@dataclass
class Run:
    """One aws-sam-cli against one image. `requested_as` are the entries of the refs that name it.

    `compared`: only regressions and unknown failures are red. `problems` is what went wrong with
    files and shards, `unexpected` describes containers of another image of the repository,
    `not_compared` says why some failures could not be compared with `baseline`.
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
        """Return the result of a shard; an empty one if the shard left none."""
        return next((shard for shard in self.shards if shard.name == name), ShardResult(name))

    def count(self) -> dict[str, int]:
        """Return the number of tests by outcome; flaky ones are among the passed."""
        found = Counter(test.outcome for test in self.tests)
        counts = {name: found[name] for name in ("failed", "passed", "skipped")}
        return counts | {"flaky": sum(test.flaky for test in self.tests)}

    def attributions(self) -> str:
        """Return the number of failures of each kind, such as "2 pre-existing, 3 regressions"."""
        found = Counter(test.attribution for test in self.failed if test.attribution)
        if found["regression"] > 1:
            found["regressions"] = found.pop("regression")
        return listed(found)


def listed(found: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(found.items()) if number)


@dataclass
class Verdict:
    """Green, or red with every reason. `settings` are those of REQUIREMENTS."""

    settings: dict[str, Any]
    candidate: Image
    runs: list[Run]
    reasons: list[str]

    @property
    def green(self) -> bool:
        return not self.reasons

    def save(self) -> None:
        """Write verdict.json, with each run's counts for other readers."""
        value = {"schema": SCHEMA, "gate": workspace.version(), "green": self.green} | asdict(self)
        value["runs"] = [asdict(run) | run.count() for run in self.runs]
        workspace.write_json(workspace.results(self.candidate.platform) / workspace.VERDICT, value)


def requirements(settings: Settings) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in REQUIREMENTS}
    return values | {"samcli_source": without_secrets(settings.samcli_source)}


def load(platform: str) -> Verdict:
    path = workspace.results(platform) / workspace.VERDICT
    value = workspace.read_json(path, remedy="run `make compat` there")
    if (value.get("schema"), value.get("gate")) != (SCHEMA, workspace.version()):
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
