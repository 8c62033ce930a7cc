"""What zizmor and actionlint cannot know of the workflows, and their required check."""

import json
import re
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from gate.workspace import ROOT

from .conftest import MAKEFILES, Gate

GATE, RELEASE, PROMOTE = "sam-cli-compat.yml", "ecr-release.yml", "promote.yml"
TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / ".github/workflows").glob("*.y*ml")
}
FILES: dict[str, Any] = {
    name: YAML(typ="safe", pure=True).load(text) for name, text in TEXTS.items()
}
JOBS = [(file, name, job) for file in FILES for name, job in FILES[file]["jobs"].items()]
STEPS = [step for _, _, job in JOBS for step in job.get("steps", [])]


@pytest.mark.parametrize("step", [step for step in STEPS if "run" in step], ids=lambda s: s["run"])
def test_run_is_one_make_call_of_a_target_that_exists(step: dict[str, Any]) -> None:
    called = re.fullmatch(r"make -f Makefile ([a-z]+)( [A-Z_]+=\w+)*", step["run"])
    assert called
    assert re.search(rf"(?m)^{called[1]}:", MAKEFILES)
    assert not step.keys() & {"shell", "working-directory", "continue-on-error"}


def test_action_is_pinned_to_a_commit_the_same_everywhere() -> None:
    uses = re.findall(r"uses: (.+)", "\n".join(TEXTS.values()))
    pins = {use for use in uses if not use.startswith("./")}
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", pin) for pin in pins)
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


def test_only_publishing_and_promoting_can_sign_in() -> None:
    found = {(file, name) for file, name, job in JOBS if "id-token" in job["permissions"]}
    assert found == {(RELEASE, "publish"), (PROMOTE, "promote")}
    assert all(FILES[file]["permissions"] == {} for file in FILES)


def test_no_job_of_the_gate_has_a_secret_or_writes_a_cache() -> None:
    assert not re.search(r"\bsecrets\b|github\.token|GITHUB_TOKEN", json.dumps(FILES[GATE]["jobs"]))
    assert all(job["permissions"] == {"contents": "read"} for file, _, job in JOBS if file == GATE)
    assert all(FILES[file]["cache-mode"] == "none" for file in FILES)


def test_adoption_can_move_the_gate_to_a_folder() -> None:
    for file in (GATE, RELEASE, PROMOTE):
        assert FILES[file]["defaults"] == {"run": {"working-directory": "./"}}
    values = [step["with"] for step in STEPS if "with" in step]
    paths = [value[name] for value in values for name in value if name.endswith("path")]
    lines = "\n".join(paths).split()
    assert all(re.match(r"!?\./\.(compat|cache)\b", line) for line in lines)


def test_the_required_job_waits_for_all_others() -> None:
    jobs = FILES[GATE]["jobs"]
    assert {*jobs["sam-cli-compat"]["needs"], "sam-cli-compat"} == jobs.keys()
    assert jobs["sam-cli-compat"]["if"] == "always()"
    assert FILES[GATE]["on"]["pull_request"] is None  # a filter would leave the check pending
    assert "toJSON(needs)" in json.dumps(jobs["sam-cli-compat"]["steps"][-1])


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
    says = "passed" if allowed else "failed: a job above did not succeed"
    assert says in done.stdout.splitlines()
