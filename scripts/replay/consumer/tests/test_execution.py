"""`sam local execution` of an execution that waits for a callback."""

import json

from .conftest import history, question, until


def get(sam, execution):
    return json.loads(sam("local", "execution", "get", execution, "--format", "json"))


def test_get(sam, asked):
    found = get(sam, asked)
    assert (found["DurableExecutionArn"], found["Status"]) == (asked, "RUNNING")


def test_history(sam, asked):
    assert history(sam, asked)[0]["EventType"] == "ExecutionStarted"
    assert until(lambda: question(history(sam, asked)))


def test_stop(sam, asked):
    sam("local", "execution", "stop", asked)
    assert get(sam, asked)["Status"] == "STOPPED"
