"""Asks somebody outside, and waits for the answer that a callback brings."""

from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.execution import durable_execution


@durable_execution
def handler(event: dict, context: DurableContext) -> dict:
    def ask(callback_id: str, _: object) -> None:
        print(f"asked: {callback_id}")

    return {"answer": context.wait_for_callback(ask, name="question")}
