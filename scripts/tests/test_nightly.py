"""make nightly, with a GitHub CLI that keeps the issues in a file."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.workspace import ROOT

RUN_URL = "https://github.example/you/emulator/actions/runs/7"
TITLE = "sam-cli compat is red at night"
# Knows the calls that nightly.py makes, and refuses any other. FAKE_GH_FAILS names a verb that fails.
FAKE_GH = """\
import json, os, sys
from pathlib import Path

state = Path({state!r})
issues = json.loads(state.read_text()) if state.exists() else []
words = [word for word in sys.argv[1:] if not word.startswith("--")]
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
if words[1] == os.environ.get("FAKE_GH_FAILS"):
    sys.exit("HTTP 403: Resource not accessible by integration")
if words[:2] == ["issue", "list"]:
    found = [issue for issue in issues if issue["state"] == given["state"] and given["label"] in issue["labels"]]
    print(json.dumps([{{name: issue[name] for name in given["json"].split(",")}} for issue in found]))
elif words[:2] == ["label", "create"]:
    assert "force" in given
elif words[:2] == ["issue", "create"]:
    assert given["body-file"] == "-"
    new = {{"number": len(issues) + 1, "title": given["title"], "labels": [given["label"]], "state": "open"}}
    issues.append(new | {{"texts": [sys.stdin.read()]}})
elif words[:2] in (["issue", "comment"], ["issue", "close"]):
    (issue,) = [issue for issue in issues if str(issue["number"]) == words[2]]
    issue["texts"].append(given["comment"] if words[1] == "close" else sys.stdin.read())
    issue["state"] = "closed" if words[1] == "close" else issue["state"]
else:
    sys.exit(f"unknown command: {{sys.argv}}")
state.write_text(json.dumps(issues))
"""
Night = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A gate's folder without a venv."""
    (tmp_path / "gate/scripts").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts/nightly.py", tmp_path / "gate/scripts")
    return tmp_path / "gate"


