"""Rows: jobs that test one candidate with one aws-sam-cli each, and the join of their verdicts."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from gate import model, rules, workspace
from gate.model import Run, Verdict
from gate.programs import GateError
from gate.settings import Settings

# The requirements in which rows differ.
REFS = ("samcli_refs", "samcli_compared_refs")


@dataclass(frozen=True)
class Row:
    """One job: `make compat` on one platform, with one image, SDK and commit of aws-sam-cli.

    `platform` is one of file names, such as linux-amd64; `name` is its own on its platform, and may
    stand in an artifact's name. One of `refs` and `compared_refs` is REF@COMMIT, the other is
    empty. `requested_as` are the words that name it.
    """

    platform: str
    name: str
    image: str
    sdk: str
    refs: str
    compared_refs: str
    requested_as: str

    @property
    def commit(self) -> str:
        """Return the commit of aws-sam-cli."""
        return (self.refs or self.compared_refs).rpartition("@")[2]


def planned() -> list[Row]:
    """Return the rows of this workflow's plan, none outside of one."""
    plan = json.loads(os.environ.get("PLAN") or "[]")
    return [Row(**row) for row in plan]


def load_verdict(platform: str, settings: Settings) -> Verdict:
    """Return a platform's verdict, in a workflow the join of its rows' verdicts."""
    if not planned():
        return model.load(platform)
    name = workspace.file_name(platform)
    rows = [row for row in planned() if row.platform == name]
    return join(rows, settings)


def join(rows: list[Row], settings: Settings) -> Verdict:
    """Unite the runs of a platform's rows, judge them again, and save the verdict.

    What is missing or does not belong together is a reason by the row's name. The refs are the
    words that the plan resolved, as in a run of all of them. Raises GateError without a verdict.
    """
    reasons = []
    verdicts = {}
    for row in rows:
        try:
            path = workspace.row_verdict(row.platform, row.name)
            verdicts[row] = model.load_file(path)
        except GateError as error:
            reasons.append(f"{row.name}: no verdict: {error}")
    if not verdicts:
        raise GateError("; ".join(reasons) or "the plan has no row for it")
    first = next(iter(verdicts.values()))
    required = replace(
        first.requirements,
        samcli_refs=settings.samcli_refs,
        samcli_compared_refs=settings.samcli_compared_refs,
    )
    runs: list[Run] = []
    for row, verdict in verdicts.items():
        reasons += verdict.reasons
        reasons += [
            f"{row.name}: {fault}" for fault in _faults(row, verdict, first)
        ]
        requested_as = row.requested_as.split()
        runs += [
            replace(run, requested_as=requested_as) for run in verdict.runs
        ]
    joined = Verdict(required, first.candidate, runs, first.image_id_at_end)
    reasons += rules.reasons_against(required, joined)
    joined.reasons = list(dict.fromkeys(reasons))
    joined.save()
    return joined


def _faults(row: Row, verdict: Verdict, first: Verdict) -> Iterator[str]:
    """Yield why a row's verdict is not of its commit, or not of the first one's candidate."""
    commits = [run.commit for run in verdict.runs]
    if commits != [row.commit]:
        tested = ", ".join(commits) or "nothing"
        yield f"it tested {tested}, not {row.commit} of the plan"
    candidate = verdict.candidate
    if (
        candidate.config_digest != first.candidate.config_digest
        or candidate.image_id != first.candidate.image_id
    ):
        yield f"it tested another candidate ({candidate.config_digest})"
    for name, value in asdict(verdict.requirements).items():
        if name not in REFS and value != getattr(first.requirements, name):
            yield f"it ran with another {name.upper()} than the first row"
    if verdict.image_id_at_end != first.image_id_at_end:
        yield "the candidate's tag was moved"
