"""What was run and what it showed, as verdict.json holds it: enough to judge it again elsewhere."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gate import workspace
from gate.programs import GateError, without_secrets
from gate.settings import Settings, Words

SCHEMA = 4
Outcome = Literal["passed", "failed", "skipped"]
# Of a failed test: it passes with the published image; it fails there too; it was not compared.
Attribution = Literal["regression", "pre-existing", "unknown"]


@dataclass(frozen=True)
class Image:
    """An image of this engine.

    `image_id` can be compared within one engine, `config_digest` everywhere. The digest is "" in
    containerd's store until `docker save` has made image.tar (FACTS.md#image-ids). `version` and
    `revision` are labels; `packages` has the version of each installed package with "durable" in
    its name.
    """

    image_id: str
    config_digest: str
    reference: str
    platform: str
    version: str = ""
    revision: str = ""
    packages: dict[str, str] = field(default_factory=dict)


def repository_of(name: str) -> str:
    """Return an image's name without digest, tag (not a registry's port) and Docker Hub's host."""
    return re.sub(r"^(docker\.io/)?(library/)?|(:[^/:@]+)?(@.*)?$", "", name)


@dataclass(frozen=True)
class Requirements:
    """The settings that a verdict depends on, under their own names in lower case."""

    samcli_source: str
    samcli_refs: Words
    samcli_compared_refs: Words
    samcli_tests: Words
    samcli_known_failures: Words
    compat_sdk: str
    compat_min_passed: int
    compat_reruns: int
    compat_baseline: str

    @classmethod
    def of(cls, settings: Settings) -> "Requirements":
        """Return the requirements among the settings, without a secret in the source's URL."""
        values = {
            each.name: getattr(settings, each.name) for each in fields(cls)
        }
        values["samcli_source"] = without_secrets(settings.samcli_source)
        return cls(**values)


