"""Ask the devstack's Koji for container builds, and hold what became of them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import koji

from koji_containerbuild.devstack.git_server import Commit
from koji_containerbuild.devstack.seed import TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.stack.images import Image

ENDED = tuple(koji.TASK_STATES[name] for name in ("CLOSED", "CANCELED", "FAILED"))
_numbers = itertools.count(1)
_run = f"{os.getpid():x}{int(time.time()):x}"  # of this run of the tests


def wait_until(what: Callable[[], Any], seconds: float, pause: float = 0.05) -> Any:
    """The first true answer; AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)
    return answer


def unique_name(begin: str) -> str:
    """A name that no run of the tests has had."""
    return f"{begin}{next(_numbers)}-{_run}"


@contextmanager
def configured(stack: Stack, text: str) -> Iterator[None]:
    """More lines in builder.conf, which each task reads anew."""
    path = stack.places.builder_conf
    before = path.read_text()
    path.write_text(f"{before}\n{text}\n")
    try:
        yield
    finally:
        path.write_text(before)


@dataclass(frozen=True)
class Source:
    """A dist-git repository with one image's sources."""

    name: str  # demo/<name> in the registry, container/<name> in dist-git
    component: str  # the Koji package
    commit: Commit


@dataclass(frozen=True)
class Built:
    """A task that has ended, and what it left."""

    task: int
    state: str
    result: dict[str, Any] | None
    fault: str
    outputs: tuple[str, ...]
    build: dict[str, Any] | None
    seconds: float  # from the request to the end, by the hub's clock

    @property
    def nvr(self) -> str:
        assert self.build, f"no build; task {self.task}: {self.fault}"
        return self.build["nvr"]

    @property
    def release(self) -> str:
        assert self.build, f"no build; task {self.task}: {self.fault}"
        return self.build["release"]


class Asked:
    """A task that was asked for, and may run still."""

    def __init__(self, builds: Builds, task: int) -> None:
        self.task = task
        self._builds = builds

    @property
    def session(self) -> Any:
        return self._builds.session

    def log(self, name: str = "x86_64.log") -> bytes:
        """What is there of an output file; empty if there is none yet."""
        if name not in self.session.listTaskOutput(self.task):
            return b""
        return self._builds.output(self.task, name)

    def wait_for(self, words: bytes, seconds: float = 30) -> None:
        """Until the arch's log has these words."""
        wait_until(lambda: words in self.log() or self._ended(), seconds)
        assert words in self.log(), self.done().fault

    def _ended(self) -> bool:
        return self.session.getTaskInfo(self.task)["state"] in ENDED

    def done(self, seconds: float = 90) -> Built:
        """The task's end."""
        wait_until(self._ended, seconds)
        info = self.session.getTaskInfo(self.task)
        state = koji.TASK_STATES[info["state"]]
        closed = state == "CLOSED"
        asked = state != "CANCELED"  # then Koji has no result
        result = self.session.getTaskResult(self.task, raise_fault=False) if asked else {}
        ids = result.get("koji_builds") or () if closed else ()
        return Built(
            task=self.task,
            state=state,
            result=result if closed else None,
            fault="" if closed else str(result.get("faultString", "")),
            outputs=tuple(sorted(self.session.listTaskOutput(self.task))),
            build=self.session.getBuild(int(ids[0])) if ids else None,
            seconds=(info["completion_ts"] or 0) - info["create_ts"],
        )


class Builds:
    """Container builds of one devstack. Each repository has a package of its own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.session = stack.session()

    def source(
        self,
        dockerfile: str,
        files: Mapping[str, str | bytes] | None = None,
        *,
        listed: bool = True,
        version: str = "1",
    ) -> Source:
        """A repository. `@LABELS@` in the Dockerfile becomes the labels that every image needs."""
        name = unique_name("t")
        component = f"{name}-container"
        labels = f'LABEL com.redhat.component="{component}" name="demo/{name}" version="{version}"'
        text = dockerfile.replace("@LABELS@", labels).replace("@NAME@", name)
        commit = self.stack.git.create(f"container/{name}", {"Dockerfile": text, **(files or {})})
        if listed:
            self.stack.admin.add_package(component)
        return Source(name, component, commit)

    def change(self, source: Source, files: Mapping[str, str | bytes | None]) -> Source:
        """One more commit."""
        commit = self.stack.git.commit(f"container/{source.name}", files)
        return Source(source.name, source.component, commit)

    def start(self, source: Source | str, target: str = TARGET, **opts: Any) -> Asked:
        """Ask for a build, as the packager."""
        url = source if isinstance(source, str) else source.commit.source
        opts = {"git_branch": "f43", **opts}
        return Asked(self, self.session.buildContainer(url, target, opts))

    def build(
        self,
        dockerfile: str,
        files: Mapping[str, str | bytes] | None = None,
        **opts: Any,
    ) -> Built:
        """Make a repository, build from it, wait."""
        return self.start(self.source(dockerfile, files), **opts).done()

    def good(
        self, dockerfile: str, files: Mapping[str, str | bytes] | None = None, **opts: Any
    ) -> Built:
        """A build that must work."""
        made = self.build(dockerfile, files, **opts)
        assert made.state == "CLOSED", made.fault
        return made

    def image(self, built: Built) -> Image:
        """The image in the registry, by the digest that the task told."""
        assert built.result, built.fault
        return Image.pull(built.result["repositories"][1])

    def output(self, task: int, name: str) -> bytes:
        """The whole of a task's output file."""
        parts = []
        offset = 0
        while part := self.session.downloadTaskOutput(task, name, offset=offset, size=4 << 20):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def tasks(self) -> int:
        """How many container builds were ever asked for."""
        return self.session.listTasks({"method": "buildContainer"}, {"countOnly": True})

    def building(self) -> list[str]:
        """Builds of this run that Koji thinks are not finished."""
        rows = self.session.listBuilds(state=koji.BUILD_STATES["BUILDING"])
        return [row["nvr"] for row in rows if _run in row["nvr"]]

    def state_of(self, nvr: str) -> str:
        """The build's state in words."""
        return koji.BUILD_STATES[self.session.getBuild(nvr, strict=True)["state"]]
