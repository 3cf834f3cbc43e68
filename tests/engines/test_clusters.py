"""Which of several clusters builds what, and what becomes of it where they are full or away."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.config import Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.engines import placement, room
from koji_containerbuild.engines.base import Engine, Job, News
from koji_containerbuild.engines.choose import choose
from koji_containerbuild.engines.clusters import Clusters
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.openshift import OpenShiftEngine
from koji_containerbuild.engines.streams import Watch
from koji_containerbuild.errors import ConfigError, ServiceError
from tests.cluster.pods import until
from tests.fakes import buildroot_program
from tests.fakes.engine import sent
from tests.fakes.kubernetes import FakeKubernetes, Refusal
from tests.fakes.openshift import FakeOpenShift
from tests.fakes.plans import PLAN

BEAT = 0.05
PROGRAM = (sys.executable, buildroot_program.__file__)


def job(name: str = "kcb-1-1", **scripts: list[list[Any]]) -> Job:
    return Job(name, dataclasses.replace(PLAN, arches=tuple(scripts), userdata=scripts))


def fresh(name: str = "kcb-1-1", **scripts: list[list[Any]]) -> Job:
    return dataclasses.replace(job(name, **scripts), fresh=True)


def ends(engine: Engine, of: Job) -> dict[str, Outcome]:
    return {news.arch: news.outcome for news in engine.follow(of, BEAT) if news.outcome}


class Site:
    """Two clusters: `one` has x86_64, `two` has it, too, and aarch64."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = (self._cluster(folder / name) for name in ("one", "two"))
        self.engines: list[Clusters] = []

    @staticmethod
    def _cluster(folder: Path) -> FakeKubernetes:
        folder.mkdir()
        return FakeKubernetes(folder)

    def engine(
        self,
        one: dict[str, Any] = {},  # noqa: B006
        two: dict[str, Any] = {},  # noqa: B006
        patience: float = 5.0,
    ) -> Clusters:
        """As a task has it: another task, another engine."""
        one = {"arches": ("x86_64",), **one}
        made = Clusters(
            [
                KubernetesEngine("one", self.one.config(**one), PROGRAM, patience),
                KubernetesEngine("two", self.two.config(**two), PROGRAM, patience),
            ]
        )
        self.engines.append(made)
        return made

    def pods(self) -> tuple[int, int]:
        return self.one.node.made, self.two.node.made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for engine in made.engines:
        engine.close()
    made.one.close()
    made.two.close()


def test_an_arch_goes_to_the_first_cluster_that_has_it(site: Site):
    engine = site.engine()
    both = job(x86_64=[["say", "here"]], aarch64=[["say", "there"]])
    engine.start(both)
    assert site.pods() == (1, 1)
    news = list(engine.follow(both, BEAT))
    assert {n.arch: n.log for n in news if n.log} == {"x86_64": b"here", "aarch64": b"there"}
    assert sorted(n.arch for n in news if n.outcome and n.outcome.report) == ["aarch64", "x86_64"]
    assert engine.remove("kcb-1-1", 5)
    assert list(engine.names()) == []


def test_a_drained_cluster_takes_nothing_new_and_what_runs_is_followed(site: Site, tmp_path: Path):
    running = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    site.engine().start(running)
    engine = site.engine(one={"drained": True})
    engine.start(running)
    engine.start(job("kcb-1-2", x86_64=[]))
    assert site.pods() == (1, 1)
    (tmp_path / "go").touch()
    assert ends(engine, running)["x86_64"].report


def test_only_drained_clusters_are_named_as_what_is_lacking(site: Site):
    engine = site.engine(two={"drained": True})
    assert engine.lacks("x86_64", runs=True) == ""
    assert engine.lacks("aarch64", runs=False) == (
        "a cluster for aarch64 that takes builds (two: drained)"
    )
    assert engine.lacks("s390x", runs=True) == "a cluster with nodes of s390x"
    assert engine.arches == ("x86_64",)


def test_a_full_cluster_is_passed_over(site: Site):
    engine = site.engine(one={"max_builds": 1})
    first = job(x86_64=[["wait", "/no/such/file"]])
    engine.start(first)
    engine.start(job("kcb-1-2", x86_64=[]))
    assert site.pods() == (1, 1)
    engine.cancel("kcb-1-1")


