"""Run Koji 1.30's unmodified builder daemon.

Usage: python -m koji_containerbuild.devstack.kojid_run SOURCE SLEEPTIME READY-FILE KOJID-OPTIONS...

kojid is loaded as a module and its main() called from here, because run as a program it logs to
/var/log/kojid.log, takes whole seconds only as its sleeptime, and wants mock's folder in /etc.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from koji_containerbuild.devstack.shims import load_file, stub_missing

UNUSED = ("dnf", "librepo", "multilib", "multilib.multilib", "Cheetah", "Cheetah.Template")


def main(source: Path, sleeptime: float, ready: Path) -> None:
    """Log in, take the host's lock, and work until SIGTERM."""
    # Koji stops tasks with SIGINT; a shell's `&` would have left it ignored for all of us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stub_missing(UNUSED)
    import koji
    from koji import daemon

    def no_buildroots(_manager: object) -> dict[str, object]:
        """There is no mock here, nor /etc/mock/koji. Koji asks at each turn of its main loop."""
        if not ready.exists():
            ready.touch()
        return {}

    def no_load() -> tuple[float, float, float]:
        """kojid takes no task while the load is above 4 per CPU: here that is other people's."""
        return 0.0, 0.0, 0.0

    daemon.TaskManager._scanLocalBuildroots = no_buildroots
    os.getloadavg = no_load
    sys.dont_write_bytecode = True
    kojid = load_file("kojid", source / "builder" / "kojid")
    options = kojid.get_options()
    options.sleeptime = sleeptime
    logging.getLogger("koji").setLevel(logging.INFO)
    koji.add_stderr_logger("koji")
    session = koji.ClientSession(options.server, koji.grab_session_options(options))
    session.login()
    session.exclusiveSession(force=options.force_lock)
    kojid.main(options, session)


if __name__ == "__main__":
    main(Path(sys.argv.pop(1)), float(sys.argv.pop(1)), Path(sys.argv.pop(1)))
