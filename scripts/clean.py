"""make clean: remove checkouts, venvs and results.

Standard library only, since the venv may be broken.
"""

import sys

from gate import workspace
from gate.programs import GateError


def main() -> int:
    """Return 0, or 2 if a run is working in this clone."""
    try:
        workspace.clean()
    except (GateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
