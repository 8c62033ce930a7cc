"""Where the time went: shards and their tests as a Mermaid chart, which GitHub draws."""

import re
from collections.abc import Iterator

from gate.verdict.model import Run, TestResult

MOST = 300  # tests: GitHub does not draw a longer chart


def markdown(runs: list[Run]) -> Iterator[str]:
    """Yield the lines of a chart that is folded away; nothing if no test has a time."""
    timed = [(run, test) for run in runs for test in run.tests if test.ended > test.began > 0][:MOST]
    if not timed:
        return
    start = min(test.began for _, test in timed)
    yield from (
        "<details><summary>where the time went</summary>",
        "",
        "```mermaid",
        "gantt",
        "    dateFormat x",
        "    axisFormat %M:%S",
    )
    sections: dict[str, list[TestResult]] = {}
    for run, test in timed:
        sections.setdefault(f"{test.shard} of {run.ref}" if len(runs) > 1 else test.shard, []).append(test)
    for section, tests in sections.items():
        yield f"    section {section}"
        for test in tests:
            method, bracket, parameters = test.id.partition("[")
            words = method.rpartition("::")[2] + bracket + parameters
            name = re.sub(r"[^\w ]+", " ", words).strip()[:60]
            state = "crit, " if test.outcome == "failed" else ""
            yield f"    {name} :{state}{(test.began - start) * 1000:.0f}, {(test.ended - start) * 1000:.0f}"
    yield from ("```", "", "</details>")
