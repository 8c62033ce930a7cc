"""What green means, and what verdict.json holds."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from gate import workspace
from gate.cli import GateError
from gate.containers.images import Image
from gate.decode import decode
from gate.settings import load_committed
from gate.verdict import candidate as candidates
from gate.verdict import model, rules
from gate.verdict.model import Request, Requirements, Run, Shard, TestResult, Verdict

CANDIDATE = Image("sha256:good", "sha256:config", "repo/emulator:pr-1", "linux/amd64", "1.2.1", "abc")
FILES = ("tests/test_a.py", "tests/test_b.py")
GATE = Requirements("https://example.com/sam.git", ("develop",), ("v1.0.0",), FILES, min_passed=3, reruns=1)


def result(test_id: str, outcome: str = "passed", **values: Any) -> TestResult:
    return TestResult(test_id, outcome, 1.0, shard=Path(test_id.partition("::")[0]).stem, **values)


def good(word: str = "develop", **values: Any) -> Run:
    tests = [result(f"{file}::test_{number}") for file in FILES for number in (1, 2)]
    shards = [Shard(name, 1.0, {"sha256:good": 2}, served=2) for name in ("test_a", "test_b")]
    return Run(word, "c" * 40, "1.164.0", [word], word == "v1.0.0", tests=tests, shards=shards, **values)


def reasons(run: Run) -> list[str]:
    """Return the reasons when `run` is that of its ref and the other ref's is good."""
    return rules.unmet(GATE, CANDIDATE, [run, good("develop" if run.compared else "v1.0.0")])


def test_green() -> None:
    assert reasons(good()) == []
    assert rules.moved_tag(CANDIDATE, "sha256:good") == []


def test_rule_1_a_problem_of_a_shard_is_red() -> None:
    assert reasons(good(problems=["shard a-1 ended by signal 9"])) == ["develop: shard a-1 ended by signal 9"]


def test_rule_2_a_failed_test_is_red_whatever_pytest_exited_with() -> None:
    run = good()
    run.tests += [result(f"{FILES[0]}::test_3", "failed"), result(f"{FILES[0]}::test_4", "failed")]
    assert reasons(run) == ["develop: 2 of 6 tests failed"]
    for test, attribution in zip(run.failed, ("regression", "pre-existing"), strict=True):
        test.attribution = attribution
    assert reasons(run) == ["develop: 2 of 6 tests failed: 1 pre-existing, 1 regression"]


@pytest.mark.parametrize("outcome", ["skipped", None])
def test_rule_2_a_file_without_a_pass_is_red(outcome: str | None) -> None:
    run = good()
    run.tests = [result(f"{FILES[0]}::test_{number}") for number in range(4)]
    run.tests += [result(f"{FILES[1]}::test_1", outcome)] if outcome else []
    assert reasons(run) == [f"develop: tests/test_b.py: no test passed ({'1 skipped' if outcome else 'no results'})"]


@pytest.mark.parametrize(
    ("entry", "covered"),
    [
        ("tests/test_a.py", True),
        ("tests/test_a.py::T", True),
        ("tests/test_a.py::T::test_p", True),
        ("tests/test_a.py::T::test_p[1]", True),
        ("tests/test_a.py::T::test_", False),
        ("tests/test_a", False),
        ("tests/test_a.py::U", False),
    ],
)
def test_rule_2_an_entry_is_a_file_a_class_or_a_test(entry: str, covered: bool) -> None:
    assert rules.covers(entry, "tests/test_a.py::T::test_p[1]") == covered


def test_rule_2_an_outcome_that_is_none_is_red() -> None:
    run = good()
    run.tests.append(result(f"{FILES[0]}::test_3", "fine"))
    assert reasons(run) == ["develop: invalid test outcomes: fine"]


def test_rule_3_too_few_passes_are_red() -> None:
    run = good()
    run.tests = [run.tests[0], run.tests[0], run.tests[2], result(f"{FILES[0]}::test_3", "skipped")]
    assert reasons(run) == ["develop: Only 2 tests passed; COMPAT_MIN_PASSED requires 3"], "the same test counts once"


@pytest.mark.parametrize("shards", [[], [Shard("test_b", served=1)]], ids=["unknown", "without a container"])
def test_rule_4_for_each_file_that_passed_the_candidate_was_started(shards: list[Shard]) -> None:
    run = good()
    run.shards[1:] = shards
    assert reasons(run) == [
        f"develop: {FILES[1]}: no shard started a container of the candidate: its tests used something else"
    ]


def test_rule_4_tests_of_a_file_that_need_no_emulator_may_have_a_shard_of_their_own() -> None:
    """An idle slot may take them over, or not."""
    run = good()
    run.tests[3].shard = "test_b-2"
    run.shards.append(Shard("test_b-2"))
    assert reasons(run) == []


