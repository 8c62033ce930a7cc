"""The predicate that a release signs: https://in-toto.io/attestation/test-result/v0.1."""

import os
from typing import Any

from gate import workspace
from gate.cli import GateError, github_output
from gate.verdict.model import Verdict

LISTS = {"passed": "passedTests", "flaky": "warnedTests", "failed": "failedTests"}  # a skipped test is in none


def save(verdicts: list[Verdict], subject_name: str, digest: str) -> None:
    """Write test-result.json; in a GitHub job also hand on its subject: `name` without a tag, and `digest`.

    Raises GateError for a red verdict. Then no file is left, not an earlier one either.
    """
    path = workspace.COMPAT / workspace.TEST_RESULT
    path.unlink(missing_ok=True)
    workspace.write_json(path, predicate(verdicts))
    github_output(name=subject_name, digest=digest)


def predicate(verdicts: list[Verdict]) -> dict[str, Any]:
    """Return what was tested and how it ended, on all platforms. Raises GateError unless every verdict is green.

    `failedTests` of a green verdict are tests of compared refs that fail with the published image too.
    """
    red = [verdict.candidate.platform for verdict in verdicts if not verdict.green]
    if red or not verdicts:
        raise GateError(f"cannot attest {', '.join(red) or 'no verdict'}: only green verdicts are: run the gate again")
    tests: dict[str, list[str]] = {name: [] for name in LISTS.values()}
    configuration: list[dict[str, Any]] = []
    for verdict in verdicts:
        for run in verdict.runs:
            source = {
                "name": f"aws-sam-cli {run.ref}",
                "uri": verdict.gate.samcli_source,
                "digest": {"gitCommit": run.commit},
                "annotations": {"version": run.version, "compared": run.compared},
            }
            if source not in configuration:  # the platforms' are alike unless a branch moved between them
                configuration.append(source)
            for test in run.tests:
                if name := LISTS.get("flaky" if test.flaky else test.outcome):
                    tests[name].append(f"{verdict.candidate.platform} {run.ref} {test.id}")
    where = [os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    url = {"url": "{}/{}/actions/runs/{}".format(*where)} if all(where) else {}
    return {"result": "PASSED", "configuration": configuration} | url | tests
