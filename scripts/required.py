"""make required: the one check that branch protection requires, and a table of what was tested.

Standard library only: what can fail here is red for no reason.
"""

import json
import os
import sys

from gate import workspace

# Of sam-cli-compat.yml. A matrix has one result: success only if all its jobs succeeded.
JOBS = ("plan", "build", "gate")


def main() -> int:
    """Return 0 if every job succeeded, or if the plan says that this run is not gated."""
    needs = json.loads(os.environ.get("NEEDS") or "{}")
    outputs = needs.get("plan", {}).get("outputs", {})
    show(table(json.loads(outputs.get("rows") or "[]")))
    result_by_job = {
        job: needs.get(job, {}).get("result", "missing") for job in JOBS
    }
    print(result_by_job)
    passing = [dict.fromkeys(JOBS, "success")]
    if outputs.get("gated") == "false":
        passing.append(
            {"plan": "success", "build": "skipped", "gate": "skipped"}
        )
    if result_by_job in passing:
        print("passed")
        return 0
    print("failed: see the summary of the jobs that did not succeed")
    return 1


def table(rows: list[dict[str, str]]) -> list[str]:
    """Return a line for each aws-sam-cli, the worst first, with a column for each platform."""
    if not rows:
        return []
    platforms = list(dict.fromkeys(row["platform"] for row in rows))
    cells_by_name: dict[str, list[str]] = {}
    for row in rows:
        cells = cells_by_name.setdefault(row["name"], [""] * len(platforms))
        cells[platforms.index(row["platform"])] = outcome(row)
    worst_first = sorted(
        cells_by_name, key=lambda name: good(cells_by_name[name])
    )
    rows_of_table = [
        ["aws-sam-cli", *platforms],
        ["---"] * (len(platforms) + 1),
    ]
    rows_of_table += [[name, *cells_by_name[name]] for name in worst_first]
    return [f"| {' | '.join(cells)} |" for cells in rows_of_table]


def good(cells: list[str]) -> bool:
    """Return whether no platform is red, or without a verdict."""
    return not any(cell.startswith(("red", "no verdict")) for cell in cells)


def outcome(row: dict[str, str]) -> str:
    """Return what a row's verdict.json says, such as "40 passed" or "red: 2 regressions"."""
    path = workspace.row_verdict(row["platform"], row["name"])
    try:
        verdict = workspace.read_json(path)
        text = ", ".join(verdict["outcomes"].values())
        return text if verdict["green"] else f"red: {text}"
    except (OSError, KeyError):
        return "no verdict"


def show(lines: list[str]) -> None:
    """Print the table, and add it to the run's page."""
    text = "".join(f"{line}\n" for line in lines)
    print(text, end="")
    workspace.add_to_job_page(text)


if __name__ == "__main__":
    sys.exit(main())
