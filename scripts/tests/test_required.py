"""The required check: which results of the jobs before it let a pull request through."""

import json
import sys

import pytest

from gate.workspace import ROOT

from .conftest import Gate


@pytest.mark.parametrize(
    ("gated", "changed", "build", "gate", "allowed"),
    [
        ("true", "success", "success", "success", True),
        ("false", "success", "skipped", "skipped", True),
        ("true", "success", "success", "failure", False),
        ("true", "success", "success", "cancelled", False),
        ("true", "success", "success", "skipped", False),
        ("true", "success", "skipped", "skipped", False),
        ("false", "success", "failure", "skipped", False),
        ("", "success", "skipped", "skipped", False),
        ("false", "failure", "skipped", "skipped", False),
        ("false", "skipped", "skipped", "skipped", False),
        ("false", "success", "skipped", "", False),
        ("false", "", "skipped", "skipped", False),
    ],
)
def test_only_success_or_an_excused_skip_is_allowed(
    gated: str, changed: str, build: str, gate: str, allowed: bool
) -> None:
    """An empty result means that the job is missing. Nothing could be installed here."""
    jobs = {"changed": changed, "build": build, "gate": gate}
    needs = {job: {"result": result, "outputs": {}} for job, result in jobs.items() if result}
    needs.get("changed", {})["outputs"] = {"gated": gated}
    bare = Gate(ROOT, {"VENV": "nowhere", "PYTHON": f"{sys.base_prefix}/bin/python3"})
    done = bare.make("required", NEEDS=json.dumps(needs))
    assert (done.returncode == 0) == allowed, done.stdout
    assert ("yes" if allowed else "no: a job above did not succeed") in done.stdout.splitlines()
