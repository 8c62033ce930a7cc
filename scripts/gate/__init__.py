"""What the scripts share: CONTRIBUTING.md lists the rooms."""

import importlib.util
import sys

if missing := [name for name in ("docker", "dotenv") if importlib.util.find_spec(name) is None]:
    print(
        f"error: Python has no {' and no '.join(missing)}: run this through make, e.g. `make compat`", file=sys.stderr
    )
    sys.exit(2)  # not 1, which means red
