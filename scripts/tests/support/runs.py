"""Runs as the runner returns them, made without one."""

from collections.abc import Iterable

from gate.model import (
    Attribution,
    Comparison,
    Image,
    Outcome,
    Run,
    ShardResult,
    TestResult,
)

CANDIDATE = Image(
    "sha256:good", "sha256:config", "repo/emulator:pr-1", "linux/amd64", "1.2.1"
)


def result_of(
    test_id: str,
    outcome: Outcome = "passed",
    *,
    message: str = "",
    shard: str = "a-1",
) -> TestResult:
    """Return what a test came to that ran for a second."""
    result = TestResult(test_id, outcome, shard=shard, began=1.0, ended=2.0)
    result.message = message
    return result


def shard_of(
    name: str = "a-1",
    *,
    image_id: str = CANDIDATE.image_id,
    answered: bool = True,
    logs: Iterable[str] = (),
) -> ShardResult:
    """Return what a shard came to; without an image id, its tests started no emulator."""
    started = {image_id: 2} if image_id else {}
    return ShardResult(name, 1.0, list(logs), started, answered=answered)


def run_of(
    tests: Iterable[TestResult],
    shards: Iterable[ShardResult],
    *,
    ref: str = "develop",
    only_regressions_count: bool = False,
    attributions: dict[str, Attribution] | None = None,
) -> Run:
    """Return a run of aws-sam-cli at a ref that was requested by that name."""
    return Run(
        ref,
        "c" * 40,
        "1.164.0",
        [ref],
        only_regressions_count,
        tests=list(tests),
        shards=list(shards),
        comparison=Comparison(attributions=attributions or {}),
    )
