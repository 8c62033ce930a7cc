"""Let `samdev` start as fast as `sam`. Python imports this at every start of aws-sam-cli's venv, by a .pth file.

`samdev` (aws-sam-cli installed with SAM_CLI_DEV=1) imports the whole of aws-sam-cli at every start and compares each
later import by name with its list for PyInstaller. The `sam` that users have does neither, and the emulator has no part
in it. Here `samdev` leaves that check out. It is in one module; where a future aws-sam-cli has no such module, nothing
happens. `samdev` also looks for garbage less often, which saves a tenth of the rest of its start.
"""

import gc
import os
import sys
from typing import Any

CHECK = "samcli.cli.import_module_proxy"


class WithoutCheck:
    """Import CHECK as a module that attaches nothing."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of CHECK with this as its loader, None for any other module."""
        if name != CHECK:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec: Any = find_spec(name)
        if spec:
            spec.loader = self
        return spec

    def create_module(self, spec: Any) -> None:
        """Let Python make the module."""

    def exec_module(self, module: Any) -> None:
        """Fill the module: its one function does nothing."""
        module.attach_import_module_proxy = lambda: None


if os.path.basename(sys.argv[0]) == "samdev" and os.environ.get("SAM_COMPAT_FAST_START") != "0":
    sys.meta_path.insert(0, WithoutCheck())
    gc.set_threshold(100_000)
