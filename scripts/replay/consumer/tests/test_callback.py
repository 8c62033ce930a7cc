"""`sam local callback`: the answer that an execution waits for."""

import pytest

from .conftest import history, question, until


def test_succeed(sam, asked):
    callback = until(lambda: question(history(sam, asked)))
    sam("local", "callback", "succeed", callback, "--result", "yes")
    events = until(lambda: [event for event in history(sam, asked) if event["EventType"] == "ExecutionSucceeded"])
    assert events[0]["ExecutionSucceededDetails"]["Result"]["Payload"] == '{"answer": "yes"}'


def test_succeed_only_once(sam, asked):
    callback = until(lambda: question(history(sam, asked)))
    sam("local", "callback", "succeed", callback, "--result", "yes")
    with pytest.raises(AssertionError, match="SendDurableExecutionCallbackSuccess"):
        sam("local", "callback", "succeed", callback, "--result", "no")
