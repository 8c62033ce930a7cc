"""make changed: print whether the commits between BASE and HEAD change a guarded file."""

import os

from gate.cli import GateError, github_output, run_main
from gate.settings import load
from gate.sources import guarded
from gate.text import plain


def main() -> int:
    """Print `gated=true`, with the files that decided it, or `gated=false`; set it as the job's output; return 0."""
    settings = load()
    try:
        decided = guarded.touched(os.environ.get("BASE", ""), settings.gated_paths)
        if not decided:
            guarded.check_covered(settings.emulator_source, settings.gated_paths)
    except GateError as doubt:
        decided = [f"when in doubt, the gate runs: {doubt}"]
    answer = "true" if decided else "false"
    print(f"gated={answer}", *(f"  {plain(line)}" for line in decided), sep="\n", flush=True)
    github_output(gated=answer)
    return 0


if __name__ == "__main__":
    run_main(main)
