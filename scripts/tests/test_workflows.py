"""What zizmor and actionlint cannot know of the workflows, and their required check."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gate.workspace import ROOT

from .act.stand_ins import ACTIONS
from .support.gate import MAKEFILES, Gate, wait_until

GATE, RELEASE, PROMOTE = "sam-cli-compat.yml", "ecr-release.yml", "promote.yml"
TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / ".github/workflows").glob("*.y*ml")
}
FILES: dict[str, Any] = {
    name: YAML(typ="safe", pure=True).load(text) for name, text in TEXTS.items()
}
JOBS = [
    (file, name, job)
    for file in FILES
    for name, job in FILES[file]["jobs"].items()
]
STEPS = [step for _, _, job in JOBS for step in job.get("steps", [])]
# A script in place of one that starts containers.
WAITS = """
import time
from pathlib import Path
from gate.cli import run_main

def main():
    Path("started").touch()
    try:
        time.sleep(60)
    finally:
        Path("cleaned").touch()

run_main(main)
"""


@pytest.mark.parametrize(
    "step", [step for step in STEPS if "run" in step], ids=lambda s: s["run"]
)
def test_run_is_one_make_call_of_a_target_that_exists(
    step: dict[str, Any],
) -> None:
    called = re.fullmatch(
        r"exec make -f Makefile ([a-z]+)( [A-Z_]+=\w+)*", step["run"]
    )
    assert called
    assert re.search(rf"(?m)^{called[1]}:", MAKEFILES)
    assert not step.keys() & {"shell", "working-directory", "continue-on-error"}


def test_action_is_pinned_to_a_commit_the_same_everywhere() -> None:
    uses = re.findall(r"uses: (.+)", "\n".join(TEXTS.values()))
    pins = {use for use in uses if not use.startswith("./")}
    assert all(
        re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", pin) for pin in pins
    )
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


def test_an_action_gets_no_input_that_it_does_not_know() -> None:
    """GitHub would only warn."""
    for step in STEPS:
        name = step.get("uses", "").partition("@")[0]
        assert step.get("with", {}).keys() <= ACTIONS.get(name, {}).keys(), step


def test_only_publishing_and_promoting_can_sign_in() -> None:
    read = {"contents": "read"}
    may = {(file, name): job["permissions"] for file, name, job in JOBS}
    assert {
        job: permissions
        for job, permissions in may.items()
        if permissions != read
    } == {
        (RELEASE, "publish"): read
        | {"id-token": "write", "attestations": "write"},
        (PROMOTE, "promote"): read
        | {"id-token": "write", "attestations": "read"},
    }
    assert all(FILES[file]["permissions"] == {} for file in FILES)


def test_no_job_of_the_gate_has_a_secret_or_writes_a_cache() -> None:
    assert not re.search(
        r"\bsecrets\b|github\.token|GITHUB_TOKEN",
        json.dumps(FILES[GATE]["jobs"]),
    )
    assert all(
        job["permissions"] == {"contents": "read"}
        for file, _, job in JOBS
        if file == GATE
    )
    assert all(FILES[file]["cache-mode"] == "none" for file in FILES)


def test_only_an_image_with_the_released_sdk_hands_on_its_digest() -> None:
    """A release has no other; no run here has both and publishes."""
    digests = FILES[GATE]["jobs"]["build"]["outputs"].values()
    assert all("matrix.sdk == 'released' && " in digest for digest in digests)


def test_adoption_can_move_the_gate_to_a_folder() -> None:
    for file in (GATE, RELEASE, PROMOTE):
        assert FILES[file]["defaults"] == {"run": {"working-directory": "./"}}
    values = [step["with"] for step in STEPS if "with" in step]
    paths = [
        value[name]
        for value in values
        for name in value
        if name.endswith("path")
    ]
    lines = "\n".join(paths).split()
    assert all(re.match(r"!?\./\.(compat|cache)\b", line) for line in lines)


def test_a_cancelled_job_leaves_nothing(template: Gate, tmp_path: Path) -> None:
    """GitHub sends SIGINT, then SIGTERM, to the shell that it started: neither to its children."""
    (template.root / "scripts/plan.py").write_text(WAITS)
    (run,) = (
        step["run"]
        for step in FILES[GATE]["jobs"]["plan"]["steps"]
        if "run" in step
    )
    (tmp_path / "step.sh").write_text(run)
    shell = template.start("bash", "-e", str(tmp_path / "step.sh"))
    wait_until((template.root / "started").exists, of=shell)
    shell.send_signal(signal.SIGINT)
    with pytest.raises(
        subprocess.TimeoutExpired
    ):  # the runner waits for 7.5 seconds
        shell.wait(0.5)
    shell.send_signal(signal.SIGTERM)
    shell.communicate(timeout=2.5)  # then it kills the shell
    assert (template.root / "cleaned").exists()


def test_only_a_newer_commit_cancels_a_run() -> None:
    """Closed and opened again, a pull request has a second run of one commit."""
    for file in (GATE, "ci.yml"):
        concurrency = FILES[file]["concurrency"]
        assert (
            "github.event.pull_request.number || github.run_id"
            in concurrency["group"]
        )
        assert (
            concurrency["cancel-in-progress"]
            == "${{ github.event.action == 'synchronize' }}"
        )
    assert not FILES[RELEASE]["concurrency"]["cancel-in-progress"]
    assert not FILES[PROMOTE]["concurrency"]["cancel-in-progress"]


def test_only_what_moves_latest_shares_a_queue() -> None:
    """In one group with the workflow that calls it the gate would wait for ever."""
    called = f"{FILES[RELEASE]['name']}-"  # github.workflow is the caller's name there
    assert FILES[GATE]["concurrency"]["group"].startswith(
        "${{ github.workflow }}-"
    )
    assert not FILES[RELEASE]["concurrency"]["group"].startswith(called)
    latest = {"group": "sam-cli-compat-latest", "queue": "max"}
    queued = {(file, name) for file, name, job in JOBS if "concurrency" in job}
    assert queued == {(RELEASE, "publish"), (PROMOTE, "promote")}
    assert all(
        FILES[file]["jobs"][name]["concurrency"] == latest
        for file, name in queued
    )


def test_an_approval_comes_before_what_can_sign_in() -> None:
    environments = {
        (file, name): job.get("environment") for file, name, job in JOBS
    }
    assert "approval" in FILES[RELEASE]["jobs"]["publish"]["needs"]
    assert FILES[PROMOTE]["jobs"]["promote"]["needs"] == "approval"
    assert {key: value for key, value in environments.items() if value} == {
        (RELEASE, "approval"): "release-approval",
        (RELEASE, "publish"): "release",
        (PROMOTE, "approval"): "release-approval",
        (PROMOTE, "promote"): "release",
    }


def test_what_starts_a_workflow() -> None:
    """A filter on pull_request would leave the required check pending."""
    gate = FILES[GATE]["on"]
    assert {"pull_request": None, "merge_group": None}.items() <= gate.items()
    assert gate.keys() >= {"schedule", "workflow_dispatch", "workflow_call"}
    # `published` would also start it for a pre-release, and not when that becomes a release.
    assert FILES[RELEASE]["on"] == {"release": {"types": ["released"]}}
    promote = FILES[PROMOTE]["on"]
    assert promote.keys() == {"workflow_dispatch"}
    assert promote["workflow_dispatch"]["inputs"]["version"]["required"]


def test_a_job_that_hangs_ends_and_one_that_works_does_not() -> None:
    minutes = {"gate": 120, "build": 60, "test": 45, "publish": 30}
    for _, name, job in JOBS:
        if "steps" in job:
            assert job["timeout-minutes"] == minutes.get(name, 10), name


def test_a_red_row_leaves_the_others_running() -> None:
    matrices = [job["strategy"] for _, _, job in JOBS if "strategy" in job]
    assert [matrix["fail-fast"] for matrix in matrices] == [False, False]


def test_what_a_later_job_needs_must_be_there_when_it_is_uploaded() -> None:
    uploads = [
        step
        for step in STEPS
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    needed = [step for step in uploads if step.get("if") != "always()"]
    assert len(needed) == 1
    assert needed[0]["with"]["if-no-files-found"] == "error"


def test_the_required_job_waits_for_all_others() -> None:
    jobs = FILES[GATE]["jobs"]
    assert {*jobs["sam-cli-compat"]["needs"], "sam-cli-compat"} == jobs.keys()
    upstream = (
        "github.event_name != 'schedule' || !github.event.repository.fork"
    )
    assert (
        jobs["plan"]["if"] == upstream
    )  # else a fork's nightly run would be red
    assert jobs["sam-cli-compat"]["if"] == f"always() && ({upstream})"
    *_, download, required = jobs["sam-cli-compat"]["steps"]
    assert "toJSON(needs)" in required["env"]["NEEDS"]
    # The table is for people: without it the check is the same.
    assert download["continue-on-error"]


@pytest.mark.parametrize(
    ("gated", "plan", "build", "gate", "allowed"),
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
    gated: str, plan: str, build: str, gate: str, allowed: bool
) -> None:
    """An empty result means that the job is missing. Nothing could be installed here."""
    jobs = {"plan": plan, "build": build, "gate": gate}
    needs = {
        job: {"result": result, "outputs": {}}
        for job, result in jobs.items()
        if result
    }
    needs.get("plan", {})["outputs"] = {"gated": gated}
    bare = Gate(
        ROOT, {"VENV": "nowhere", "PYTHON": f"{sys.base_prefix}/bin/python3"}
    )
    done = bare.make("required", NEEDS=json.dumps(needs))
    assert (done.returncode == 0) == allowed, done.stdout
    says = (
        "passed"
        if allowed
        else "failed: see the summary of the jobs that did not succeed"
    )
    assert says in done.stdout.splitlines()


def test_a_page_that_cannot_be_written_does_not_fail_the_required_check() -> (
    None
):
    bare = Gate(ROOT, {"PYTHON": f"{sys.base_prefix}/bin/python3"})
    job = {"result": "success"}
    done = bare.make(
        "required",
        NEEDS=json.dumps({"plan": job, "build": job, "gate": job}),
        GITHUB_STEP_SUMMARY="/nowhere/page.md",
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout.splitlines()
