"""The Roles have what the engines ask for: no verb is missing, and none to spare."""

from __future__ import annotations

import dataclasses
import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Union

import pytest

from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.openshift import OpenShiftEngine
from koji_containerbuild.engines.permissions import OF_ENGINE, Permission
from koji_containerbuild.engines.streams import Change, Item
from tests.fakes import buildroot_program
from tests.fakes.kubernetes import FakeKubernetes, Refusal
from tests.fakes.kubernetes_node import QUOTA
from tests.fakes.plans import PLAN

PROGRAM = (sys.executable, buildroot_program.__file__)
VERBS = {"GET": "get", "WATCH": "watch", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
Asked = set[tuple[str, str]]  # resource and verb
ADMISSION = {("builds/custom", "create")}  # nobody asks for that: OpenShift looks whether we may


def verb_of(method: str, name: str) -> str:
    """Source: Kubernetes, Authorization Overview, request verbs."""
    return "list" if method == "GET" and not name else VERBS[method]


def pairs(permissions: tuple[Permission, ...]) -> Asked:
    return {(each.resource, verb) for each in permissions for verb in each.verbs}


@dataclasses.dataclass(frozen=True)
class Place:
    """A cluster that holds us to the Role, and an engine for each process of ours."""

    cluster: FakeKubernetes
    engine: Callable[[], Engine]
    needed: Asked
    asked: Asked


Engine = Union[KubernetesEngine, OpenShiftEngine]


@pytest.fixture(params=["kubernetes", "openshift"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the stand-in program
    cluster: FakeKubernetes = request.getfixturevalue(f"fake_{request.param}")
    needed = pairs(OF_ENGINE[request.param]) - ADMISSION
    asked: Asked = set()
    made: list[Engine] = []

    def refuse(what: str, name: str) -> Refusal | None:
        method, resource = what.split()
        pair = (resource, verb_of(method, name))
        asked.add(pair)
        words = f'User "koji-builder" cannot {pair[1]} resource "{resource}"'
        return None if pair in needed else Refusal(403, "Forbidden", words)

    def another() -> Engine:
        if request.param == "kubernetes":
            made.append(KubernetesEngine("one", cluster.config(), PROGRAM))
        else:
            made.append(OpenShiftEngine("one", cluster.config()))
        return made[-1]

    cluster.refuse = refuse
    yield Place(cluster, another, needed, asked)
    for each in made:
        each.close()


def job(name: str, *script: list[str]) -> Job:
    return Job(name, dataclasses.replace(PLAN, arches=("x86_64",), userdata={"x86_64": script}))


def until(engine: Engine, of: Job, what: Callable[[News], object]) -> None:
    deadline = time.monotonic() + 60
    for news in engine.follow(of, 0.05):
        if what(news):
            return
        assert time.monotonic() < deadline
    raise AssertionError("it never came")


def a_build_from_begin_to_end(place: Place) -> None:
    engine, one = place.engine(), job("kcb-1", ["say", "x"])
    engine.start(one)
    until(engine, one, lambda news: news.outcome and not news.outcome.failure)
    assert engine.remove("kcb-1", 20)


def a_build_whose_task_is_started_again(place: Place) -> None:
    one = job("kcb-2", ["say", "x"], ["wait", "/no/such/file"])
    place.engine().start(one)
    adopting = place.engine()
    adopting.start(one)
    until(adopting, one, lambda news: news.log)


def what_a_sweep_does(place: Place) -> None:
    engine = place.engine()
    assert list(engine.names()) == ["kcb-2"]
    engine.cancel("kcb-2")
    assert engine.remove("kcb-2", 20)


def a_build_that_waits_for_room(place: Place) -> None:
    engine, one = place.engine(), job("kcb-4", ["say", "x"], ["wait", "/no/such/file"])
    engine.start(one)
    assert engine.busy() == 1
    assert list(engine.adopt(one, ["x86_64"])) == ["x86_64"]
    items: queue.Queue[Item] = queue.Queue()
    watch = engine.changes(items)
    watch.start()
    while not isinstance(items.get(timeout=20).what, Change):
        continue
    watch.stop()
    engine.cancel("kcb-4")
    assert engine.remove("kcb-4", 20)


def a_build_that_does_not_start(place: Place) -> None:
    """While the cluster forgets what was, so that all has to be looked at anew."""
    place.cluster.node.trouble = QUOTA
    engine, one = place.engine(), job("kcb-3")
    engine.start(one)
    until(engine, one, lambda news: "quota" in news.note)
    until(engine, one, lambda news: looked_anew(place))
    engine.cancel("kcb-3")


def looked_anew(place: Place) -> bool:
    """After a change that nobody was told of, and never will be."""
    if ("events", "watch") in place.asked:
        with place.cluster.store.changed:
            place.cluster.node._event({"name": "else", "uid": "else"}, "Pulled", "")
            place.cluster.store.compact()
    return {("events", "list"), ("pods", "list")} <= place.asked


def test_an_engine_with_the_role_gets_along_and_uses_every_verb_of_it(place: Place):
    a_build_from_begin_to_end(place)
    a_build_whose_task_is_started_again(place)
    what_a_sweep_does(place)
    a_build_that_waits_for_room(place)
    a_build_that_does_not_start(place)
    assert place.asked == place.needed
