"""Adds numbers, one durable step each."""

from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.execution import durable_execution


@durable_execution
def handler(event: dict, context: DurableContext) -> dict:
    total = 0
    for number in event["numbers"]:
        total = context.step(
            lambda _, old=total, new=number: old + new, name=f"add-{number}"
        )
    return {"total": total}
