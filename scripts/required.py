"""make required: the one answer that branch protection waits for, from the results of the jobs before it.

Standard library only, so that it can say no where nothing could be installed.
"""

import json
import os
import sys
from typing import Any

JOBS = ("changed", "build", "gate")


def main() -> int:
    """Return 0 if the results in NEEDS let a pull request through, 1 if not, 2 if they cannot be read."""
    try:
        needs = json.loads(os.environ.get("NEEDS", ""))
        refused = refusals(needs)
        results = ", ".join(f"{job} {need['result']}" for job, need in needs.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        print("error: NEEDS is not what Actions calls toJSON(needs): set it in this step's env", file=sys.stderr)
        return 2
    print(*(f"  - {reason}" for reason in refused), f"{'no' if refused else 'yes'}: {results}", sep="\n", flush=True)
    return 1 if refused else 0


def refusals(needs: dict[str, Any]) -> list[str]:
    """Return why the check must fail, nothing if it may pass: each job succeeded.

    Build and gate may also have been skipped, and only because `changed` found that nothing guarded was touched.
    """
    untouched = needs.get("changed", {}).get("outputs", {}).get("gated") == "false"
    reasons = [f"{job}: its result is not among NEEDS" for job in JOBS if job not in needs]
    for job, need in needs.items():
        excused = job in ("build", "gate") and need["result"] == "skipped" and untouched
        if need["result"] != "success" and not excused:
            reasons.append(f"{job}: {need['result']}, not success")
    return reasons


if __name__ == "__main__":
    sys.exit(main())
