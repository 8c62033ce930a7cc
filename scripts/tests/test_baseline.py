"""When a failure with the published image says something about the candidate."""

from typing import Any

import pytest

from gate.suite.baseline import Comparison, comparable
from gate.suite.shards import Scheduler
from gate.verdict.model import Request, Shard, TestResult

ASKED = [Request("GET", "/e/{}", 200)]
NONE, CRASHED, SERVED = (
    Shard("a"),
    Shard("a", containers={"id": 1}, served=0),
    Shard("a", containers={"id": 1}, served=1),
)


def failed(message: str = "no", *, asked: bool = False) -> TestResult:
    return TestResult("a.py::t", "failed", message=message, requests=ASKED if asked else [])


@pytest.mark.parametrize(
    ("test", "other", "shard", "others_shard"),
    [
        (failed(asked=True), failed(asked=True), SERVED, SERVED),
        (failed(), failed(asked=True), SERVED, SERVED),
        (failed(), failed("another"), SERVED, SERVED),
        (failed(), failed("another"), NONE, NONE),
        (
            failed("build failed in /x/worktree-0, id 0a1b"),
            failed("build failed in /x/worktree-3, id 9f"),
            SERVED,
            NONE,
        ),
    ],
    ids=[
        "both answered",
        "published answered",
        "no requests known",
        "neither was started",
        "alike before any emulator",
    ],
)
def test_images_are_compared(test: TestResult, other: TestResult, shard: Shard, others_shard: Shard) -> None:
    assert comparable(test, other, shard, others_shard)


@pytest.mark.parametrize(
    ("test", "other", "shard", "others_shard"),
    [
        (failed(asked=True), failed(), SERVED, SERVED),
        (failed(), failed("another"), SERVED, NONE),
        (failed(), failed(), SERVED, CRASHED),
        (failed("refused"), failed("refused"), CRASHED, CRASHED),
        (failed("refused"), failed("refused"), CRASHED, NONE),
    ],
    ids=["published hangs", "published is not started", "published crashes", "both crash", "neither can be used"],
)
def test_published_image_that_does_not_work_excuses_nothing(
    test: TestResult, other: TestResult, shard: Shard, others_shard: Shard
) -> None:
    """Else a compared ref would be green with a regression."""
    assert not comparable(test, other, shard, others_shard)


def test_shards_that_still_run_are_stopped_before_the_watch_ends() -> None:
    """As when what failed turns out to be flaky: nothing waits for them."""
    nothing: Any = None
    order: list[str] = []
    scheduler = Scheduler(1, 1)

    def shard() -> None:
        scheduler.stop.wait(60)
        order.append("shard ended")

    with Comparison(nothing, nothing, scheduler) as comparison:
        comparison.resources.callback(order.append, "watch ended")
        scheduler.pool.submit(shard)
    assert order == ["shard ended", "watch ended"]
