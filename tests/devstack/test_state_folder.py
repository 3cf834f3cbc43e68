"""One command at a time changes a state folder."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from koji_containerbuild.devstack import state_folder

MARK = ".mark"


def test_who_waited_for_a_reset_gets_a_folder_that_is_there(tmp_path: Path):
    state = tmp_path / "state"
    found: list[bool] = []

    def up() -> None:
        with state_folder.alone(state, MARK):
            found.append((state / MARK).exists())

    with state_folder.alone(state, MARK):
        waits = threading.Thread(target=up)
        waits.start()
        until_awaited(state / MARK)
        assert not found
        state_folder.delete(state)
    waits.join(10)
    assert found == [True]


def until_awaited(lock: Path) -> None:
    """Somebody waits for it, as the kernel tells."""
    waits = re.compile(rf"-> FLOCK .*:{lock.stat().st_ino} ")
    deadline = time.monotonic() + 10
    while not waits.search(Path("/proc/locks").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
