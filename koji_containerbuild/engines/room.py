"""When it is worth asking clusters again whether there is room, or whether they answer."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Optional

from koji_containerbuild.engines.streams import Item, Reader

SETTLED = 2.0  # seconds after a change: a pod's end is known before its job's
LOOK = 60.0  # seconds: a cluster with which we have lost touch is asked again


class Room:
    """It begins to watch when it is asked."""

    def __init__(self, changes: Callable[[queue.Queue[Item]], Sequence[Reader]]) -> None:
        """`changes`: what tells of changes, once it is started."""
        self._changes = changes
        self._items: queue.Queue[Item] = queue.Queue(64)
        self._readers: Optional[Sequence[Reader]] = None
        self._next = 0.0  # when it is worth asking though nobody told us so

    def may_have_changed(self, seconds: float) -> bool:
        """Waits at most so long."""
        if self._readers is None:
            self._readers = self._changes(self._items)
            for reader in self._readers:
                reader.start()
            self._next = time.monotonic() + LOOK
        try:
            self._items.get(timeout=seconds) if seconds else self._items.get_nowait()
        except queue.Empty:
            if time.monotonic() < self._next:
                return False
            self._next = time.monotonic() + LOOK
            return True
        while not self._items.empty():
            self._items.get_nowait()
        self._next = time.monotonic() + SETTLED
        return True

    def close(self) -> None:
        """Watch no more, until it is asked again."""
        for reader in self._readers or ():
            reader.stop()
        self._readers = None
