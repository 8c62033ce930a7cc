"""The predicate that a release attests: what the published definition asks for, and nothing for a red verdict."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from gate import workspace
from gate.cli import GateError
from gate.containers.images import Image
from gate.verdict import attestation, model
from gate.verdict.model import Requirements, Run, Verdict

REPOSITORY = "public.example/durable/emulator"
TYPE = "https://in-toto.io/attestation/test-result/v0.1"
DIGEST = f"sha256:{'d' * 64}"
DEVELOP, OLDER = "a" * 40, "b" * 40


def verdict(platform: str = "linux/amd64", *, commit: str = DEVELOP, reasons: tuple[str, ...] = ()) -> Verdict:
    """A verdict of develop and of a compared older release, one of whose tests fails with any image."""
    tests = [
        model.TestResult("tests/test_a.py::A::test_passes", "passed"),
        model.TestResult("tests/test_a.py::A::test_flaky", "passed", flaky=True),
        model.TestResult("tests/test_a.py::A::test_skipped", "skipped"),
    ]
    older = [model.TestResult("tests/test_b.py::B::test_old", "failed", attribution="pre-existing")]
    return Verdict(
        gate=Requirements("https://github.com/aws/aws-sam-cli.git", ("develop",), ("v1.158.0",), ("tests",), 1, 1),
        candidate=Image(f"sha256:{'1' * 64}", f"sha256:{'2' * 64}", f"{REPOSITORY}:pr-1", platform, "1.2.1", "c" * 40),
        runs=[
            Run("develop", commit, "1.164.0", ["develop"], tests=tests),
            Run("v1.158.0", OLDER, "1.158.0", ["v1.158.0"], compared=True, tests=older),
        ],
        reasons=list(reasons),
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SERVER_URL", "REPOSITORY", "RUN_ID", "OUTPUT"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    monkeypatch.setattr(workspace, "COMPAT", tmp_path / ".compat")
    return tmp_path / ".compat"


def parsed(predicate: dict[str, Any]) -> Any:
    """Return a predicate as the published definition reads it, in a valid statement about the version's list."""
    module = importlib.import_module("in_toto_attestation.predicates.test_result.v0.test_result_pb2")
    statements = importlib.import_module("in_toto_attestation.v1.statement")
    descriptors = importlib.import_module("in_toto_attestation.v1.resource_descriptor")
    subject = descriptors.ResourceDescriptor(name=REPOSITORY, digest={"sha256": DIGEST.removeprefix("sha256:")})
    statements.Statement([subject.pb], TYPE, predicate).validate()
    found = importlib.import_module("google.protobuf.json_format").ParseDict(predicate, module.TestResult())
    for each in found.configuration:
        descriptors.ResourceDescriptor.copy_from_pb(each).validate()
    return found


def test_predicate_is_valid_by_the_published_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "you/emulator")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    found = parsed(attestation.predicate([verdict("linux/amd64"), verdict("linux/arm64")]))
    assert found.result == "PASSED"
    assert found.url == "https://github.example/you/emulator/actions/runs/7"
    for platform in ("linux/amd64", "linux/arm64"):
        assert f"{platform} develop tests/test_a.py::A::test_passes" in found.passed_tests
        assert f"{platform} develop tests/test_a.py::A::test_flaky" in found.warned_tests
        assert f"{platform} v1.158.0 tests/test_b.py::B::test_old" in found.failed_tests
    assert (len(found.passed_tests), len(found.warned_tests), len(found.failed_tests)) == (2, 2, 2)


def test_configuration_names_each_source_and_commit_once() -> None:
    found = parsed(attestation.predicate([verdict("linux/amd64"), verdict("linux/arm64")]))
    assert [(each.name, each.uri, dict(each.digest)) for each in found.configuration] == [
        ("aws-sam-cli develop", "https://github.com/aws/aws-sam-cli.git", {"gitCommit": DEVELOP}),
        ("aws-sam-cli v1.158.0", "https://github.com/aws/aws-sam-cli.git", {"gitCommit": OLDER}),
    ]
    assert [each.annotations["compared"] for each in found.configuration] == [False, True]


def test_branch_that_moved_between_the_platforms_is_listed_with_both_commits() -> None:
    found = parsed(attestation.predicate([verdict("linux/amd64"), verdict("linux/arm64", commit="e" * 40)]))
    commits = [each.digest["gitCommit"] for each in found.configuration if each.name == "aws-sam-cli develop"]
    assert commits == [DEVELOP, "e" * 40]


def test_predicate_elsewhere_than_in_a_job_has_no_url() -> None:
    assert "url" not in attestation.predicate([verdict()])


def test_predicate_and_its_subject_are_handed_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    (tmp_path / "output").write_text("before=1\n")
    attestation.save([verdict()], REPOSITORY, DIGEST)
    assert parsed(json.loads((folder / "test-result.json").read_text())).result == "PASSED"
    assert (tmp_path / "output").read_text() == f"before=1\nname={REPOSITORY}\ndigest={DIGEST}\n"


@pytest.mark.parametrize(
    "verdicts",
    [[], [verdict(reasons=("1 of 3 tests failed",))], [verdict(), verdict("linux/arm64", reasons=("nothing ran",))]],
    ids=["none", "red", "one of two"],
)
def test_red_verdict_is_never_attested(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdicts: list[Verdict]
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    attestation.save([verdict()], REPOSITORY, DIGEST)
    (tmp_path / "output").unlink()
    with pytest.raises(GateError, match="only green verdicts"):
        attestation.save(verdicts, REPOSITORY, DIGEST)
    assert not (folder / "test-result.json").exists(), "an earlier one must not be signed in its place"
    assert not (tmp_path / "output").exists()
