"""The baseline: `buildah bud` and `buildah push` of the same Dockerfile with the same flags."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.config import load
from koji_containerbuild.devstack.process import run_program
from tests.bench.site import Site

IMAGE = "localhost/bench:raw"


@dataclass(frozen=True)
class RawTimes:
    """Seconds of one build."""

    pull: float  # of a parent that is there already
    bud: float
    push: float

    @property
    def build(self) -> float:
        """What our task is compared with."""
        return self.bud + self.push


class Raw:
    """buildah with a store of its own beside ours, on the same disk."""

    def __init__(self, site: Site) -> None:
        self._site = site
        settings = load(site.stack.places.builder_conf).buildroot
        root = site.stack.places.state / "bench" / "containers"
        self._base = [
            "buildah", "--root", str(root), "--runroot", f"{root}.run",
            "--storage-driver", settings.driver,
        ]  # fmt: skip
        self._flags = [
            "--isolation", settings.isolation, "--runtime", settings.runtime or _runtime(),
            "--network", settings.network, "--pull-never", "--no-cache", "--format", "docker",
            "--identity-label=false",
        ]  # fmt: skip
        self._to = f"docker://{site.stack.addresses.registry}/bench/raw"
        self.pull()

    def pull(self) -> float:
        """Have the parent, or see that it is there."""
        return self._timed("pull", "-q", "--tls-verify=false", self._site.base)

    def build(self, context: Path) -> RawTimes:
        """Build and push; new layers each time, as the files' times are the build's."""
        pull = self.pull()
        bud = self._timed(*self._bud(context))
        to = f"{self._to}:{time.time_ns()}"
        push = self._timed("push", "-q", "--format", "v2s2", "--tls-verify=false", IMAGE, to)
        self._timed("rmi", "--force", IMAGE)
        return RawTimes(pull, bud, push)

    @contextmanager
    def talking(self, context: Path) -> Iterator[Iterator[bytes]]:
        """Lines of a build as they come."""
        command = [*self._base, *self._bud(context)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bud:
            assert bud.stdout
            yield iter(bud.stdout.readline, b"")

    def _bud(self, context: Path) -> list[str]:
        now = str(int(time.time()))
        return ["bud", *self._flags, "--timestamp", now, "--tag", IMAGE, str(context)]

    def _timed(self, *words: str) -> float:
        begun = time.monotonic()
        run_program([*self._base, *words], env={"TMPDIR": "/var/tmp"})
        return time.monotonic() - begun


def _runtime() -> str:
    """The one that our builds take (buildroot/buildah.py)."""
    mixed = os.path.exists("/sys/fs/cgroup/unified")
    names = ("runc", "crun") if mixed else ("crun", "runc")
    return next(path for name in names if (path := shutil.which(name)))
