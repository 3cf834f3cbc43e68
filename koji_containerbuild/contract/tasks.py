"""What a buildContainer task leaves in Koji: its result, and the names of its output files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from koji_containerbuild.contract.preview import Preview

TASK_LOG = "osbs-build.log"  # what the task does, and how each arch comes along; the old name
WARNINGS_LOG = "user_warnings.log"
DRY_RUN_LOG = "dry-run.log"
PLAN_FILE = "plan.json"
METADATA_FILE = "metadata.json"
CHANGES_LOG = "changes.log"  # since the previous build, and against the parent
CHANGES_FILE = "changes.json"
TIMELINE_LOG = "timeline.log"  # when each stage ran
TIMELINE_FILE = "timeline.json"


def arch_log(arch: str) -> str:
    """The log of one arch, live and complete."""
    return f"{arch}.log"


def build_log(arch: str) -> str:
    """The raw output of the image builder for one arch; a log of the Koji build."""
    return f"{arch}-build.log"


def warning_lines(warnings: Iterable[str]) -> str:
    """Text of WARNINGS_LOG, or a part of it: one line each, none twice."""
    return "".join(f"{' '.join(text.split())}\n" for text in sorted(set(warnings)))


@dataclass(frozen=True)
class BuildResult:
    """The result of the task, in the shape that Koji's clients have always read."""

    repositories: tuple[str, ...]
    koji_builds: tuple[str, ...]  # ids as text: some clients put them on a command line
    user_warnings: tuple[str, ...] = ()
    dry_run: Optional[Preview] = None  # what would be built; set if nothing was

    def answer(self) -> dict[str, Any]:
        """As it goes over the wire. `user_warnings` is there only if there are any."""
        result: dict[str, Any] = {
            "repositories": list(self.repositories),
            "koji_builds": list(self.koji_builds),
        }
        if self.user_warnings:
            result["user_warnings"] = sorted(set(self.user_warnings))
        if self.dry_run:
            result["dry_run"] = self.dry_run.to_dict()
        return result
