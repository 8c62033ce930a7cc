"""What a run required and what it found, as verdict.json holds it: enough to judge it again on another machine."""

from collections import Counter
from dataclasses import asdict, dataclass, field

from gate import workspace
from gate.cli import GateError
from gate.containers.images import Image
from gate.decode import decode
from gate.settings import Settings
from gate.text import without_secrets

SCHEMA = 2
OUTCOMES = ("passed", "skipped", "failed")  # the worst last


@dataclass(frozen=True)
class Requirements:
    """What a run required. `samcli_source` is without secrets; `version` is that of the gate."""

    samcli_source: str
    refs: tuple[str, ...]
    compared_refs: tuple[str, ...]
    tests: tuple[str, ...]
    min_passed: int
    reruns: int
    version: str = ""
    baseline: str = ""


@dataclass(frozen=True)
class Request:
    """Equal requests of one test to the emulator, and how many. `route` has ids replaced by {}; `example` is a path."""

    method: str
    route: str
    status: int
    count: int = 1
    example: str = ""


@dataclass
class TestResult:
    """One test of aws-sam-cli. `id` is pytest's; `outcome` is one of OUTCOMES; `flaky`: it passed on a retry only.

    `began` and `ended` are seconds since 1970. `message` is the assertion or the skip's reason, `logs` the files of
    its shard. `attribution`, of a failed test: regression, pre-existing or unknown.
    """

    __test__ = False  # pytest must not collect it

    id: str
    outcome: str
    seconds: float = 0.0
    shard: str = ""
    flaky: bool = False
    message: str = ""
    began: float = 0.0
    ended: float = 0.0
    logs: list[str] = field(default_factory=list)
    attribution: str = ""
    requests: list[Request] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The path before the first `::`."""
        return self.id.partition("::")[0]


@dataclass
class Shard:
    """One pytest process: wall seconds, and starts of emulator containers that are named after it, by image id.

    `served` counts the starts of the image under test, less those that exited by themselves where nothing was answered.
    """

    name: str
    seconds: float = 0.0
    containers: dict[str, int] = field(default_factory=dict)
    served: int = 0


@dataclass
class Difference:
    """What the emulator answered to a route in failing tests, with the candidate and with the published image.

    Statuses are empty where the route was not called; `tests` are ids, `example` is a path that was asked for.
    """

    method: str
    route: str
    candidate: list[int]
    baseline: list[int]
    tests: list[str]
    example: str = ""


@dataclass
class Run:
    """One aws-sam-cli against the candidate. `seconds` is wall time; `words` are the entries of the refs that name it.

    `compared`: only regressions and unknown failures are red. `unexpected` describes containers of another image of the
    repository, `problems` what went wrong with files and shards, `uncovered` durable test files that are not in
    SAMCLI_TESTS, `unattributed` why some failures could not be compared. `baseline` is the published image that failing
    tests ran against; `errors` are the emulator's own, with how often each was logged.
    """

    ref: str
    commit: str
    version: str
    words: list[str] = field(default_factory=list)
    compared: bool = False
    uses_image: bool = True
    seconds: float = 0.0
    tests: list[TestResult] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    unattributed: str = ""
    baseline: Image | None = None
    differences: list[Difference] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> list[TestResult]:
        """The tests that failed."""
        return [test for test in self.tests if test.outcome == "failed"]

    def count(self) -> dict[str, int]:
        """Return the numbers of passed, failed, skipped and flaky tests; flaky ones are also among the passed."""
        outcomes = Counter(test.outcome for test in self.tests)
        flaky = sum(test.flaky for test in self.tests)
        return {name: outcomes[name] for name in ("passed", "failed", "skipped")} | {"flaky": flaky}

    def containers(self) -> dict[str, int]:
        """Return how many emulator containers were started, by image id."""
        return dict(sum((Counter(shard.containers) for shard in self.shards), Counter()))

    def attributions(self) -> str:
        """Return how many failed tests are regressions, pre-existing or unknown; nothing if none was compared."""
        found = Counter(test.attribution for test in self.failed if test.attribution)
        return ", ".join(
            f"{number} {name}{'s' if name == 'regression' and number > 1 else ''}"
            for name, number in sorted(found.items())
        )


@dataclass
class Verdict:
    """Green, or red with every reason."""

    gate: Requirements
    candidate: Image
    runs: list[Run]
    reasons: list[str]

    @property
    def green(self) -> bool:
        """Whether there are no reasons against it."""
        return not self.reasons

    def save(self) -> None:
        """Write verdict.json, whole or not at all."""
        runs = [asdict(run) | run.count() | {"containers": run.containers()} for run in self.runs]
        value = {"schema": SCHEMA, "green": self.green} | asdict(self) | {"runs": runs}
        workspace.write_json(workspace.results(self.candidate.platform) / workspace.VERDICT, value)


def requirements(settings: Settings, origin: str = "") -> Requirements:
    """Return what the settings require of a run; `origin` is where aws-sam-cli came from, if not from SAMCLI_SOURCE."""
    return Requirements(
        samcli_source=without_secrets(origin or settings.samcli_source),
        refs=settings.samcli_refs,
        compared_refs=settings.samcli_compared_refs,
        tests=settings.samcli_tests,
        min_passed=settings.compat_min_passed,
        reruns=settings.compat_reruns,
        version=workspace.version(),
        baseline=settings.compat_baseline,
    )


def load(platform: str) -> Verdict:
    """Return a platform's verdict. Raises GateError if it is missing, damaged or of another schema."""
    path, remedy = workspace.results(platform) / workspace.VERDICT, "run `make compat` there"
    value = workspace.read_json(path, remedy=remedy)
    schema = value.get("schema", 1) if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise GateError(f"{path} has schema {schema}, this gate reads schema {SCHEMA}: {remedy}")
    try:
        verdict: Verdict = decode(Verdict, value)
    except ValueError as error:
        raise GateError(f"{path} is not a valid verdict ({error}): {remedy}") from None
    if value.get("green") is not verdict.green:
        raise GateError(f"{path} says green: {value.get('green')!r} and has {len(verdict.reasons)} reasons: {remedy}")
    return verdict
