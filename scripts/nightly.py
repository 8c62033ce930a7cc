"""make nightly: open an issue when the nightly run is red, comment on it while it is open, close it when green again.

Standard library and the GitHub CLI only, so that it reports even where nothing could be installed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

COMPAT = Path(__file__).resolve().parents[1] / ".compat"
TITLE, LABEL = "sam-cli compat is red at night", "sam-cli-compat"
LONGEST = 60_000  # characters; GitHub takes 65,536


def main() -> int:
    """Return 0 once the issue shows the result of the nightly run, 2 if it could not be written."""
    try:
        results = {job: str(need["result"]) for job, need in json.loads(os.environ.get("NEEDS", "")).items()}
        url = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ)
    except (ValueError, TypeError, KeyError, AttributeError):
        results = {}
    if not results:
        return fail("NEEDS is not toJSON(needs), or this is not a GitHub job: set NEEDS in this step's env")
    red = [f"{job}: {result}" for job, result in results.items() if result != "success"]
    try:
        print(f"{'red' if red else 'green'}: {report(red, url)}", flush=True)
    except OSError as error:  # PermissionError where a folder on PATH cannot be read
        missing = "gh was not found: install the GitHub CLI"
        return fail(missing if error.filename == "gh" else f"{error.filename}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        return fail(f"{' '.join(error.cmd[:3])} failed (see above): check GH_TOKEN, GH_REPO and `issues: write`")
    except (ValueError, TypeError, KeyError):
        return fail("gh issue list printed no list of issues: update the GitHub CLI")
    return 0


def fail(message: str) -> int:
    """Print the error and return 2."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def report(red: list[str], url: str) -> str:
    """Open, comment on or close the issue and return what was done; `red` are the jobs that did not succeed."""
    listed = json.loads(gh("issue", "list", "--state=open", f"--label={LABEL}", "--limit=100", "--json=number,title"))
    number = next((str(issue["number"]) for issue in listed if issue["title"] == TITLE), "")
    if not red:
        return gh("issue", "close", number, f"--comment=Green again: {url}") if number else "no issue is open"
    text = f"[{', '.join(red)}]({url}). A platform that is not listed below ended before it wrote a verdict.\n\n"
    summaries = sorted(COMPAT.glob("*/summary.md"))
    text += "\n".join(summary.read_text(encoding="utf-8", errors="replace") for summary in summaries)
    if number:
        return gh("issue", "comment", number, "--body-file=-", text=text)
    gh("label", "create", LABEL, "--force")  # without an error if it exists
    return gh("issue", "create", f"--title={TITLE}", f"--label={LABEL}", "--body-file=-", text=text)


def gh(*command: str, text: str = "") -> str:
    """Run the GitHub CLI with `text` on its stdin and return its stdout."""
    done = subprocess.run(["gh", *command], input=text[:LONGEST], stdout=subprocess.PIPE, check=True, encoding="utf-8")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
