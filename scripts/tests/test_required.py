"""The required check: which results of the jobs before it let a pull request through."""

import itertools
import json
import sys
from typing import Any

import pytest

import required
from gate.workspace import ROOT

from .conftest import Gate

RESULTS = ("success", "failure", "cancelled", "skipped")
GATED = ("true", "false", "", None)


def passes(changed: str, gated: str | None, build: str, gate: str) -> bool:
    """Build and gate succeeded, or were skipped because nothing guarded was touched. All else is a no."""
    good = ("success", "skipped") if gated == "false" else ("success",)
    return changed == "success" and build in good and gate in good


def needs(changed: str, gated: str | None, build: str, gate: str) -> dict[str, Any]:
    outputs = {} if gated is None else {"gated": gated}
    return {
        "changed": {"result": changed, "outputs": outputs},
        "build": {"result": build, "outputs": {}},
        "gate": {"result": gate, "outputs": {}},
    }


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The template where nothing could be installed: it must be able to say no there."""
    monkeypatch.delenv("NEEDS", raising=False)
    return Gate(ROOT, {"VENV": "nowhere", "PYTHON": f"{sys.base_prefix}/bin/python3"})


@pytest.mark.parametrize(("changed", "gated"), list(itertools.product(RESULTS, GATED)))
def test_every_combination(changed: str, gated: str | None) -> None:
    for build, gate in itertools.product(RESULTS, RESULTS):
        found = required.refusals(needs(changed, gated, build, gate))
        assert (found == []) == passes(changed, gated, build, gate), (build, gate)


@pytest.mark.parametrize("missing", ["changed", "build", "gate"])
def test_a_job_that_is_missing(missing: str) -> None:
    given = needs("success", "true", "success", "success")
    del given[missing]
    assert required.refusals(given) == [f"{missing}: its result is not among NEEDS"]


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped"])
def test_any_other_job_must_succeed(result: str) -> None:
    given = needs("success", "false", "skipped", "skipped") | {"other": {"result": result, "outputs": {}}}
    assert required.refusals(given) == [f"other: {result}, not success"]


@pytest.mark.parametrize(
    ("results", "last"),
    [
        (("success", "true", "success", "success"), "yes: changed success, build success, gate success"),
        (("success", "false", "skipped", "skipped"), "yes: changed success, build skipped, gate skipped"),
        (("success", "true", "success", "skipped"), "no: changed success, build success, gate skipped"),
        (("success", "true", "skipped", "success"), "no: changed success, build skipped, gate success"),
        (("success", "true", "success", "failure"), "no: changed success, build success, gate failure"),
        (("success", "true", "success", "cancelled"), "no: changed success, build success, gate cancelled"),
        (("success", "true", "failure", "skipped"), "no: changed success, build failure, gate skipped"),
        (("failure", None, "skipped", "skipped"), "no: changed failure, build skipped, gate skipped"),
    ],
)
def test_make(bare: Gate, results: tuple[str, str | None, str, str], last: str) -> None:
    done = bare.make("required", NEEDS=json.dumps(needs(*results), indent=2))
    assert (done.returncode == 0) == last.startswith("yes")
    assert [line for line in done.stdout.splitlines() if not line.startswith("make: ")][-1] == last


@pytest.mark.parametrize(
    "value", [None, "", "yes", "[]", "{}", "null", '{"gate": null}', '{"gate": {}, "changed": {}}']
)
def test_make_with_something_else(bare: Gate, value: str | None) -> None:
    done = bare.make("required") if value is None else bare.make("required", NEEDS=value)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
