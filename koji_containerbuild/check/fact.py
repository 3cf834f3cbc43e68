"""What a check found: one fact, and what to run where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from koji_containerbuild.errors import ContainerBuildError

State = Literal["OK", "WRONG", "NOT TRIED"]
WIDTH = len("NOT TRIED")


@dataclass(frozen=True)
class Fact:
    """One line of the report."""

    what: str  # a statement that should be true
    state: State
    said: str = ""  # what was found, or why it was not tried
    mend: str = ""  # of a wrong one: what to run or to write

    def lines(self) -> list[str]:
        """For a terminal.

        >>> Fact("Koji knows the host", "WRONG", "It does not.", "koji add-host b1 x86_64").lines()
        ['WRONG      Koji knows the host: It does not.', '           → koji add-host b1 x86_64']
        """
        head = f"{self.state:<{WIDTH}}  {self.what}"
        return [
            f"{head}: {self.said}" if self.said else head,
            *(f"{'':<{WIDTH}}  → {line}" for line in self.mend.splitlines()),
        ]

    def as_dict(self) -> dict[str, str]:
        """For a program."""
        return asdict(self)


def ok(what: str, said: str = "") -> Fact:
    """It is so."""
    return Fact(what, "OK", said)


def wrong(what: str, said: str, mend: str) -> Fact:
    """It is not so, and this is what to do."""
    return Fact(what, "WRONG", said, mend)


def not_tried(what: str, said: str) -> Fact:
    """It cannot be seen from here, and why."""
    return Fact(what, "NOT TRIED", said)


def tried(what: str, ask: Callable[[], object], mend: str) -> Fact:
    """OK with the text that `ask` gives, if it gives one; WRONG with the error that it raises.

    `mend` is said in place of what the error says is to be done, which is for a packager.
    """
    try:
        said = ask()
    except ContainerBuildError as error:
        return wrong(what, error.what, mend or error.do)
    return ok(what, said if isinstance(said, str) else "")
