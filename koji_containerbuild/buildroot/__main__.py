"""`python -m koji_containerbuild.buildroot`: build one arch of a plan.

    --plan FILE        what to build (plan.json)
    --plan-from-environment
                       the same, from the variable PLAN
    --arch ARCH        for which of its arches; else the variable PLAN_ARCH, else this machine's
    --outcome FILE     where the outcome goes; that it is there means that the build has ended
    --log FILE         where the complete log goes
    --config FILE      configuration of this place: store, registry credentials
    --near FOLDER      a checkout that may have the commit already
    --framed           the log on standard output is one that a cluster cannot spoil
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


def be_init() -> None:
    """As process 1 of a container, let a child do the work; be there for signals and the dead.

    The kernel keeps from process 1 each signal that it has no handler for, and makes it the parent
    of all processes whose own parent has ended; when it ends, all of them are killed.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until parent and child can obey
    child = os.fork()
    if not child:
        return
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    if "--detach" in sys.argv:
        detach()
    elif os.getpid() == 1:
        be_init()
    from koji_containerbuild.buildroot.program import main

    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # all is written; taking down the interpreter would cost another 0.05 s
