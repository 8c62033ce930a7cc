"""Starts the candidate, whose process ends as by a system that is short of memory."""

from .conftest import start


def test_killed():
    container = start(
        command=["-c", "exit 137"], entrypoint=["/bin/busybox", "sh"]
    )
    assert container.wait()["StatusCode"] == 0
