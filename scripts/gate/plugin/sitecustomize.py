"""Let `samdev` start as fast as `sam`. Python imports this at every start in the suite.

`samdev` (aws-sam-cli installed with SAM_CLI_DEV=1) imports the whole of aws-sam-cli at every start
and checks later imports for PyInstaller (fact 10); the `sam` that users have does neither.
"""

import gc
import os
import sys
import types

if os.path.basename(sys.argv[0]) == "samdev":
    check = types.ModuleType("samcli.cli.import_module_proxy")
    check.attach_import_module_proxy = lambda: None
    sys.modules[check.__name__] = check
    gc.set_threshold(100_000)  # looks for garbage less often: a tenth of the rest of its start
