"""When it is worth asking clusters again whether there is room, or whether they answer."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Sequence
from typing import Optional

from koji_containerbuild.engines.streams import Change, Died, Health, Item, Reader

# Seconds from a change to the look. A pod's end is known before its job's; and all who wait see
# the same change: they are not to look at the same moment.
SETTLED = (1.0, 4.0)
LOOK = 60.0  # seconds: a cluster with which we have lost touch is asked again


class Room:
    """It begins to watch when it is asked."""

    def __init__(self, changes: Callable[[queue.Queue[Item]], Sequence[Reader]]) -> None:
        """`changes`: what tells of changes, once it is started."""
        self._changes = changes
        self._items: queue.Queue[Item] = queue.Queue(64)
        self._readers: Optional[Sequence[Reader]] = None
        self._changed = self._next = 0.0  # the last change, the next look; of the monotonic clock

    def may_have_changed(self, seconds: float) -> bool:
        """Whether to look now. Waits at most so long."""
        if self._readers is None:
            self._readers = self._changes(self._items)
            for reader in self._readers:
                reader.start()
            self._next = time.monotonic() + LOOK
        try:
            self._note(self._items.get(timeout=seconds) if seconds else self._items.get_nowait())
            while True:
                self._note(self._items.get_nowait())
        except queue.Empty:
            now = time.monotonic()
        if now < self._next:
            return False
        unsettled = now - self._changed < SETTLED[0]
        self._next = now + (_soon() if unsettled else LOOK)
        return True

    def _note(self, item: Item) -> None:
        """Not that a cluster is away: then there is nothing to ask."""
        if isinstance(item.what, Died):
            raise item.what.error
        if isinstance(item.what, Change) or item.what == Health():
            self._changed = time.monotonic()
            self.expect()

    def expect(self) -> None:
        """There is a reason to look soon."""
        self._next = min(self._next, time.monotonic() + _soon())

    def close(self) -> None:
        """Watch no more, until it is asked again."""
        for reader in self._readers or ():
            reader.stop()
        self._readers = None


def _soon() -> float:
    return random.uniform(*SETTLED)  # noqa: S311  no secret in it
