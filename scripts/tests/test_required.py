"""The required check: which results of the jobs before it let a pull request through."""

import itertools
import json
import sys
from typing import Any

import pytest

import required
from config import ROOT

from .conftest import Gate

RESULTS = ("success", "failure", "cancelled", "skipped")
GATED = ("true", "false", "", None)
# (changed, gated, gate): the gate succeeded, or nothing guarded was touched. All else is a no.
PASS = {("success", gated, "success") for gated in GATED} | {("success", "false", "skipped")}


def needs(changed: str, gated: str | None, gate: str) -> dict[str, Any]:
    outputs = {} if gated is None else {"gated": gated}
    return {"changed": {"result": changed, "outputs": outputs}, "gate": {"result": gate, "outputs": {}}}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The template where nothing could be installed: it must be able to say no there."""
    monkeypatch.delenv("NEEDS", raising=False)
    return Gate(ROOT, {"VENV": "nowhere", "PYTHON": f"{sys.base_prefix}/bin/python3"})


@pytest.mark.parametrize(("changed", "gated", "gate"), list(itertools.product(RESULTS, GATED, RESULTS)))
def test_every_combination(changed: str, gated: str | None, gate: str) -> None:
    assert (required.refusals(needs(changed, gated, gate)) == []) == ((changed, gated, gate) in PASS)


@pytest.mark.parametrize("missing", ["changed", "gate"])
def test_a_job_that_is_missing(missing: str) -> None:
    told = needs("success", "false", "success")
    del told[missing]
    assert required.refusals(told) == [f"{missing}: its result is not among NEEDS"]


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped"])
def test_any_other_job_must_succeed(result: str) -> None:
    told = needs("success", "false", "skipped") | {"other": {"result": result, "outputs": {}}}
    assert required.refusals(told) == [f"other: {result}, not success"]


@pytest.mark.parametrize(
    ("told", "passes", "last"),
    [
        (needs("success", "true", "success"), True, "yes: changed success, gate success"),
        (needs("success", "false", "skipped"), True, "yes: changed success, gate skipped"),
        (needs("success", "true", "skipped"), False, "no: changed success, gate skipped"),
        (needs("success", "true", "failure"), False, "no: changed success, gate failure"),
        (needs("success", "true", "cancelled"), False, "no: changed success, gate cancelled"),
        (needs("failure", None, "skipped"), False, "no: changed failure, gate skipped"),
    ],
)
def test_make(bare: Gate, told: dict[str, Any], passes: bool, last: str) -> None:
    done = bare.make("required", NEEDS=json.dumps(told, indent=2))
    assert (done.returncode == 0) == passes
    assert [line for line in done.stdout.splitlines() if not line.startswith("make: ")][-1] == last


@pytest.mark.parametrize(
    "value", [None, "", "yes", "[]", "{}", "null", '{"gate": null}', '{"gate": {}, "changed": {}}']
)
def test_make_with_something_else(bare: Gate, value: str | None) -> None:
    done = bare.make("required") if value is None else bare.make("required", NEEDS=value)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
