"""When a build that waits looks again whether there is room."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence

import pytest

from koji_containerbuild.engines import room
from koji_containerbuild.engines.room import Room
from koji_containerbuild.engines.streams import Change, Died, Health, Item, Reader
from koji_containerbuild.errors import ServiceError


class Told:
    """A room that is told what a test wants."""

    def __init__(self) -> None:
        self._items: queue.Queue[Item] = queue.Queue()
        self.room = Room(self._begin)
        self.room.may_have_changed(0)

    def _begin(self, items: queue.Queue[Item]) -> Sequence[Reader]:
        self._items = items
        return ()

    def tell(self, what: object) -> None:
        self._items.put(Item(None, what))  # type: ignore[arg-type]  # nobody asks by whom

    def looks(self, seconds: float) -> int:
        """How often somebody who asks all the time would look, in so many seconds."""
        end, looks = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            looks += self.room.may_have_changed(0.01)
        return looks


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(room, "SETTLED", (0.2, 0.4))
    return Told()


def test_while_nothing_is_told_nobody_looks(told: Told):
    assert told.looks(0.6) == 0


def test_that_a_cluster_is_away_is_no_reason_to_look(told: Told):
    told.tell(Health(ServiceError("It cannot be reached.")))
    assert told.looks(0.6) == 0


@pytest.mark.parametrize("what", [Change("MODIFIED"), Health()])
def test_a_change_is_looked_at_once_when_it_has_settled(told: Told, what: object):
    """That a cluster answers again is one, too."""
    told.tell(what)
    assert told.looks(0.15) == 0
    assert told.looks(0.6) == 1


def test_a_change_that_has_not_settled_at_a_look_is_looked_at_again(told: Told):
    told.tell(Change("MODIFIED"))
    while not told.looks(0.01):
        told.tell(Change("MODIFIED"))
    assert told.looks(0.6) == 1


def test_an_error_of_a_reader_is_an_error_here(told: Told):
    told.tell(Died(ValueError("odd")))
    with pytest.raises(ValueError, match="odd"):
        told.looks(0.1)
