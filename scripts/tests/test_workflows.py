"""The workflow files as data: what holds for all of them, and what makes the gate one that nothing gets around."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from config import ROOT, Config

FOLDER = ROOT / ".github/workflows"
README = ROOT / "README.md"
GATE, RELEASE, CI = "sam-cli-compat.yml", "ecr-release.yml", "ci.yml"
FILES = (GATE, RELEASE, CI)
SELF = f"$/.github/workflows/{GATE}"
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SETTINGS = {name.upper() for name in Config.__dataclass_fields__}

pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci/run").is_file(), reason="a copy: other people's workflows are there too"
)


def read(file: str) -> dict[str, Any]:
    # As Actions does, YAML 1.2 reads the key `on` as a word; 1.1 has it as true.
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(FOLDER / file)
    return found


def jobs(file: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(file)["jobs"]
    return found


def steps(file: str, job: str | None = None) -> list[dict[str, Any]]:
    return [step for name, found in jobs(file).items() if job in (None, name) for step in found.get("steps", [])]


def step(file: str, job: str, what: str) -> dict[str, Any]:
    """Return the one step of a job that runs or uses something."""
    (found,) = [step for step in steps(file, job) if what in step.get("run", step.get("uses", ""))]
    return found


def environments(file: str) -> list[dict[str, str]]:
    """Return each `env` of a file: its own, those of its jobs and of their steps."""
    return [found["env"] for found in (read(file), *jobs(file).values(), *steps(file)) if "env" in found]


def test_these_are_all() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_each_run_is_one_make_call_of_a_target_that_exists(file: str) -> None:
    for found in steps(file):
        assert ("run" in found) != ("uses" in found)
        assert not {"shell", "working-directory", "continue-on-error"} & found.keys()
        if "run" in found:
            called = re.fullmatch(r"make ([a-z]+)", found["run"])
            assert called, found["run"]
            assert called[1] in TARGETS


@pytest.mark.parametrize("file", FILES)
def test_each_uses_is_pinned_with_its_version_beside_it(file: str) -> None:
    lines = re.findall(r"^ *(?:- )?uses: (.+)$", (FOLDER / file).read_text(), re.MULTILINE)
    used = [found["uses"] for found in (*steps(file), *jobs(file).values()) if "uses" in found]
    assert sorted(line.partition(" ")[0] for line in lines) == sorted(used)
    for line in lines:
        assert line == SELF or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_has_one_pin() -> None:
    pins = {found["uses"] for file in FILES for found in steps(file) if "uses" in found}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@pytest.mark.parametrize("file", FILES)
def test_permissions_are_asked_for_by_each_job(file: str) -> None:
    assert read(file)["permissions"] == {}
    for name, job in jobs(file).items():
        publishes = (file, name) == (RELEASE, "publish")
        assert job["permissions"] == {"contents": "read"} | ({"id-token": "write"} if publishes else {}), name


@pytest.mark.parametrize("file", FILES)
def test_no_credential_is_left_in_a_checkout(file: str) -> None:
    for found in steps(file):
        if found.get("uses", "").startswith("actions/checkout@"):
            assert found["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", FILES)
def test_no_secret(file: str) -> None:
    text = (FOLDER / file).read_text()
    assert not re.search(r"\bsecrets\b|github\.token|pull_request_target|workflow_run", text)


@pytest.mark.parametrize("file", FILES)
def test_no_failure_is_overlooked_and_no_job_runs_for_ever(file: str) -> None:
    for job in jobs(file).values():
        assert "continue-on-error" not in job
        assert job.get("timeout-minutes", 999) <= 120 or job["uses"] == SELF


@pytest.mark.parametrize("file", FILES)
def test_no_setting_can_be_empty(file: str) -> None:
    for name, value in ((name, value) for env in environments(file) for name, value in env.items()):
        if name in SETTINGS and "${{" in value:
            assert re.fullmatch(r"\$\{\{ [^{}]* \|\| '[^']+' \}\}", value), name
        assert value, name


@pytest.mark.parametrize("file", [GATE, CI])
def test_only_an_earlier_run_of_the_same_pull_request_is_cancelled(file: str) -> None:
    assert read(file)["concurrency"] == {
        "group": "${{ github.workflow }}-${{ github.event.pull_request.number || github.run_id }}",
        "cancel-in-progress": True,
    }
    assert "concurrency" not in read(RELEASE)


def test_when_the_gate_runs() -> None:
    triggers = read(GATE)["on"]
    assert triggers.keys() == {"pull_request", "merge_group", "schedule", "workflow_dispatch", "workflow_call"}
    # With a filter, the required check would stay "Expected" for ever on what the filter leaves out.
    assert triggers["pull_request"] is None
    assert triggers["merge_group"] is None
    assert triggers["workflow_call"]["inputs"]["refs"]["default"] == "develop"
    assert triggers["workflow_call"]["inputs"]["save"]["default"] is False
    assert triggers["workflow_dispatch"]["inputs"]["refs"]["default"] == "develop"


def test_the_required_job_always_reports_on_all_others() -> None:
    job = jobs(GATE)["sam-cli-compat"]
    assert job["name"] == "sam-cli-compat"
    assert job["if"] == "always()"
    assert set(job["needs"]) == jobs(GATE).keys() - {"sam-cli-compat"} == {"changed", "gate"}
    assert not job.keys() & {"strategy", "environment", "concurrency"}
    answer = step(GATE, "sam-cli-compat", "make required")
    assert answer == {"run": "make required", "env": {"NEEDS": "${{ toJSON(needs) }}"}}
    assert steps(GATE, "sam-cli-compat")[-1] == answer
    assert not any("if" in found for found in steps(GATE, "sam-cli-compat"))


def test_no_other_check_has_the_required_name() -> None:
    names = [job.get("name", key) for file in FILES for key, job in jobs(file).items()]
    assert names.count("sam-cli-compat") == 1


def test_the_gate_is_skipped_only_if_changed_says_so() -> None:
    changed, gate = jobs(GATE)["changed"], jobs(GATE)["gate"]
    assert "if" not in changed
    assert changed["outputs"] == {"gated": "${{ steps.changed.outputs.gated }}"}
    call = step(GATE, "changed", "make changed")
    assert call["id"] == "changed"
    assert call["env"] == {"BASE": "${{ github.event.pull_request.base.sha || github.event.merge_group.base_sha }}"}
    assert step(GATE, "changed", "actions/checkout")["with"]["fetch-depth"] == 0
    assert gate["needs"] == "changed"
    assert gate["if"] == "needs.changed.outputs.gated != 'false'"


def test_the_gate_runs_natively_on_both_platforms() -> None:
    gate = jobs(GATE)["gate"]
    assert gate["runs-on"] == "${{ matrix.runner }}"
    assert gate["strategy"]["fail-fast"] is False
    assert gate["strategy"]["matrix"] == {
        "include": [
            {"platform": "linux-amd64", "runner": "ubuntu-24.04"},
            {"platform": "linux-arm64", "runner": "ubuntu-24.04-arm"},
        ]
    }
    qemu = step(GATE, "gate", "docker/setup-qemu-action")
    assert (qemu["if"], qemu["with"]) == ("matrix.platform == 'linux-arm64'", {"platforms": "amd64"})
    run = step(GATE, "gate", "make compat")
    assert "if" not in run
    assert run["env"] == {
        "SAMCLI_REFS": "${{ inputs.refs || 'develop' }}",
        "COMPAT_SAVE_IMAGE": "${{ inputs.save && '1' || '0' }}",
    }


def test_the_functions_under_test_find_their_python() -> None:
    example = (ROOT / ".env.example").read_text()
    (wanted,) = re.findall(r"^SAMCLI_PYTHON=(.+)$", example, re.MULTILINE)
    for file, job in ((GATE, "gate"), (CI, "test")):
        assert wanted in step(file, job, "actions/setup-python")["with"]["python-version"].split()


def test_findings_are_kept_whatever_the_result_and_found_again() -> None:
    upload = step(GATE, "gate", "actions/upload-artifact")
    assert upload["if"] == "always()"
    assert upload["with"] == {
        "name": "compat-${{ matrix.platform }}",
        "path": "./.compat/",
        "include-hidden-files": True,
        "overwrite": True,
    }
    download = step(RELEASE, "publish", "actions/download-artifact")
    assert download["with"] == {"pattern": "compat-*", "path": "./.compat", "merge-multiple": True}


def test_all_that_depends_on_the_gates_folder_moves_by_readmes_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of the two files that are adopted changes, and nothing in them is left behind."""
    (command,) = re.findall(r"^ +(perl -pi .*workflows.*) &&$", README.read_text(), re.MULTILINE)
    shutil.copytree(FOLDER, tmp_path / ".github/workflows")
    before = {file: read(file) for file in (GATE, RELEASE)}
    subprocess.run(["bash", "-euc", command], cwd=tmp_path, check=True)
    monkeypatch.setattr(sys.modules[__name__], "FOLDER", tmp_path / ".github/workflows")
    for file, was in before.items():
        assert was["defaults"] == {"run": {"working-directory": "./"}}
        assert read(file)["defaults"] == {"run": {"working-directory": ".sam-cli-compat/"}}
        assert json.dumps(read(file)).replace('".sam-cli-compat/', '"./') == json.dumps(was)
    assert step(GATE, "gate", "actions/upload-artifact")["with"]["path"] == ".sam-cli-compat/.compat/"
    assert step(RELEASE, "publish", "actions/download-artifact")["with"]["path"] == ".sam-cli-compat/.compat"


