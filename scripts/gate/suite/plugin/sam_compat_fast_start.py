"""Let a `sam` process start in half the time. Python imports this at every start of aws-sam-cli's venv, by a .pth file.

samcli.cli.hidden_imports lists the same folders again and again: its recursion calls pkgutil.walk_packages, which
recurses itself. While that one module is imported, in a process that is `sam` or `samdev`, pkgutil.iter_modules
remembers its answers. The list of modules is the same; where the module does not exist, nothing happens.
"""

import os
import sys
from typing import Any

SLOW = "samcli.cli.hidden_imports"


class Finder:
    """Import SLOW as ever, with pkgutil.iter_modules memoised meanwhile."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of SLOW with a loader that memoises, None for any other module."""
        if name != SLOW:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec and spec.loader:
            setattr(spec.loader, "exec_module", memoised(spec.loader.exec_module))  # noqa: B010
        return spec


def memoised(execute: Any) -> Any:
    """Return `execute` with pkgutil.iter_modules remembering its answers while it runs."""

    def run(module: Any) -> None:
        import gc
        import pkgutil

        listed: Any = pkgutil.iter_modules
        known: dict[Any, Any] = {}

        def iter_modules(path: Any = None, prefix: str = "") -> Any:
            key = (None if path is None else tuple(path), prefix)
            if key not in known:
                known[key] = list(listed(path, prefix))
            return iter(known[key])

        pkgutil.iter_modules = iter_modules
        gc.disable()  # a thousand modules are kept: looking for garbage among them takes a sixth of the start
        try:
            execute(module)
        finally:
            gc.enable()
            pkgutil.iter_modules = listed

    return run


if os.path.basename(sys.argv[0]) in ("sam", "samdev") and os.environ.get("SAM_COMPAT_FAST_START") != "0":
    sys.meta_path.insert(0, Finder())
