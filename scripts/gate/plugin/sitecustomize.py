"""Let `samdev` start as fast as `sam` (fact 10): Python imports this at every start."""

import gc
import os
import sys
import types

if os.path.basename(sys.argv[0]) == "samdev":
    check = types.ModuleType("samcli.cli.import_module_proxy")
    check.attach_import_module_proxy = lambda: None
    sys.modules[check.__name__] = check
    gc.set_threshold(100_000)  # looks for garbage less often: a tenth of the rest of its start
