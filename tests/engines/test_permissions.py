"""The Role has what the engine asks for: no verb is missing, and none to spare."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.permissions import KUBERNETES, Permission
from tests.fakes import buildroot_program
from tests.fakes.kubernetes import FakeKubernetes, Refusal
from tests.fakes.kubernetes_node import QUOTA
from tests.fakes.plans import PLAN

PROGRAM = (sys.executable, buildroot_program.__file__)
VERBS = {"GET": "get", "WATCH": "watch", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
Asked = set[tuple[str, str]]  # resource and verb


def verb_of(method: str, name: str) -> str:
    """Source: Kubernetes, Authorization Overview, request verbs."""
    return "list" if method == "GET" and not name else VERBS[method]


def pairs(permissions: tuple[Permission, ...]) -> Asked:
    return {(each.resource, verb) for each in permissions for verb in each.verbs}


@pytest.fixture
def asked(fake_kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is asked from now on. Whatever the Role does not allow is refused."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the stand-in program
    seen: Asked = set()

    def refuse(what: str, name: str) -> Refusal | None:
        method, resource = what.split()
        pair = (resource, verb_of(method, name))
        seen.add(pair)
        words = f'User "koji-builder" cannot {pair[1]} resource "{resource}"'
        return None if pair in pairs(KUBERNETES) else Refusal(403, "Forbidden", words)

    fake_kubernetes.refuse = refuse
    return seen


@pytest.fixture
def engines(fake_kubernetes: FakeKubernetes) -> Iterator[Callable[[], KubernetesEngine]]:
    """One for each process that has to do with a build."""
    made: list[KubernetesEngine] = []

    def another() -> KubernetesEngine:
        made.append(KubernetesEngine("one", fake_kubernetes.config(), PROGRAM))
        return made[-1]

    yield another
    for each in made:
        each.close()


def job(name: str, *script: list[str]) -> Job:
    return Job(name, dataclasses.replace(PLAN, arches=("x86_64",), userdata={"x86_64": script}))


def until(engine: KubernetesEngine, of: Job, what: Callable[[News], object]) -> None:
    deadline = time.monotonic() + 60
    for news in engine.follow(of, 0.05):
        if what(news):
            return
        assert time.monotonic() < deadline
    raise AssertionError("it never came")


def a_build_from_begin_to_end(engines: Callable[[], KubernetesEngine]) -> None:
    engine, one = engines(), job("kcb-1", ["say", "x"])
    engine.start(one)
    until(engine, one, lambda news: news.outcome and not news.outcome.failure)
    assert engine.remove("kcb-1", 20)


def a_build_whose_task_is_started_again(engines: Callable[[], KubernetesEngine]) -> None:
    one = job("kcb-2", ["say", "x"], ["wait", "/no/such/file"])
    engines().start(one)
    adopting = engines()
    adopting.start(one)
    until(adopting, one, lambda news: news.log)


def what_a_sweep_does(engines: Callable[[], KubernetesEngine]) -> None:
    engine = engines()
    assert list(engine.names()) == ["kcb-2"]
    engine.cancel("kcb-2")
    assert engine.remove("kcb-2", 20)


def a_build_that_does_not_start(
    engines: Callable[[], KubernetesEngine], cluster: FakeKubernetes, asked: Asked
) -> None:
    """While the cluster forgets what was, so that all has to be looked at anew."""
    cluster.node.trouble = QUOTA
    engine, one = engines(), job("kcb-3")
    engine.start(one)
    until(engine, one, lambda news: "FailedCreate" in news.note)
    until(engine, one, lambda news: _looked_anew(cluster, asked))
    engine.cancel("kcb-3")


def _looked_anew(cluster: FakeKubernetes, asked: Asked) -> bool:
    """After a change that nobody was told of, and never will be."""
    if ("events", "watch") in asked:
        with cluster.store.changed:
            cluster.node._event("something else", "Pulled", "")
            cluster.store.compact()
    return {("events", "list"), ("pods", "list")} <= asked


def test_an_engine_with_the_role_gets_along_and_uses_every_verb_of_it(
    fake_kubernetes: FakeKubernetes, asked: Asked, engines: Callable[[], KubernetesEngine]
):
    a_build_from_begin_to_end(engines)
    a_build_whose_task_is_started_again(engines)
    what_a_sweep_does(engines)
    a_build_that_does_not_start(engines, fake_kubernetes, asked)
    assert asked == pairs(KUBERNETES)