def test_where_all_are_full_the_user_is_told_and_the_build_begins_when_there_is_room(
    site: Site, tmp_path: Path
):
    full = {"max_builds": 1}
    first = job(aarch64=[["wait", str(tmp_path / "go")]])
    site.engine(two=full).start(first)
    engine = site.engine(two=full)
    second = job("kcb-1-2", aarch64=[["say", "at last"]])
    engine.start(second)
    assert site.pods() == (0, 1)
    asked = 0
    seen: list[News] = []
    for news in engine.follow(second, BEAT):
        seen.append(news)
        if news.note:
            time.sleep(0.5)
            asked = len(site.two.asked)
        if len(seen) == 20:
            assert len(site.two.asked) <= asked + 4  # it does not ask again and again
            (tmp_path / "go").touch()
    assert [n.note for n in seen if n.note] == ["It waits for room in the cluster two (1 at once)."]
    assert [n.outcome.report for n in seen if n.outcome] == ["sha256:" + 64 * "2"]
    assert b"".join(n.log for n in seen) == b"at last"


def test_a_cluster_that_cannot_build_this_plan_leaves_it_to_the_others(
    site: Site, fake_openshift: FakeOpenShift
):
    """It has no BuildConfig for it, or finds it too large."""
    first = OpenShiftEngine("first", fake_openshift.config(build_config="none-{arch}"))
    engine = Clusters([first, KubernetesEngine("two", site.two.config(), PROGRAM)])
    one = fresh(x86_64=[])
    engine.start(one)
    assert ends(engine, one)["x86_64"].report
    site.two.down()
    with pytest.raises(ServiceError, match="cluster two .* cannot be reached"):  # it may come back
        Clusters([first, KubernetesEngine("two", site.two.config(), PROGRAM, 0.2)]).start(one)
    with pytest.raises(ConfigError, match="no BuildConfig 'none-x86-64'"):
        Clusters([first]).start(one)
    engine.close()


def test_each_arch_is_told_for_which_cluster_it_waits(site: Site):
    one, two = {"max_builds": 1}, {"max_builds": 1, "arches": ("aarch64",)}
    stays = [["wait", "/no/such/file"]]
    site.engine(one, two).start(job(x86_64=stays, aarch64=stays))
    engine = site.engine(one, two)
    second = job("kcb-1-2", x86_64=[], aarch64=[])
    engine.start(second)
    told = dict.fromkeys(second.plan.arches, "")
    for news in engine.follow(second, BEAT):
        if news.note:
            told[news.arch] = news.note
        if all(told.values()):
            break
    assert told == {
        "x86_64": "It waits for room in the cluster one (1 at once).",
        "aarch64": "It waits for room in the cluster two (1 at once).",
    }


def watches() -> int:
    return sum(isinstance(thread, Watch) for thread in threading.enumerate())


def test_nobody_watches_for_room_when_the_build_has_begun(site: Site, tmp_path: Path):
    full = {"max_builds": 1}
    site.engine(two=full).start(job(aarch64=[["wait", str(tmp_path / "go")]]))
    engine = site.engine(two=full)
    second = job("kcb-1-2", aarch64=[["say", "x"], ["wait", str(tmp_path / "end")]])
    engine.start(second)
    for news in engine.follow(second, BEAT):
        if not news.arch and not (tmp_path / "go").exists():
            assert watches() == 1
            (tmp_path / "go").touch()
        if news.log:
            until("one of the two ends", lambda: watches() == 1, 5)
            (tmp_path / "end").touch()


def test_a_build_that_waits_for_room_can_be_cancelled(site: Site):
    full = {"max_builds": 1}
    site.engine(two=full).start(job(aarch64=[["wait", "/no/such/file"]]))
    engine = site.engine(two=full)
    second = job("kcb-1-2", aarch64=[])
    engine.start(second)
    engine.cancel("kcb-1-2")
    assert ends(engine, second)["aarch64"].cancelled
    assert engine.remove("kcb-1-2", 0)
    assert site.pods() == (0, 1)


def test_a_cluster_that_is_away_does_not_stop_builds_for_the_others(site: Site):
    site.one.down()
    engine = site.engine(patience=0.2)
    both = fresh(x86_64=[["say", "x"]], aarch64=[])
    engine.start(both)
    assert site.pods() == (0, 2)
    assert all(outcome.report for outcome in ends(engine, both).values())
    assert list(engine.names()) == ["kcb-1-1"]
    assert engine.remove("kcb-1-1", 5)


