import os

import pytest

skipped_on_ci = pytest.mark.skipif(
    "CI" in os.environ and "FORCE_RUN_DOCKER_TEST" not in os.environ,
    reason="as sam-cli does",
)


@skipped_on_ci
def test_health(health):
    assert health == "ok\n"


@skipped_on_ci
@pytest.mark.parametrize("path", ["health", "health?a=b::c"])
def test_answers(health, path):
    assert health