@pytest.fixture
def night(tmp_path: Path, gate: Path) -> Night:
    """Run nightly.py after a gate that ended with a result; further arguments are variables of the environment."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/gh"
    (tmp_path / "gh.py").write_text(FAKE_GH.format(state=str(tmp_path / "issues.json")))
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/gh.py" "$@"\n')
    program.chmod(0o755)

    def run(result: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
        job = {
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "you/emulator",
            "GITHUB_RUN_ID": "7",
            "NEEDS": json.dumps({"gate": {"result": result, "outputs": {}}}),
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = [sys.executable, str(gate / "scripts/nightly.py")]
        return subprocess.run(command, env=job | environ, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def issues(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        state = tmp_path / "issues.json"
        found: list[dict[str, Any]] = json.loads(state.read_text()) if state.exists() else []
        return found

    return read


def leave_summaries(gate: Path, **texts: str) -> None:
    for platform, text in texts.items():
        folder = gate / ".compat" / platform.replace("_", "-")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.md").write_text(text, encoding="utf-8")


def test_red_night_opens_an_issue_with_every_summary(
    gate: Path, night: Night, issues: Callable[[], list[dict[str, Any]]]
) -> None:
    leave_summaries(gate, linux_amd64="## 🔴 19 regressions", linux_arm64="## 🟢 all passed")
    done = night("failure")
    assert (done.returncode, done.stderr) == (0, "")
    (issue,) = issues()
    assert (issue["title"], issue["state"]) == (TITLE, "open")
    assert issue["texts"][0].startswith(f"[gate: failure]({RUN_URL})")
    assert "## 🔴 19 regressions" in issue["texts"][0]
    assert "## 🟢 all passed" in issue["texts"][0]


def test_further_red_nights_add_to_the_open_issue(
    gate: Path, night: Night, issues: Callable[[], list[dict[str, Any]]]
) -> None:
    for number in (1, 2, 3):
        leave_summaries(gate, linux_amd64=f"night {number}")
        assert night("failure").returncode == 0
    (issue,) = issues()
    assert [text.rpartition("\n")[2] for text in issue["texts"]] == ["night 1", "night 2", "night 3"]


def test_green_night_closes_the_issue_and_a_later_red_one_opens_another(
    night: Night, issues: Callable[[], list[dict[str, Any]]]
) -> None:
    for result in ("failure", "success", "failure"):
        assert night(result).returncode == 0
    first, second = issues()
    assert (first["state"], first["texts"][-1]) == ("closed", f"Green again: {RUN_URL}")
    assert (second["state"], len(second["texts"])) == ("open", 1)


def test_green_night_leaves_everything_as_it_is(night: Night, issues: Callable[[], list[dict[str, Any]]]) -> None:
    done = night("success")
    assert (done.returncode, done.stdout) == (0, "green: no issue is open\n")
    assert issues() == []


def test_issue_of_somebody_else_is_left_alone(
    tmp_path: Path, night: Night, issues: Callable[[], list[dict[str, Any]]]
) -> None:
    theirs = {"number": 1, "title": "A question", "labels": ["sam-cli-compat"], "state": "open", "texts": ["?"]}
    (tmp_path / "issues.json").write_text(json.dumps([theirs]))
    for result in ("success", "failure", "success"):
        assert night(result).returncode == 0
    assert issues()[0] == theirs
    assert [issue["state"] for issue in issues()] == ["open", "closed"]


@pytest.mark.parametrize("result", ["cancelled", "skipped"])
def test_gate_that_did_not_end_is_red_and_said_so(
    night: Night, issues: Callable[[], list[dict[str, Any]]], result: str
) -> None:
    assert night(result).stdout.startswith("red: ")
    (issue,) = issues()
    assert issue["texts"][0].startswith(f"[gate: {result}]({RUN_URL})")


def test_missing_summary_is_explained(gate: Path, night: Night, issues: Callable[[], list[dict[str, Any]]]) -> None:
    (gate / ".compat/linux-arm64/logs").mkdir(parents=True)
    assert night("failure").returncode == 0
    assert "A platform that is not listed below ended before it wrote a verdict." in issues()[0]["texts"][0]


def test_long_summary_is_cut_to_what_github_takes(
    gate: Path, night: Night, issues: Callable[[], list[dict[str, Any]]]
) -> None:
    leave_summaries(gate, linux_amd64="🔴" * 70_000)
    assert night("failure").returncode == 0
    assert 50_000 < len(issues()[0]["texts"][0]) < 65_536


@pytest.mark.parametrize("needs", ["", "{}", "[]", "null", "yes", '{"gate": null}', '{"gate": {}}'])
def test_without_results_nothing_is_reported(
    night: Night, issues: Callable[[], list[dict[str, Any]]], needs: str
) -> None:
    done = night(NEEDS=needs)
    assert done.returncode == 2
    assert done.stderr.startswith("error: NEEDS is not toJSON(needs)")
    assert done.stderr.count("\n") == 1
    assert issues() == []


@pytest.mark.parametrize("verb", ["list", "create", "comment", "close"])
def test_refusal_by_github_is_an_error_of_one_line(night: Night, verb: str) -> None:
    if verb in ("comment", "close"):
        night("failure")
    done = night("success" if verb == "close" else "failure", FAKE_GH_FAILS=verb)
    assert done.returncode == 2
    said, last = done.stderr.splitlines()
    assert said == "HTTP 403: Resource not accessible by integration"
    assert last.startswith("error: gh ")


def test_missing_github_cli_is_an_error(tmp_path: Path, night: Night) -> None:
    done = night("failure", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (2, "error: gh was not found: install the GitHub CLI\n")


@pytest.mark.parametrize("printed", ["", "null", "5", "{}}", '[{"number": 1}]', "[5]"])
def test_answer_of_github_that_is_no_list_of_issues_is_an_error(tmp_path: Path, night: Night, printed: str) -> None:
    (tmp_path / "bin/gh").write_text(f"#!/bin/sh\necho '{printed}'\n")
    done = night("failure")
    assert done.returncode == 2
    assert done.stderr == "error: gh issue list printed no list of issues: update the GitHub CLI\n"