def test_when_all_are_away_that_is_an_error(site: Site):
    site.one.down()
    site.two.down()
    engine = site.engine(patience=0.2)
    with pytest.raises(ServiceError, match="cluster one .* cannot be reached"):
        engine.start(fresh(x86_64=[]))
    with pytest.raises(ServiceError, match="cannot be reached"):
        engine.names()


def test_a_job_is_found_again_wherever_it_is(site: Site, tmp_path: Path):
    """The configuration may have changed meanwhile."""
    running = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    site.engine(one={"drained": True}).start(running)
    assert site.pods() == (0, 1)
    engine = site.engine()
    engine.start(running)
    assert site.pods() == (0, 1)
    (tmp_path / "go").touch()
    assert ends(engine, running)["x86_64"].report


def test_nothing_is_looked_for_of_a_build_that_is_fresh(site: Site):
    site.engine().start(fresh(x86_64=[], aarch64=[]))
    assert site.one.asked == site.two.asked == ["POST jobs", "POST secrets"]


def test_a_build_is_looked_for_until_it_is_found(site: Site):
    site.engine().start(fresh(x86_64=[["say", "x"]]))
    engine = site.engine()
    engine.start(job(x86_64=[["say", "x"]]))
    assert site.one.asked[2:] == ["GET jobs", "POST secrets"]
    assert not site.two.asked


def test_who_follows_what_another_process_has_started_asks_for_nothing(site: Site):
    both = fresh(x86_64=[["say", "here"]], aarch64=[["say", "there"]])
    both = sent(site.engine().start(both))
    engine = site.engine()
    assert all(outcome.report for outcome in ends(engine, both).values())
    assert sorted(site.one.asked[2:]) == ["GET pods/log", "WATCH pods"]
    assert sorted(site.two.asked[2:]) == ["GET pods/log", "WATCH pods"]
    assert engine.remove(both.name, 5)
    assert not engine.names()


def test_what_has_begun_half_in_one_cluster_does_not_hide_what_runs_in_another(
    site: Site, tmp_path: Path
):
    no = {"POST secrets": NO_SECRETS, "DELETE jobs": Refusal(403, "Forbidden", "not now")}
    site.one.refuse = lambda what, name: no.get(what)
    conf = {"two": {"arches": ("x86_64",)}}
    one = fresh(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    one = sent(site.engine(**conf).start(one))
    site.one.refuse = None
    engine = site.engine(**conf)
    (tmp_path / "go").touch()
    assert ends(engine, one)["x86_64"].report
    assert engine.remove(one.name, 5)
    assert not site.one.store.of("jobs")
    assert not site.two.store.of("jobs")


def test_what_has_begun_half_beside_what_builds_there_is_removed_with_it(site: Site):
    one_has_both = {"one": {"arches": ("x86_64", "aarch64")}}
    jobs: list[str] = []

    def refuse(what: str, name: str) -> Any:
        jobs.extend([name] if what == "POST jobs" else [])
        no = {"POST secrets": NO_SECRETS, "DELETE jobs": Refusal(403, "Forbidden", "not now")}
        return no.get(what) if len(jobs) == 2 else None

    site.one.refuse = refuse
    both = fresh(x86_64=[["say", "x"]], aarch64=[["say", "y"]])
    both = sent(site.engine(**one_has_both).start(both))
    site.one.refuse = None
    assert (len(site.one.store.of("jobs")), len(site.two.store.of("jobs"))) == (2, 1)
    engine = site.engine(**one_has_both)
    assert all(outcome.report for outcome in ends(engine, both).values())
    assert engine.remove(both.name, 5)
    assert not site.one.store.of("jobs")
    assert not site.two.store.of("jobs")


def test_a_build_waits_for_room_and_not_for_a_cluster_that_never_had_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "LOOK", 1.0)
    full = {"two": {"max_builds": 1}, "patience": 0.2}
    site.engine(**full).start(job("kcb-1-9", aarch64=[["wait", str(tmp_path / "go")]]))
    site.one.down()
    one = sent(site.engine(**full).start(fresh(aarch64=[["say", "x"]])))
    (tmp_path / "go").touch()
    news = list(site.engine(**full).follow(one, BEAT))
    assert [n.note for n in news if n.note] == ["It waits for room in the cluster two (1 at once)."]
    assert news[-1].outcome or any(n.outcome for n in news)


