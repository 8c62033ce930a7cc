"""make required: the one answer that branch protection waits for, from the results of the jobs before it.

Nothing here needs to be installed, so that it can say no where nothing could be.
"""

import json
import os
from typing import Any

from command import GateError, entry


def main() -> int:
    """Return 0 if the results in NEEDS let a pull request through, else 1. Raises GateError if they cannot be read."""
    try:
        needs = json.loads(os.environ.get("NEEDS", ""))
        refused = refusals(needs)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise GateError("NEEDS is not what Actions calls toJSON(needs): give it to this step's environment") from None
    results = ", ".join(f"{job} {told['result']}" for job, told in needs.items())
    print(*(f"  - {reason}" for reason in refused), f"{'no' if refused else 'yes'}: {results}", sep="\n", flush=True)
    return 1 if refused else 0


def refusals(needs: dict[str, Any]) -> list[str]:
    """Return why the check must fail, nothing if it may pass: each job succeeded.

    Only the gate may also have been skipped, and only because `changed` said that nothing guarded was touched.
    """
    untouched = needs.get("changed", {}).get("outputs", {}).get("gated") == "false"
    reasons = [f"{job}: its result is not among NEEDS" for job in ("changed", "gate") if job not in needs]
    for job, told in needs.items():
        excused = job == "gate" and told["result"] == "skipped" and untouched
        if told["result"] != "success" and not excused:
            reasons.append(f"{job}: {told['result']}, not success")
    return reasons


if __name__ == "__main__":
    entry(main)