def test_rule_4_a_candidate_that_only_exited_is_no_evidence() -> None:
    run = good()
    run.shards[1].served = 0
    assert reasons(run) == [
        "develop: shard test_b: every container of the candidate exited before it answered a request"
    ]


def test_rule_4_a_shard_without_a_pass_needs_no_container() -> None:
    run = good()
    run.tests.append(TestResult(f"{FILES[0]}::test_3", "skipped", shard="idle"))
    run.shards.append(Shard("idle"))
    assert reasons(run) == []


def test_rule_4_another_image_of_the_repository_is_red() -> None:
    run = good()
    run.shards[0].containers["sha256:bad"] = 1
    assert reasons(run) == ["develop: another image of repo/emulator ran: 1 containers from sha256:bad"]
    run.unexpected = ["x from repo/emulator:latest (sha256:bad)"]
    assert reasons(run) == ["develop: another image of repo/emulator ran: x from repo/emulator:latest (sha256:bad)"]


@pytest.mark.parametrize("now", ["sha256:bad", None])
def test_rule_5_a_moved_tag_is_red(now: str | None) -> None:
    (reason,) = rules.moved_tag(CANDIDATE, now)
    assert reason.startswith(f"repo/emulator:pr-1 was moved from sha256:good to {now or 'nothing'} during the run.")


def test_a_ref_that_was_not_run_is_red() -> None:
    assert rules.unmet(GATE, CANDIDATE, [good("develop")]) == ["v1.0.0: was not run"]


def test_every_reason_is_reported() -> None:
    run = Run("develop", "c" * 40, "1", ["develop"], problems=["shard a-1 ended with pytest's exit code 3"])
    assert len(reasons(run)) == 4


def test_of_a_compared_ref_only_what_got_worse_is_red() -> None:
    run = good("v1.0.0")
    run.tests = [run.tests[0], *(result(f"{FILES[1]}::test_{number}", "failed") for number in range(3))]
    for test in run.failed:
        test.attribution = "pre-existing"
    assert reasons(run) == []
    run.failed[0].attribution = "regression"
    run.failed[1].attribution = "unknown"
    run.failed[2].attribution = ""
    assert reasons(run) == ["v1.0.0: 1 of 4 tests failed: regression", "v1.0.0: 2 of 4 tests failed: unknown"]


def test_of_a_compared_ref_no_pass_no_evidence_and_a_problem_are_red() -> None:
    run = good("v1.0.0", problems=["shard a-1 ended by signal 9"])
    run.shards = []
    assert len(reasons(run)) == 3
    run.tests = [result(f"{FILES[0]}::test_1", "skipped")]
    assert reasons(run) == ["v1.0.0: shard a-1 ended by signal 9", "v1.0.0: no test passed (1 skipped)"]


def test_a_ref_that_does_not_use_the_image_is_red_unless_it_is_only_compared() -> None:
    compared = Run("v1.0.0", "c" * 40, "1.150.0", ["v1.0.0"], True, uses_image=False)
    assert reasons(compared) == []
    assert reasons(good(uses_image=False)) == [
        "develop: aws-sam-cli 1.164.0 brings an emulator of its own and does not use the image"
    ]


def test_a_commit_that_both_lists_name_must_pass() -> None:
    run = good()
    run.words, run.compared = ["develop", "v1.0.0"], False
    run.tests.append(result(f"{FILES[0]}::test_3", "failed", attribution="pre-existing"))
    assert rules.unmet(GATE, CANDIDATE, [run]) == ["develop: 1 of 5 tests failed: 1 pre-existing"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"samcli_source": "https://example.com/fork.git"}, "aws-sam-cli came from https://example.com/fork.git, not"),
        ({"refs": ("mine",)}, "aws-sam-cli develop was not required"),
        ({"compared_refs": ()}, "aws-sam-cli v1.0.0 was not compared"),
        ({"tests": FILES[:1]}, "tests/test_b.py was not required"),
        ({"tests": (f"{FILES[0]}::test_1", FILES[1])}, "tests/test_a.py was not required"),
        ({"min_passed": 2}, "COMPAT_MIN_PASSED was 2; 3 is committed"),
        ({"reruns": 2}, "COMPAT_RERUNS was 2; 1 is committed"),
    ],
)
def test_a_gate_that_required_less_is_found_out(values: dict[str, Any], reason: str) -> None:
    (found,) = rules.weaker(dataclasses.replace(GATE, **values), GATE)
    assert found.startswith(reason)


