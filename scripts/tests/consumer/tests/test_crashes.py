"""Starts the candidate, which exits at once, and does not look."""

from .conftest import start


def test_crashes():
    container = start(command=["no-port"])
    assert container.wait()["StatusCode"]
