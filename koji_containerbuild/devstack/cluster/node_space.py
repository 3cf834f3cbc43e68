"""The node's own view of the file system, held open by this process.

Kubelet and containerd have fixed folders (/var/log/pods, /var/lib/kubelet ...). In a mount
namespace of their own these are folders of the state folder: several clusters do not meet there,
and when the last process ends no mount is left on the machine.

Usage: unshare --mount python -m koji_containerbuild.devstack.cluster.node_space FOLDER
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

KEPT = (  # path on the node, and below FOLDER
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
)
# Gone when the node is ended, as when a machine is switched off.
FORGOTTEN = ("/run/containerd", "/run/netns")


def enter(folder: Path) -> None:
    """Make the mounts; the last of them tells that all are there."""
    for path in KEPT:
        ours = folder / path[1:]
        for one in (ours, Path(path)):
            one.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(ours), path], check=True)
    for path in FORGOTTEN:
        Path(path).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)


if __name__ == "__main__":
    enter(Path(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()
