"""What becomes of a build when a real cluster does not do what it should."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from tests.cluster.kubernetes_site import PROGRAM, KubernetesSite
from tests.cluster.pods import Pods, until
from tests.fakes.plans import PLAN

pytestmark = pytest.mark.cluster
LINES = b"".join(b"line %d\n" % number for number in range(600))
TOLD_WITHIN = 5.0  # seconds after the cluster has said so itself


@pytest.fixture
def ours(pods: Pods, image: str, tmp_path: Path) -> Iterator[KubernetesSite]:
    site = KubernetesSite(pods, tmp_path)
    yield site
    site.close()


@pytest.fixture
def make(ours: KubernetesSite) -> Iterator[Callable[..., KubernetesEngine]]:
    made: list[KubernetesEngine] = []

    def engine(**keys: Any) -> KubernetesEngine:
        made.append(KubernetesEngine("one", ours.config(**keys), PROGRAM))
        return made[-1]

    yield engine
    for each in made:
        for name in each.names():
            each.cancel(name)
        each.close()


def job(**scripts: list[list[Any]]) -> Job:
    return Job("kcb-1-1", dataclasses.replace(PLAN, arches=tuple(scripts), userdata=scripts))


class Seen:
    def __init__(self, engine: KubernetesEngine, of: Job) -> None:
        self.log = b""
        self.news: list[News] = []
        self.first_note = 0.0  # in seconds since 1970
        engine.start(of)
        for news in engine.follow(of, 0.1):
            self.log += news.log
            self.news.append(news)
            if news.note and not self.first_note:
                self.first_note = time.time()

    @property
    def notes(self) -> list[str]:
        return [news.note for news in self.news if news.note]

    @property
    def outcome(self) -> Outcome:
        (only,) = [news.outcome for news in self.news if news.outcome]
        return only

    @property
    def cause(self) -> str:
        return self.outcome.failure.cause if self.outcome.failure else ""


def only(cluster: Cluster, path: str) -> Any:
    (found,) = cluster.api.call("GET", path)["items"]
    return found


def first_event(pods: Pods, reason: str) -> float:
    """When the cluster has said so first, in seconds since 1970."""
    path = f"/api/v1/namespaces/{pods.namespace}/events"
    found = pods.cluster.api.call("GET", path)["items"]
    times = [each["metadata"]["creationTimestamp"] for each in found if each["reason"] == reason]
    return datetime.fromisoformat(min(times).replace("Z", "+00:00")).timestamp()


def test_a_quiet_build_asks_five_questions(
    make: Callable[..., KubernetesEngine], ours: KubernetesSite
):
    """As the apiserver's own audit log counts them."""
    engine, one = make(), job(x86_64=[["say", "x"], ["talk", 10, 3]])
    assert Seen(engine, one).outcome.report
    assert engine.remove(one.name, 0)

    def asked() -> list[str]:
        found = []
        for each in ours.pods.cluster.requests():
            about = each.get("objectRef", {})
            if about.get("namespace") == ours.pods.namespace:
                sub = f"/{about['subresource']}" if about.get("subresource") else ""
                found.append(f"{each['verb']} {about['resource']}{sub}")
        return sorted(each for each in found if not each.endswith("serviceaccounts"))

    until("the watch has ended", lambda: "watch pods" in asked())
    about_us = [each for each in asked() if "namespaces" not in each]
    slow = ("get jobs", "watch events")  # on a busy machine a pod needs seconds to start
    assert [each for each in about_us if each not in slow] == [
        "create jobs", "create secrets", "delete jobs", "get pods/log", "watch pods",
    ]  # fmt: skip
    assert len(about_us) <= 12


def test_an_arch_without_a_node_is_told_soon_and_is_an_error_later(
    make: Callable[..., KubernetesEngine], ours: KubernetesSite
):
    seen = Seen(make(start_seconds=8), job(aarch64=[]))
    assert seen.notes[0].startswith("Unschedulable: 0/1 nodes are available")
    assert seen.first_note - first_event(ours.pods, "FailedScheduling") < TOLD_WITHIN
    assert "0/1 nodes are available" in seen.cause


def test_a_quota_is_told_soon_and_is_an_error_later(
    make: Callable[..., KubernetesEngine], ours: KubernetesSite
):
    path = f"/api/v1/namespaces/{ours.pods.namespace}/resourcequotas"
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    ours.pods.cluster.api.call("POST", path, quota)
    until("the quota counts", lambda: "hard" in only(ours.pods.cluster, path)["status"])
    seen = Seen(make(start_seconds=10), job(x86_64=[]))
    assert "exceeded quota: none" in seen.notes[0]
    assert seen.first_note - first_event(ours.pods, "FailedCreate") < TOLD_WITHIN
    assert "exceeded quota: none" in seen.cause


def test_a_build_that_uses_too_much_memory_is_told_so(make: Callable[..., KubernetesEngine]):
    seen = Seen(make(memory_limit="64Mi"), job(x86_64=[["say", "x"], ["eat"]]))
    assert "OOMKilled" in seen.cause