def test_a_gate_that_required_more_is_good_enough() -> None:
    more = Requirements(GATE.samcli_source, ("develop", "v1.0.0", "x"), (), (*FILES, "tests/test_c.py"), 4, reruns=0)
    assert rules.weaker(more, GATE) == []


@pytest.fixture
def compat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(workspace, "COMPAT", tmp_path)
    return tmp_path / "linux-amd64"


def saved(compat: Path) -> dict[str, Any]:
    run = good()
    run.tests.append(result(f"{FILES[0]}::é", "failed", requests=[Request("GET", "/{}", 404, 2, "/1")]))
    run.baseline = CANDIDATE
    Verdict(GATE, CANDIDATE, [run], ["develop: 1 of 5 tests failed"]).save()
    value: dict[str, Any] = json.loads((compat / "verdict.json").read_text())
    return value


def test_the_file_holds_what_was_required_and_found(compat: Path) -> None:
    value = saved(compat)
    assert (value["schema"], value["green"], value["reasons"]) == (2, False, ["develop: 1 of 5 tests failed"])
    assert value["gate"]["tests"] == list(FILES)
    assert value["candidate"]["image_id"] == "sha256:good"
    (run,) = value["runs"]
    assert (run["ref"], run["passed"], run["failed"], run["skipped"]) == ("develop", 4, 1, 0)
    assert run["containers"] == {"sha256:good": 4}
    assert [path.name for path in compat.iterdir()] == ["verdict.json"]


def test_what_was_saved_is_read_again(compat: Path) -> None:
    saved(compat)
    verdict = model.load("linux/amd64")
    assert (verdict.gate, verdict.candidate, verdict.green) == (GATE, CANDIDATE, False)
    assert verdict.runs[0].failed[0].requests == [Request("GET", "/{}", 404, 2, "/1")]
    verdict.save()
    assert json.loads((compat / "verdict.json").read_text()) == saved(compat)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 1}, "has schema 1, this gate reads schema 2"),
        ({"schema": None}, "has schema None"),
        ({"green": True}, "says green: True and has 1 reasons"),
        ({"green": 0}, "says green: 0"),
        ({"reasons": "all good"}, "verdict.reasons is 'all good', not"),
        ({"runs": [None]}, "verdict.runs[0] is None, not Run"),
        ({"runs": [{"ref": "develop"}]}, "verdict.runs[0].commit is missing"),
        ({"gate": {"refs": ["develop"]}}, "verdict.gate.samcli_source is missing"),
        ({"candidate": {}}, "verdict.candidate.image_id is missing"),
        ({"candidate": []}, "verdict.candidate is [], not Image"),
    ],
    ids=str,
)
def test_a_file_of_another_shape_says_what_to_do(compat: Path, change: dict[str, Any], says: str) -> None:
    (compat / "verdict.json").write_text(json.dumps(saved(compat) | change))
    with pytest.raises(GateError) as error:
        model.load("linux/amd64")
    assert says in str(error.value)
    assert str(error.value).endswith(": run `make compat` there")


@pytest.mark.parametrize("text", ["", "null", "[]", "5", '"x"', '{"schema": NaN}', "{}"])
def test_a_damaged_file_says_what_to_do(compat: Path, text: str) -> None:
    workspace.write(compat / "verdict.json", text)
    with pytest.raises(GateError, match=r"run `make compat` there$"):
        model.load("linux/amd64")


def test_decoding_checks_every_type() -> None:
    assert decode(tuple[str, ...], ["a"]) == ("a",)
    assert decode(Image | None, None) is None
    assert decode(float, 1) == 1.0
    for kind, value in ((int, True), (int, 1.0), (str, None), (list[str], [1]), (dict[str, int], {"a": "b"}), (Run, 5)):
        with pytest.raises(ValueError, match=r"^here.* is .*, not"):
            decode(kind, value, "here")


def test_the_candidate_is_read_again_for_the_same_settings(compat: Path) -> None:
    settings = load_committed()
    candidates.save(CANDIDATE, settings)
    assert candidates.load("linux/amd64", settings) == CANDIDATE
    other = dataclasses.replace(settings, emulator_tag="pr-2", samcli_refs=("x",))
    with pytest.raises(GateError, match=r"made with another EMULATOR_TAG: run `make image` first$"):
        candidates.load("linux/amd64", other)
    assert candidates.load("linux/amd64") == CANDIDATE


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "NaN", "{}", '{"candidate": {}, "settings": {}}', '{"candidate": 5, "settings": {}}'],
)
def test_a_damaged_candidate_says_what_to_do(compat: Path, text: str) -> None:
    workspace.write(compat / "candidate.json", text)
    with pytest.raises(GateError, match=r"(damaged|another version).*: run `make image` first$"):
        candidates.load("linux/amd64", load_committed())