@dataclass
class TestResult:
    """One test, and when it ran, in seconds since 1970.

    `flaky`: it passed on a retry only. `answers`: what its emulator answered, as statuses by
    "METHOD /route", with {} for each id in the route.
    """

    # pytest must not collect it.
    __test__ = False

    id: str
    outcome: Outcome
    shard: str
    began: float
    ended: float
    flaky: bool = False
    message: str = ""
    answers: dict[str, list[int]] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Return the path of its file, from the root of aws-sam-cli."""
        return self.id.partition("::")[0]


@dataclass
class ShardResult:
    """What one pytest process left.

    `logs` are paths from the gate's folder. `containers` counts the emulators that were started
    for it, by image id. `answered`: an emulator of the tested image answered a request, or at
    least did not crash.
    """

    name: str
    seconds: float = 0.0
    logs: list[str] = field(default_factory=list)
    containers: dict[str, int] = field(default_factory=dict)
    answered: bool = False


@dataclass
class Difference:
    """A route that the two images answer differently, and the failed tests that asked for it.

    Statuses are empty if the tests never asked that image for the route.
    """

    route: str
    candidate_statuses: list[int]
    published_statuses: list[int]
    tests: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """What failed, beside the same tests with the published image.

    `attributions` is by test id. `error`: why some or all failures could not be compared.
    """

    published: Image | None = None
    attributions: dict[str, Attribution] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    error: str = ""


@dataclass
class Run:
    """One aws-sam-cli against one image.

    `requested_as`: the words of SAMCLI_REFS and SAMCLI_COMPARED_REFS that name it.
    `only_regressions_count`: no word of SAMCLI_REFS does. `problems`: missing test files, and
    shards that ended badly. `unexpected`: containers of another image that can have answered.
    `set_aside`: the last day of each known failure that does not count yet, by test id.
    `versions`: what else can break aws-sam-cli, such as its boto3, the engine, and the SDK in the
    functions under test.
    """

    ref: str
    commit: str
    version: str
    requested_as: list[str]
    only_regressions_count: bool
    seconds: float = 0.0
    tests: list[TestResult] = field(default_factory=list)
    shards: list[ShardResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def failed(self) -> list[TestResult]:
        """Return the tests that failed, also on each retry, and are not set aside."""
        return [test for test in self.counted if test.outcome == "failed"]

    @property
    def counted(self) -> list[TestResult]:
        """Return the tests that are not set aside."""
        return [test for test in self.tests if test.id not in self.set_aside]

    def shard(self, name: str) -> ShardResult:
        """Return a shard by its name; one that was not run has started nothing."""
        return next(
            (shard for shard in self.shards if shard.name == name),
            ShardResult(name),
        )

    def counts(self) -> dict[str, int]:
        """Return how many tests failed, passed, were skipped; flaky ones are among the passed."""
        number = Counter[str](test.outcome for test in self.counted)
        return {
            "failed": number["failed"],
            "passed": number["passed"],
            "skipped": number["skipped"],
            "flaky": sum(test.flaky for test in self.counted),
            "set aside": len(self.tests) - len(self.counted),
        }

    def attribution_of(self, test: TestResult) -> Attribution:
        """Return whose fault a failure is."""
        return self.comparison.attributions.get(test.id, "unknown")

    def attributions(self) -> str:
        """Return such as "2 pre-existing, 3 regressions", "" if nothing failed."""
        number = Counter(self.attribution_of(test) for test in self.failed)
        return ", ".join(plural(number[name], name) for name in sorted(number))

    def outcome_in_words(self) -> str:
        """Return what failed, or such as "41 passed"."""
        return self.attributions() or f"{self.counts()['passed']} passed"


def tally(names: Iterable[str]) -> str:
    """Return such as "1 failed, 3 passed"."""
    number = Counter(names)
    return (
        ", ".join(f"{number[name]} {name}" for name in sorted(number))
        or "no result"
    )


def plural(number: int, word: str) -> str:
    """Return such as "1 test" or "2 regressions"; an adjective has no plural."""
    ending = "s" if number != 1 and word in ("regression", "test") else ""
    return f"{number} {word}{ending}"


@dataclass
class Verdict:
    """The runs of one candidate, and each reason against green.

    `image_id_at_end`: what the candidate's tag named after the last run.
    """

    requirements: Requirements
    candidate: Image
    runs: list[Run]
    image_id_at_end: str
    reasons: list[str] = field(default_factory=list)

    @property
    def green(self) -> bool:
        """Return whether nothing speaks against the candidate."""
        return not self.reasons

    def save(self) -> None:
        """Write verdict.json. `green`, `counts` and `outcomes` are for other programs."""
        value = {
            "schema": SCHEMA,
            "green": self.green,
            "counts": {run.ref: run.counts() for run in self.runs},
            "outcomes": {run.ref: run.outcome_in_words() for run in self.runs},
        }
        folder = workspace.results_folder(self.candidate.platform)
        workspace.write_result(folder / workspace.VERDICT, value | asdict(self))


def load(platform: str) -> Verdict:
    """Return the verdict of this clone for a platform."""
    return load_file(workspace.results_folder(platform) / workspace.VERDICT)


def load_file(path: Path) -> Verdict:
    """Read a verdict.json. Raises GateError unless it is of this gate's version."""
    remedy = "run `make compat` there"
    value = workspace.read_result(path, remedy=remedy)
    if value.get("schema") != SCHEMA:
        raise GateError(f"{path} has schema {value.get('schema')}: {remedy}")
    return Verdict(
        requirements=Requirements(**value["requirements"]),
        candidate=Image(**value["candidate"]),
        runs=[_run_from_json(run) for run in value["runs"]],
        image_id_at_end=value["image_id_at_end"],
        reasons=value["reasons"],
    )


def _run_from_json(value: dict[str, Any]) -> Run:
    run = Run(**value)
    run.tests = [TestResult(**test) for test in value["tests"]]
    run.shards = [ShardResult(**shard) for shard in value["shards"]]
    run.comparison = Comparison(**value["comparison"])
    if run.comparison.published:
        run.comparison.published = Image(**value["comparison"]["published"])
    run.comparison.differences = [
        Difference(**difference)
        for difference in value["comparison"]["differences"]
    ]
    return run
