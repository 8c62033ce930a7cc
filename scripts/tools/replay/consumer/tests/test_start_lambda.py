import json

import pytest

from .conftest import sam, until


def arn(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"][
        "x-amz-durable-execution-arn"
    ]


def status(functions, execution):
    return functions.get_durable_execution(DurableExecutionArn=execution)[
        "Status"
    ]


def callbacks(events):
    started = [
        event for event in events if event["EventType"] == "CallbackStarted"
    ]
    return [event["CallbackStartedDetails"]["CallbackId"] for event in started]


@pytest.fixture
def waiting(functions):
    """An execution that waits for an answer, and its callback's id."""
    answer = functions.invoke(
        FunctionName="Asks", InvocationType="Event", Payload=b"{}"
    )
    history = functions.get_durable_execution_history
    found = until(
        lambda: callbacks(history(DurableExecutionArn=arn(answer))["Events"])
    )
    return arn(answer), found[0]


def test_result(functions):
    answer = functions.invoke(
        FunctionName="Adds", Payload=b'{"numbers": [1, 2, 3]}'
    )
    assert json.load(answer["Payload"]) == {"total": 6}
    assert status(functions, arn(answer)) == "SUCCEEDED"


def test_no_wait(functions):
    event = b'{"numbers": [4, 5]}'
    answer = functions.invoke(
        FunctionName="Adds", InvocationType="Event", Payload=event
    )
    until(lambda: status(functions, arn(answer)) == "SUCCEEDED")


def test_callback(functions, waiting):
    functions.send_durable_execution_callback_success(
        CallbackId=waiting[1], Result=b"yes"
    )
    until(lambda: status(functions, waiting[0]) == "SUCCEEDED")


def test_get(waiting):
    printed = sam("execution", "get", waiting[0], "--format", "json")
    assert json.loads(printed)["Status"] == "RUNNING"


def test_history(waiting):
    printed = sam("execution", "history", waiting[0], "--format", "json")
    assert callbacks(json.loads(printed)["Events"]) == [waiting[1]]


def test_stop(functions, waiting):
    sam("execution", "stop", waiting[0])
    assert status(functions, waiting[0]) == "STOPPED"


def test_succeed(functions, waiting):
    sam("callback", "succeed", waiting[1], "--result", "yes")
    until(lambda: status(functions, waiting[0]) == "SUCCEEDED")


def test_succeed_only_once(waiting):
    sam("callback", "succeed", waiting[1], "--result", "yes")
    with pytest.raises(
        AssertionError, match="SendDurableExecutionCallbackSuccess"
    ):
        sam("callback", "succeed", waiting[1], "--result", "no")