def test_what_was_begun_half_is_completed_though_its_cluster_is_away_at_first(site: Site):
    conf = {"two": {"arches": ("aarch64",)}, "patience": 0.2}
    site.one.refuse = lambda what, name: NO_SECRETS if what == "POST secrets" else None
    one = job(x86_64=[["say", "x"]])
    with pytest.raises(ServiceError):
        site.engine(**conf)._engines[0].start(one)  # its process dies between the two requests
    site.one.refuse = None
    site.one.down()
    one = sent(site.engine(**conf).start(one))
    site.one.up()
    assert ends(site.engine(**conf), one)["x86_64"].report


def test_an_arch_that_waits_for_room_is_placed_by_who_follows(site: Site, tmp_path: Path):
    full = {"max_builds": 1}
    site.engine(two=full).start(job(aarch64=[["wait", str(tmp_path / "go")]]))
    second = fresh("kcb-1-2", x86_64=[["say", "x"]], aarch64=[["say", "y"]])
    second = sent(site.engine(two=full).start(second))
    assert site.pods() == (1, 1)
    seen: list[News] = []
    for news in site.engine(two=full).follow(second, BEAT):
        seen.append(news)
        if news.note:
            (tmp_path / "go").touch()
    assert [n.note for n in seen if n.note] == ["It waits for room in the cluster two (1 at once)."]
    assert {n.arch: n.log for n in seen if n.log} == {"x86_64": b"x", "aarch64": b"y"}
    assert site.pods() == (1, 2)


@pytest.mark.parametrize("another", [False, True])
def test_a_build_is_not_started_twice_when_its_cluster_is_away(
    site: Site, tmp_path: Path, another: bool
):
    """It waits for that cluster: this process, or the one that follows."""
    running = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    site.engine().start(running)
    site.one.down()
    engine = site.engine(patience=0.2)
    running = sent(engine.start(running))
    if another:
        engine = site.engine(patience=0.2)
    (tmp_path / "go").touch()
    seen: list[News] = []
    for news in engine.follow(running, BEAT):
        seen.append(news)
        if len(seen) == 10:
            site.one.up()
    assert [n.note for n in seen if n.note] == [
        "The cluster one does not answer, and may have begun this before: it waits for an answer."
    ]
    assert b"".join(n.log for n in seen) == b"x"
    assert site.pods() == (1, 0)
    assert engine.remove(running.name, 5)


def test_what_a_cluster_that_is_away_may_have_is_neither_ended_nor_forgotten(site: Site):
    running = job(x86_64=[["wait", "/no/such/file"]])
    site.engine().start(running)
    site.one.down()
    engine = site.engine(patience=0.2)
    engine.start(running)
    with pytest.raises(ServiceError, match="cannot be reached"):
        engine.cancel(running.name)
    with pytest.raises(ServiceError, match="cannot be reached"):
        engine.remove(running.name, 0)
    site.one.up()
    engine.cancel(running.name)
    assert engine.remove(running.name, 20)
    assert not site.engine().names()


def test_a_cluster_that_stays_away_is_an_error_in_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(placement, "AWAY", 1.0)
    monkeypatch.setattr(room, "LOOK", 0.5)
    site.one.down()
    engine = site.engine(patience=0.2)
    engine.start(job(x86_64=[]))
    with pytest.raises(ServiceError, match="cluster one .* cannot be reached"):
        ends(engine, job(x86_64=[]))
    assert site.pods() == (0, 0)


NO_SECRETS = Refusal(403, "Forbidden", "exceeded quota: secrets")


def test_what_begins_half_is_taken_back_and_begins_elsewhere(site: Site):
    site.one.refuse = lambda what, name: NO_SECRETS if what == "POST secrets" else None
    engine = site.engine()
    one = fresh(x86_64=[])
    engine.start(one)
    assert not site.one.store.of("jobs")
    assert ends(engine, one)["x86_64"].report
    assert engine.remove(one.name, 5)


