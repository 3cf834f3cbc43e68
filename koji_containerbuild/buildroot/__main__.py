"""`python -m koji_containerbuild.buildroot`: build one arch of a plan.

    --plan FILE        what to build (plan.json)
    --arch ARCH        for which of its arches
    --outcome FILE     where the outcome goes; that it is there means that the build has ended
    --log FILE         where the complete log goes
    --config FILE      configuration of this place: store, registry credentials
    --near FOLDER      a checkout that may have the commit already
    --detach           go on in the background; print the process id. The log is the file alone

Exit status: 0 built, 1 failed, 2 the call is wrong, 3 told to end.
"""

from __future__ import annotations

import os
import signal
import sys


def detach() -> None:
    """Leave the caller's process tree, so that ending the caller's tree does not end the build.

    Called before anything is imported or opened: nothing is shared with the process that goes.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the program can obey
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


if __name__ == "__main__":
    if "--detach" in sys.argv:
        detach()
    from koji_containerbuild.buildroot.program import main

    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # all is written; taking down the interpreter would cost another 0.05 s
