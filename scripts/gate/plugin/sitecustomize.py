"""Let `samdev` start as fast as the released `sam`: Python imports this at every start.

`samdev` checks its imports at each start, the released `sam` does not (FACTS.md#samdev-start).
"""

import os
import sys
import types

if os.path.basename(sys.argv[0]) == "samdev":
    check = types.ModuleType("samcli.cli.import_module_proxy")
    check.attach_import_module_proxy = lambda: None
    sys.modules[check.__name__] = check