def test_what_could_not_be_taken_back_is_ended_and_removed_with_the_job(site: Site):
    no = {"POST secrets": NO_SECRETS, "DELETE jobs": Refusal(403, "Forbidden", "not now")}
    site.one.refuse = site.two.refuse = lambda what, name: no.get(what)
    engine = site.engine()
    one = fresh(x86_64=[["wait", "/no/such/file"]])
    with pytest.raises(ServiceError, match="exceeded quota: secrets"):
        engine.start(one)
    engine.cancel(one.name)
    jobs = [*site.one.store.of("jobs").values(), *site.two.store.of("jobs").values()]
    assert [job["spec"]["parallelism"] for job in jobs] == [0, 0]
    site.one.refuse = site.two.refuse = None
    assert engine.remove(one.name, 5)
    assert not site.engine().names()


def test_of_two_that_begin_at_the_same_moment_one_waits(site: Site, tmp_path: Path):
    full = {"max_builds": 1}
    quick, slow = (
        fresh(name, aarch64=[["wait", str(tmp_path / name)]]) for name in ("kcb-1-1", "kcb-1-2")
    )
    engine, waiting = site.engine(two=full), [site.engine(two=full)]

    def another_is_quicker(what: str, name: str) -> None:
        if what == "POST jobs" and waiting:
            waiting.pop().start(quick)

    site.two.refuse = another_is_quicker
    engine.start(slow)
    assert engine.names() == ["kcb-1-1"]
    for each in (quick, slow):
        (tmp_path / each.name).touch()
    news = list(engine.follow(slow, BEAT))
    assert [n.note for n in news if n.note] == ["It waits for room in the cluster two (1 at once)."]
    assert [n.outcome.report for n in news if n.outcome] == ["sha256:" + 64 * "2"]


def test_when_there_is_room_for_one_only_one_of_those_who_wait_begins(site: Site, tmp_path: Path):
    full = {"max_builds": 1}
    site.engine(two=full).start(job(aarch64=[["wait", str(tmp_path / "go")]]))
    done: list[str] = []

    def build(engine: Clusters, each: Job) -> None:
        engine.start(each)
        done.extend(news.arch for news in engine.follow(each, BEAT) if news.outcome)

    jobs = [fresh(f"kcb-2-{n}", aarch64=[["wait", str(tmp_path / "end")]]) for n in range(5)]
    pairs = [(site.engine(two=full), each) for each in jobs]
    threads = [threading.Thread(target=build, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    busy = pairs[0][0]._engines[1].busy
    (tmp_path / "go").touch()
    time.sleep(room.SETTLED[1] + 2)
    until("one has begun", lambda: busy() == 1, 30)
    time.sleep(1)
    assert busy() == 1
    (tmp_path / "end").touch()
    for thread in threads:
        thread.join(60)
    assert len(done) == 5


def test_logs_do_not_wait_for_a_cluster_that_is_away(site: Site):
    two = {"max_builds": 1, "arches": ("aarch64",)}
    site.engine(two=two).start(job(aarch64=[["wait", "/no/such/file"]]))
    engine = site.engine(two=two, patience=6)
    both = fresh("kcb-1-2", x86_64=[["talk", 200, 12]], aarch64=[])
    engine.start(both)
    last, longest = time.monotonic(), 0.0
    for news in engine.follow(both, BEAT):
        if news.log:
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            site.two.down()
        if news.outcome:
            break
    assert longest < 3


def test_cancelling_and_names_go_to_all_clusters(site: Site):
    site.engine().start(job(x86_64=[["wait", "/no/such/file"]], aarch64=[["wait", "/none"]]))
    engine = site.engine()
    assert list(engine.names()) == ["kcb-1-1"]
    assert not engine.remove("kcb-1-1", 0)
    engine.cancel("kcb-1-1")
    assert engine.remove("kcb-1-1", 20)
    assert not list(engine.names())


def test_the_configuration_says_which_clusters_there_are(tmp_path: Path):
    section = ClusterConfig(
        url="https://one:6443", namespace="x", arches=("s390x",), image="i", token_file="/t"
    )
    base = Config()
    config = dataclasses.replace(
        base,
        builder=dataclasses.replace(base.builder, engine="clusters"),
        clusters={"one": section},
    )
    engine = choose(config, tmp_path)
    assert list(engine.arches) == ["s390x"]
