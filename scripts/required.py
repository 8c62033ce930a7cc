"""make required: pass or fail the one check that branch protection requires, from the results of the jobs before it.

Standard library only, so that it fails as it should where nothing could be installed.
"""

import json
import os
import sys
from typing import Any

JOBS = ("changed", "build", "gate")  # of sam-cli-compat.yml


def main() -> int:
    """Return 0 if the pull request may be merged by the results in NEEDS, 1 if not, 2 if they cannot be read."""
    try:
        needs = json.loads(os.environ.get("NEEDS", ""))
        refused = refusals(needs)
        results = ", ".join(f"{job} {need['result']}" for job, need in needs.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        print("error: NEEDS is not the JSON of toJSON(needs): set it in this step's env", file=sys.stderr)
        return 2
    print(*(f"  - {reason}" for reason in refused), f"{'no' if refused else 'yes'}: {results}", sep="\n", flush=True)
    return 1 if refused else 0


def refusals(needs: dict[str, Any]) -> list[str]:
    """Return the reasons to fail, nothing if every job succeeded.

    Build and gate may have been skipped, but only because `changed` found that no guarded file was changed.
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
