"""Builds by Koji that go on in the cluster until they are told otherwise, and what is there of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack import process
from koji_containerbuild.devstack.cluster.cluster import OPENSHIFT
from koji_containerbuild.devstack.cluster.site import NAMESPACE, KojiSite
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.build_objects import BUILD
from tests.cluster.pods import until
from tests.stack.builds import Asked, Builds, Source
from tests.stack.hanging import Switch

BUILDER = f"system:serviceaccount:{NAMESPACE}:koji-builder"
LONG = 120.0  # seconds: the machine may be busy

# Counts aloud for as long as it is told to hang.
COUNTING = """\
FROM demo/base:1
@LABELS@
RUN i=0; while [ "$(wget -q -O - {url})" = hang ]; do \\
      i=$((i+1)); echo "count $i"; usleep 200000; done; echo "counted $i"
"""


class RunningBuild:
    """A build that has begun to run in the cluster."""

    def __init__(self, site: KojiSite, builds: Builds, source: Source, words: bytes) -> None:
        """`words`: of the log that say that it has begun."""
        self.site = site
        self.source = source
        self.nvr = f"{source.component}-1-1"
        self._builds = builds
        self._asked_before = len(site.cluster.requests(BUILDER))
        self.asked: Asked = builds.start(source)
        self.task = self.asked.task
        self.asked.wait_for(words, LONG)
        (self.pod,) = self.pods()

    @classmethod
    def counting(cls, site: KojiSite, builds: Builds, switch: Switch) -> RunningBuild:
        """It counts."""
        source = builds.source(COUNTING.format(url=switch.url))
        return cls(site, builds, source, b"\ncount 3\n")

    # -- in the cluster

    def jobs(self) -> list[str]:
        """Names of the Jobs or Builds."""
        return [found["metadata"]["name"] for found in self._objects()]

    def pods(self) -> list[str]:
        """Uids."""
        builds = self.jobs()
        return [
            pod["metadata"]["uid"]
            for pod in self._list("api/v1", "pods")
            if self._is_ours(pod) or _labels(pod).get(BUILD, "nobody's") in builds
        ]

    def its_pod(self) -> dict[str, Any]:
        """The one that it began in."""
        (found,) = [
            pod for pod in self._list("api/v1", "pods") if pod["metadata"]["uid"] == self.pod
        ]
        return found

    def left(self) -> list[str]:
        """All that there is of it, by kind and name."""
        secrets = [each for each in self._list("api/v1", "secrets") if self._is_ours(each)]
        names = [f"secret {each['metadata']['name']}" for each in secrets]
        return [
            *names,
            *(f"job {name}" for name in self.jobs()),
            *(f"pod {u}" for u in self.pods()),
        ]

    def begun(self) -> int:
        """How many Jobs or Builds were made since it was asked for."""
        return sum(
            one["verb"] == "create"
            and one["objectRef"]["resource"] in ("jobs", "buildconfigs")
            and one["responseStatus"]["code"] == 201
            for one in self.site.cluster.requests(BUILDER)[self._asked_before :]
        )

    def _objects(self) -> list[dict[str, Any]]:
        found = self._list("apis/batch/v1", "jobs")
        if self._has_openshift():
            found += self._list("apis/build.openshift.io/v1", "builds")
        return [each for each in found if self._is_ours(each)]

    def _has_openshift(self) -> bool:
        """It may have been there before: the cluster knows the group of an emulation that ended."""
        return process.running(self.site.cluster.places.run, OPENSHIFT) is not None

    def _is_ours(self, found: Mapping[str, Any]) -> bool:
        return _labels(found).get(objects.JOB, "").endswith(f"-{self.task}")

    def _list(self, group: str, kind: str) -> list[dict[str, Any]]:
        path = f"/{group}/namespaces/{NAMESPACE}/{kind}"
        return list(self.site.cluster.api.call("GET", path)["items"])

    # -- in Koji

    def counted(self) -> int:
        """How far the log on the hub has come."""
        return max((int(n) for n in re.findall(rb"\ncount (\d+)\n", self.asked.log())), default=0)

    def goes_on(self) -> None:
        """Until somebody brings more of its log to the hub than there is now."""
        now = self.counted()
        until("its log goes on", lambda: self.counted() > now + 2, LONG)

    def known_here(self) -> list[Path]:
        """What the builder host knows of it."""
        folder = self.site.stack.places.state / "builder" / "tasks"
        return list(folder.glob(f"kcb-*-{self.task}"))

    def sweep(self) -> None:
        """Another task on the same builder, which does not build anything."""
        done = self._builds.build("FROM demo/base:1\n@LABELS@\n", dry_run=True)
        assert done.state == "CLOSED", done.fault


def assert_one_whole_build(running: RunningBuild, builds: Builds, switch: Switch) -> None:
    """It ends well: built once, in one pod, and with every line of its log once."""
    assert running.pods() == [running.pod]
    switch.answer = "go on"
    assert_ended_as_one(running, builds)


def assert_ended_as_one(running: RunningBuild, builds: Builds) -> None:
    """The same of a build that has been told to go on."""
    built = running.asked.done(LONG)
    assert built.state == "CLOSED", built.fault
    assert built.nvr == running.nvr
    assert running.begun() == 1
    found = builds.session.listBuilds(
        packageID=builds.session.getPackageID(running.source.component)
    )
    assert [build["nvr"] for build in found] == [running.nvr]
    (row,) = [row for row in builds.session.getBuildLogs(built.nvr) if row["name"] == "x86_64.log"]
    kept = (running.site.stack.places.topdir / row["path"]).read_bytes()
    for text in (kept, running.asked.log()):
        counts = [int(number) for number in re.findall(rb"\ncount (\d+)(?=\n)", text)]
        assert counts == list(range(1, counts[-1] + 1))
        assert text.count(f"\ncounted {counts[-1]}\n".encode()) == 1
    assert running.asked.log().startswith(kept)
    told = running.asked.log("osbs-build.log").splitlines()
    assert len(told) == len(set(told))
    until("nothing is left of it in the cluster", lambda: not running.left(), LONG)


def _labels(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}
