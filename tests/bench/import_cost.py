"""Run by startup.py: import kojid, then our plugin; what each took, as JSON.

Usage: python import_cost.py KOJI-SOURCE REPO, with Koji's source on PYTHONPATH.
"""

import json
import sys
import time
from pathlib import Path

from koji_containerbuild.devstack.kojid_run import UNUSED
from koji_containerbuild.devstack.shims import load_file, stub_missing

sys.dont_write_bytecode = False
source, repo = Path(sys.argv[1]), Path(sys.argv[2])


def rss() -> float:
    """In MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1024**2


stub_missing(UNUSED)
begin = time.perf_counter()
load_file("kojid", source / "builder" / "kojid")
kojid, memory, modules = time.perf_counter() - begin, rss(), len(sys.modules)
begin = time.perf_counter()
load_file("builder_containerbuild", repo / "builder" / "builder_containerbuild.py")
plugin = time.perf_counter() - begin
cost = {"kojid": kojid, "plugin": plugin, "memory": rss() - memory}
print(json.dumps({**cost, "modules": len(sys.modules) - modules}))
