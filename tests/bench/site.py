"""What is measured: the devstack, with a package and a repository of the bench's own in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.devstack.git_server import Commit
from koji_containerbuild.devstack.stack import Stack

PACKAGE = "bench-container"
BASE = "demo/base:1"
LABELS = f'LABEL com.redhat.component="{PACKAGE}" name="demo/bench" version="1"\n'
MARK = b"bench-asleep"  # a line of log: the RUN that follows only waits
STEPS = 5  # RUN instructions in each Dockerfile


@dataclass(frozen=True)
class Site:
    """A devstack that is up."""

    stack: Stack
    runs: int
    quick: bool

    @property
    def seconds_asleep(self) -> int:
        """Of all RUN steps of the long build together."""
        return 10 if self.quick else 30

    @property
    def at_once(self) -> int:
        """Builds, where there are to be many."""
        return 10 if self.quick else 20

    @property
    def base(self) -> str:
        """The base image by its full name."""
        return f"{self.stack.addresses.registry}/{BASE}"

    def commit(self, name: str, dockerfile: str) -> Commit:
        """The Dockerfile, in dist-git."""
        git, files = self.stack.git, {"Dockerfile": dockerfile}
        where = f"container/bench-{name}"
        return git.commit(where, files) if git.head(where) else git.create(where, files)

    def context(self, name: str, dockerfile: str) -> Path:
        """The same Dockerfile in a folder, for buildah alone: FROM by its full name."""
        folder = self.stack.places.state / "bench" / name
        folder.mkdir(parents=True, exist_ok=True)
        text = dockerfile.replace(f"FROM {BASE}", f"FROM {self.base}")
        (folder / "Dockerfile").write_text(text)
        return folder


def small() -> str:
    """Five RUN steps that do next to nothing."""
    return _dockerfile("echo {step} > /step-{step}")


def long(seconds: int) -> str:
    """Five RUN steps that sleep so long in all."""
    return _dockerfile(f"sleep {seconds / STEPS:g} && echo {{step}} > /step-{{step}}")


def asleep(seconds: int) -> str:
    """One RUN step that waits, once it has said so."""
    return f"FROM {BASE}\n{LABELS}RUN echo {MARK.decode()}; sleep {seconds}\n"


def talking(lines: int, pause: float) -> str:
    """Lines of log, each with the machine's uptime (in 1/100 s) when it was written."""
    return f"FROM {BASE}\n{LABELS}RUN {words(lines, pause)}\n"


def words(lines: int, pause: float) -> str:
    """What a shell does for that."""
    loop = "while [ $i -lt {lines} ]; do read up idle < /proc/uptime; echo bench-line $i $up; "
    step = loop + "i=$((i + 1)); sleep {pause}; done"
    return f"i=0; {step.format(lines=lines, pause=pause)}"


def _dockerfile(step: str) -> str:
    runs = "".join(f"RUN {step.format(step=number)}\n" for number in range(STEPS))
    return f"FROM {BASE}\n{LABELS}{runs}"