def test_a_release_is_gated_then_published_and_never_built() -> None:
    assert read(RELEASE)["on"] == {"release": {"types": ["published"]}}
    found = jobs(RELEASE)
    assert found.keys() == {"gate", "publish"}
    assert found["gate"]["uses"] == SELF
    assert found["gate"]["with"] == {"refs": "develop latest", "save": True}
    assert found["publish"]["needs"] == "gate"
    assert found["publish"]["environment"] == "release"
    assert found["gate"]["if"] == "${{ !github.event.release.prerelease }}"
    assert "if" not in found["publish"], "so that it is skipped with the gate"
    assert not any("if" in found for found in steps(RELEASE, "publish"))
    assert [found["run"] for found in steps(RELEASE) if "run" in found] == ["make publish"]
    assert "run" in steps(RELEASE, "publish")[-1]


def test_nothing_else_publishes() -> None:
    for file in (GATE, CI):
        used = {found.get("uses", "").partition("@")[0] for found in steps(file)}
        assert not any(name.startswith("aws-actions/") for name in used)
        assert "make publish" not in {found.get("run") for found in steps(file)}


def test_ci_requires_the_engine() -> None:
    assert step(CI, "test", "make test")["env"] == {"COMPAT_REQUIRE_ENGINE": "1"}
    assert step(CI, "lint", "make lint")


def test_dependabot_keeps_pins_and_requirements_fresh() -> None:
    updates = YAML(typ="safe", pure=True).load(ROOT / ".github/dependabot.yml")["updates"]
    where = {(update["package-ecosystem"], update["directory"]) for update in updates}
    assert where == {("github-actions", "/"), ("pip", "/scripts")}
    assert (ROOT / "scripts/requirements.txt").is_file()
