"""What green means, and the verdict that says so."""

from collections import Counter
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import state
from candidate import SHARED, Candidate
from command import GateError
from config import Config
from gitrepo import without_secrets

NAME = "verdict.json"
SCHEMA = 2


@dataclass(frozen=True)
class Gate:
    """What a run required: the settings that decide whether it is green. `samcli_source` is without secrets."""

    samcli_source: str
    refs: tuple[str, ...]
    tests: tuple[str, ...]
    min_passed: int
    reruns: int

    def weaker_than(self, required: "Gate") -> list[str]:
        """Return each requirement that this gate lacks, nothing if it asks for at least as much."""
        reasons = []
        if self.samcli_source != required.samcli_source:
            reasons.append(f"aws-sam-cli came from {self.samcli_source}, not {required.samcli_source}")
        reasons += [f"not run with aws-sam-cli {ref}" for ref in required.refs if ref not in self.refs]
        reasons += [f"{file} was not required" for file in required.tests if file not in self.tests]
        if self.min_passed < required.min_passed:
            reasons.append(f"only {self.min_passed} passed tests were required, not {required.min_passed}")
        if self.reruns > required.reruns:
            reasons.append(f"failed tests were retried {self.reruns} times, more than {required.reruns}")
        return reasons


def required(config: Config) -> Gate:
    """Return what the settings require of a run."""
    return Gate(
        without_secrets(config.samcli_source),
        config.samcli_refs,
        config.samcli_tests,
        config.compat_min_passed,
        config.compat_reruns,
    )


@dataclass
class Case:
    """One test of aws-sam-cli. `outcome` is passed, failed or skipped; `flaky` means it passed on a retry only;
    `message` is the assertion or the skip's reason in one line; `logs` are the files with what its shard's tests and
    emulators printed. `attribution` is for a failed one only: regression, pre-existing or unknown."""

    file: str
    name: str
    outcome: str
    seconds: float
    flaky: bool = False
    message: str = ""
    logs: list[str] = field(default_factory=list)
    attribution: str | None = None


@dataclass
class Run:
    """One aws-sam-cli against the candidate.

    `seconds` is the suite's wall time, `containers` the witnessed starts by image id, `strangers` those of another
    image of the repository, `problems` what went wrong with files and shards, `uncovered` the durable test files
    that SAMCLI_TESTS leaves out, `unattributed` why it is not known of some failed test whose fault it is.
    """

    ref: str
    commit: str
    version: str
    seconds: float = 0.0
    tests: list[Case] = field(default_factory=list)
    containers: dict[str, int] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    unattributed: str = ""

    def count(self) -> dict[str, int]:
        """Return the numbers of passed, failed, skipped and flaky tests; flaky ones are also among the passed."""
        outcomes = Counter(test.outcome for test in self.tests)
        flaky = sum(test.flaky for test in self.tests)
        return {name: outcomes[name] for name in ("passed", "failed", "skipped")} | {"flaky": flaky}

    def blame(self) -> str:
        """Return how many failed tests are regressions, pre-existing or unknown, in words; nothing if not compared."""
        found = Counter(case.attribution for case in self.tests if case.attribution)
        plural = {name: "s" if name == "regression" and number > 1 else "" for name, number in found.items()}
        return ", ".join(f"{number} {name}{plural[name]}" for name, number in sorted(found.items()))


