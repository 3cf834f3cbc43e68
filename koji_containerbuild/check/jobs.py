"""Does a namespace take the Jobs of builds? A dry run: the cluster judges one, and keeps nothing.

Quotas, LimitRanges and most policies judge the Job. Pod Security refuses pods, which a dry run of a
Job does not make; but it warns of the Job, in a header of the answer, where the namespace's warn
level is as strict as the one that it enforces. By default it is, from Kubernetes 1.26 on.
"""

from __future__ import annotations

import http.client
import re
from typing import Any

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.check.section import PATIENCE, Section
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan, Destination, Limits, Source
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.rules.nvr import NVR

NAME = "koji-containerbuild-check"
# Labels of the namespace, as fedora-infra has them.
POD_SECURITY = (
    "pod-security.kubernetes.io/enforce=privileged pod-security.kubernetes.io/warn=privileged"
)
_TEXT = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')  # of a Warning header, RFC 7234, 5.5


def takes_jobs(section: Section, seconds: int, may: bool) -> Fact:
    """`seconds`: the longest build; `may`: whether the builder may make Jobs at all."""
    namespace = section.cluster.namespace
    what = section.of(f"the namespace {namespace} takes Jobs")
    if not may:
        return not_tried(what, "The builder may not make any, see above.")
    api = _Listening(section.name, section.cluster)
    try:
        path = api.path("batch/v1", "jobs")
        api.call("POST", path, _job(section, seconds), {"dryRun": "All"}, patience=PATIENCE)
    except ApiError as error:
        return _refused(section, what, error)
    finally:
        api.close()
    refusals = [text for text in api.warnings if "violate PodSecurity" in text]
    if refusals:
        labels = f"{namespace} --overwrite {POD_SECURITY}"
        mend = f"As an admin: {section.client} label namespace {labels}"
        return wrong(what, f"Its pods may be refused: {refusals[0]}.", mend)
    warned = "".join(f"; the cluster warns: {text}" for text in api.warnings)
    return ok(what, f"by a dry run, which tells of Pod Security where it warns{warned}")


def _refused(section: Section, what: str, error: ApiError) -> Fact:
    """Whatever the status is: builds get it, too."""
    if "not support dry run" in error.what:  # a webhook; it may take the real one
        return not_tried(what, error.what)
    if error.status == 0:
        return wrong(what, error.what, error.do)
    if error.status == 404:
        return wrong(what, error.what, section.apply("10-namespace.yaml"))
    if "exceeded quota" in error.what:
        mend = section.apply("40-limits.yaml")
        return wrong(what, error.what, f"{mend}, with more in it\nor wait for builds to end")
    namespace = section.cluster.namespace
    mend = f"Have the policy that the cluster names allow the Jobs of the namespace {namespace}."
    return wrong(what, error.what, mend)


def _job(section: Section, seconds: int) -> dict[str, Any]:
    """As the engine makes it, of a plan of nothing."""
    arch = section.cluster.arches[0]
    plan = BuildPlan(
        nvr=NVR(NAME, "0", "0"),
        scratch=True,
        isolated=False,
        source=Source("", "", "", "", ""),
        arches=(arch,),
        parents=(),
        repos=(),
        labels={},
        destination=Destination("", "", "", ()),
        limits=Limits(seconds),
        created=0,
    )
    return objects.job(objects.Run(NAME, arch), plan, NAME, section.cluster)


class _Listening(Api):
    """Hears what a cluster says beside its answers."""

    def __init__(self, name: str, cluster: ClusterConfig) -> None:
        super().__init__(name, cluster)
        self.warnings: list[str] = []

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        heard = self.warnings

        class Response(http.client.HTTPResponse):
            def begin(self) -> None:
                super().begin()
                for header in self.headers.get_all("Warning", ()):
                    heard.extend(warning_texts(header))

        connection = super()._connect(seconds)
        connection.response_class = Response
        return connection


def warning_texts(header: str) -> list[str]:
    r"""
    >>> warning_texts('299 - "would violate PodSecurity \\"restricted:latest\\": host"')
    ['would violate PodSecurity "restricted:latest": host']
    """
    return [re.sub(r"\\(.)", r"\1", text) for text in _TEXT.findall(header)]
