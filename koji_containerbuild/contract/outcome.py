"""How one arch ended. Small, since a pod's last words hold 4 KB, and never taken from a log."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Optional

from koji_containerbuild.contract.codec import NotThisRecord, from_json, to_json

LIMIT = 4096  # bytes: a Kubernetes termination message
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Failure:
    """What a user needs to know of a build that did not succeed."""

    stage: str
    cause: str
    hint: str = ""
    instruction: str = ""  # of the Dockerfile, where one failed
    last_lines: str = ""  # of its output


@dataclass(frozen=True)
class Outcome:
    """Exactly one of `report` (it worked) and `failure` is set."""

    arch: str
    image: str = ""  # digest of the image's manifest
    report: str = ""  # digest of the artifact with the ArchImage and the log
    failure: Optional[Failure] = None
    cancelled: bool = False
    log: str = ""  # digest of the artifact with the log of a failed build; empty: not kept

    def to_json(self) -> str:
        """The text, cut so that it fits into LIMIT bytes."""
        text = to_json(self)
        outcome = self
        while len(text.encode()) > LIMIT and outcome.failure:
            outcome = replace(outcome, failure=_shorter(outcome.failure))
            text = to_json(outcome)
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """Raises codec.NotThisRecord, also for what is no end of a build."""
        found = from_json(cls, text)
        if bool(found.report) == bool(found.failure):
            raise NotThisRecord("Outcome has not exactly one of report and failure")
        digests = [found.image, found.report] if found.report else []
        if not all(map(_DIGEST.fullmatch, [*digests, *filter(None, [found.log])])):
            raise NotThisRecord("Outcome has a digest that is none")
        return found


def _shorter(failure: Failure) -> Failure:
    """Cut where it hurts least: the oldest of the last lines, then whatever is longest."""
    if len(failure.last_lines) > 200:
        return replace(failure, last_lines="…" + failure.last_lines[len(failure.last_lines) // 3 :])
    texts = {field.name: getattr(failure, field.name) for field in fields(failure)}
    name = max(texts, key=lambda name: len(texts[name]))
    texts[name] = texts[name][: len(texts[name]) * 2 // 3]
    return Failure(**texts)
