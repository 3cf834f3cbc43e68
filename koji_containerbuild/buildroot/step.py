"""Names and times the stages of a recipe, so that logs and errors say where we are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.contract.image import StageTime
from koji_containerbuild.contract.outcome import Failure
from koji_containerbuild.errors import BuildFailed, ContainerBuildError


class StageFailed(BuildFailed):
    """A stage did not succeed; `failure` is what the user will read."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"Stage '{failure.stage}' failed: {failure.cause}", do=failure.hint)
        self.failure = failure


class InstructionFailed(BuildFailed):
    """An instruction of the Dockerfile did not succeed."""

    def __init__(self, what: str, instruction: str, last_lines: str, *, do: str = "") -> None:
        super().__init__(what, do=do)
        self.instruction = instruction
        self.last_lines = last_lines


class Steps:
    """The stages so far: `with steps("build"): …`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._times: list[StageTime] = []

    @property
    def timeline(self) -> tuple[StageTime, ...]:
        """How long each finished stage took, in order."""
        return tuple(self._times)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Raises StageFailed in place of any error of the stage; a cancel passes through."""
        self._console.event(name, "started")
        begun, when = time.monotonic(), time.time()
        try:
            yield
        except Exception as error:
            self._console.event(name, "failed", text=str(error))
            if isinstance(error, StageFailed):  # of one that ran beside this one
                raise
            raise StageFailed(_failure(name, error)) from error
        seconds = time.monotonic() - begun
        self._times.append(StageTime(name, round(seconds, 3), round(when, 3)))
        self._console.event(name, "done", seconds)


def _failure(stage: str, error: Exception) -> Failure:
    if isinstance(error, InstructionFailed):
        return Failure(stage, error.what, error.do, error.instruction, error.last_lines)
    if isinstance(error, ContainerBuildError):
        return Failure(stage, error.what, error.do)
    if isinstance(error, OSError):
        return Failure(stage, f"{error}.", "Look at the disk and the permissions of the builder.")
    return Failure(stage, f"{type(error).__name__}: {error}", "This is a bug; please report it.")
