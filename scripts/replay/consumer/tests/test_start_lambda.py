"""boto3 against `sam local start-lambda`: what a program sees that calls durable functions."""

import json

from .conftest import arn, question, until


def status(functions, execution):
    return functions.get_durable_execution(DurableExecutionArn=execution)["Status"]


def test_result(functions):
    answer = functions.invoke(FunctionName="Adds", Payload=b'{"numbers": [1, 2, 3]}')
    assert json.load(answer["Payload"]) == {"total": 6}
    assert status(functions, arn(answer)) == "SUCCEEDED"


def test_history(functions):
    answer = functions.invoke(FunctionName="Adds", InvocationType="Event", Payload=b'{"numbers": [4, 5]}')
    until(lambda: status(functions, arn(answer)) != "RUNNING")
    events = functions.get_durable_execution_history(DurableExecutionArn=arn(answer))["Events"]
    assert [event["Name"] for event in events if event["EventType"] == "StepSucceeded"] == ["add-4", "add-5"]


def test_callback(functions, asked):
    callback = until(lambda: question(functions.get_durable_execution_history(DurableExecutionArn=asked)["Events"]))
    functions.send_durable_execution_callback_success(CallbackId=callback, Result=b"yes")
    assert until(lambda: status(functions, asked) != "RUNNING" and status(functions, asked)) == "SUCCEEDED"