@dataclass
class Verdict:
    """Green or red, and for red every reason, each in words that a reader can act on."""

    gate: Gate
    candidate: Candidate
    runs: list[Run]
    reasons: list[str]

    @property
    def green(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons

    def save(self) -> None:
        """Write verdict.json into the platform's folder, whole or not at all."""
        state.write_json(state.folder(self.candidate.platform) / NAME, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return what verdict.json holds."""
        runs = [asdict(run) | run.count() for run in self.runs]
        return {
            "schema": SCHEMA,
            "green": self.green,
            "reasons": self.reasons,
            "gate": asdict(self.gate),
            "candidate": asdict(self.candidate),
            "runs": runs,
        }


def load(platform: str) -> Verdict:
    """Return a platform's verdict. Raises GateError if it is missing, damaged or of another schema."""
    path, remedy = state.folder(platform) / NAME, "run `make compat` there"
    value = state.read_json(path, remedy=remedy)
    found = value.get("schema", 1) if isinstance(value, dict) else None
    if found != SCHEMA:
        raise GateError(f"{path} has schema {found}, this gate reads schema {SCHEMA}: {remedy}")
    try:
        verdict: Verdict = decode(Verdict, value)
    except ValueError as error:
        raise GateError(f"{path} is not a valid verdict ({error}): {remedy}") from None
    if value.get("green") is not verdict.green:
        raise GateError(f"{path} says green: {value.get('green')!r} with {len(verdict.reasons)} reasons: {remedy}")
    return verdict


def decode(kind: Any, value: Any, at: str = "verdict") -> Any:
    """Return a JSON value as `kind`: a dataclass, a list, tuple or dict of one, or a plain type.

    Names that a dataclass does not have are ignored. Raises ValueError that names the place if the value does not fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        for name in fields(kind):
            if name.name not in value and name.default is MISSING and name.default_factory is MISSING:
                raise ValueError(f"{at}.{name.name} is missing")
        return kind(**{name: decode(hints[name], value[name], f"{at}.{name}") for name in hints if name in value})
    if origin in (list, tuple) and isinstance(value, list):
        return origin(decode(arguments[0], item, f"{at}[{number}]") for number, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: decode(arguments[1], item, f"{at}[{name!r}]") for name, item in value.items()}
    if origin is UnionType and NoneType in arguments:
        return None if value is None else decode(arguments[0], value, at)
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{at} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")


def judge(gate: Gate, candidate: Candidate, runs: list[Run], image_id_at_end: str | None) -> Verdict:
    """Return the verdict by the five rules; it is green only if all of them hold for every ref of the gate.

    `image_id_at_end` is what the candidate's tag names after the suite, None if nothing.
    """
    reasons = unmet(gate, candidate, runs)
    if image_id_at_end != candidate.image_id:
        now = image_id_at_end or "nothing"
        reason = f"{candidate.reference} names {now} by now, not the tested {candidate.image_id}: who moved the tag?"
        reasons.append(f"{reason} {SHARED}")
    return Verdict(gate, candidate, runs, reasons)


def unmet(gate: Gate, candidate: Candidate, runs: list[Run]) -> list[str]:
    """Return every rule about the runs that does not hold, in words. `compat` and `publish` both judge by this."""
    reasons = []
    for ref in gate.refs:
        found = [run for run in runs if run.ref == ref]
        reasons += [f"{ref}: was not run"] if not found else []
    for run in runs:
        reasons += [f"{run.ref}: {reason}" for reason in _reasons(gate, candidate, run)]
    return reasons


def _reasons(gate: Gate, candidate: Candidate, run: Run) -> list[str]:
    reasons = list(run.problems)  # rule 1, and of rule 2 the files that do not exist
    count = run.count()
    if unknown := {test.outcome for test in run.tests} - {"passed", "failed", "skipped"}:
        reasons.append(f"tests with an outcome that is not valid: {', '.join(sorted(unknown))}")
    if count["failed"]:
        whose = run.blame()
        reasons.append(f"{count['failed']} of {len(run.tests)} tests failed{f': {whose}' if whose else ''}")
    passed = {test.file for test in run.tests if test.outcome == "passed"}
    for file in gate.tests:
        if file not in passed:
            outcomes = Counter(test.outcome for test in run.tests if test.file == file)
            had = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            reasons.append(f"{file}: no test of it passed ({had or 'no results'})")
    distinct = {(test.file, test.name) for test in run.tests if test.outcome == "passed"}
    if len(distinct) < gate.min_passed:
        reasons.append(f"{len(distinct)} tests passed, COMPAT_MIN_PASSED={gate.min_passed} asks for more")
    if run.containers.get(candidate.image_id, 0) < 1:
        reasons.append("no emulator container was started from the candidate: the suite tested something else")
    listed = {image for image, number in run.containers.items() if image != candidate.image_id}
    strangers = run.strangers or sorted(listed)
    return reasons + [f"another image of {candidate.repository} ran: {stranger}" for stranger in strangers]
