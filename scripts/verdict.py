"""What green means, and the verdict that says so."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import state
from candidate import SHARED, Candidate
from config import Config

NAME = "verdict.json"


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
        return {"green": self.green, "reasons": self.reasons, "candidate": asdict(self.candidate), "runs": runs}


def judge(config: Config, candidate: Candidate, runs: list[Run], image_id_at_end: str | None) -> Verdict:
    """Return the verdict by the five rules; it is green only if all of them hold for every ref of SAMCLI_REFS.

    `image_id_at_end` is what the candidate's tag names after the suite, None if nothing.
    """
    reasons = []
    for ref in config.samcli_refs:
        found = [run for run in runs if run.ref == ref]
        reasons += [f"{ref}: was not run"] if not found else []
        for run in found:
            reasons += [f"{ref}: {reason}" for reason in _reasons(config, candidate, run)]
    if image_id_at_end != candidate.image_id:
        now = image_id_at_end or "nothing"
        reason = f"{candidate.reference} names {now} by now, not the tested {candidate.image_id}: who moved the tag?"
        reasons.append(f"{reason} {SHARED}")
    return Verdict(candidate, runs, reasons)


def _reasons(config: Config, candidate: Candidate, run: Run) -> list[str]:
    reasons = list(run.problems)  # rule 1, and of rule 2 the files that do not exist
    count = run.count()
    if count["failed"]:
        whose = run.blame()
        reasons.append(f"{count['failed']} of {len(run.tests)} tests failed{f': {whose}' if whose else ''}")
    passed = {test.file for test in run.tests if test.outcome == "passed"}
    for file in config.samcli_tests:
        if file not in passed:
            outcomes = Counter(test.outcome for test in run.tests if test.file == file)
            had = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            reasons.append(f"{file}: no test of it passed ({had or 'no results'})")
    if count["passed"] < config.compat_min_passed:
        reasons.append(f"{count['passed']} tests passed, COMPAT_MIN_PASSED={config.compat_min_passed} asks for more")
    if not run.containers.get(candidate.image_id):
        reasons.append("no emulator container was started from the candidate: the suite tested something else")
    reasons += [f"another image of {candidate.repository} ran: {stranger}" for stranger in run.strangers]
    return reasons
