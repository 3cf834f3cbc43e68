"""What the OpenShift engine does besides what every engine promises."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.engines import choose
from koji_containerbuild.engines.base import Engine, Job, News
from koji_containerbuild.engines.build_objects import state_of
from koji_containerbuild.engines.clusters import Clusters
from koji_containerbuild.engines.openshift import OpenShiftEngine
from koji_containerbuild.errors import BadRequest, ConfigError, ServiceError
from tests.fakes.engine import sent
from tests.fakes.kubernetes_node import QUOTA
from tests.fakes.openshift import FakeOpenShift
from tests.fakes.plans import PLAN

BEAT = 0.05
Engines = Callable[..., OpenShiftEngine]


@pytest.fixture
def engines(fake_openshift: FakeOpenShift) -> Iterator[Engines]:
    """One for each process of a builder."""
    made: list[OpenShiftEngine] = []

    def make(**keys: Any) -> OpenShiftEngine:
        made.append(OpenShiftEngine("one", fake_openshift.config(**keys)))
        return made[-1]

    yield make
    for name in make().names():
        make().cancel(name)
        make().remove(name, 5)
    for engine in made:
        engine.close()


def job(name: str = "kcb-1", **scripts: list[list[Any]]) -> Job:
    return Job(name, dataclasses.replace(PLAN, arches=tuple(scripts), userdata=scripts))


def waits(name: str = "kcb-1") -> Job:
    return job(name, x86_64=[["say", "hello\n"], ["wait", "/no/such/file"]])


def builds(cluster: FakeOpenShift) -> dict[str, str]:
    """Name → phase."""
    return {b["metadata"]["name"]: b["status"]["phase"] for b in cluster.builds.all("builds")}


def end(engine: Engine, of: Job) -> Outcome:
    return next(news.outcome for news in engine.follow(of, BEAT) if news.outcome)


def until(engine: Engine, of: Job, text: bytes) -> None:
    said = b""
    for news in engine.follow(of, BEAT):
        said += news.log
        if text in said:
            return


def test_each_arch_is_a_build_of_its_own_config(fake_openshift: FakeOpenShift, engines: Engines):
    two = job(x86_64=[["say", "one"]], aarch64=[["say", "two"]])
    engine = engines()
    engine.start(two)
    assert sorted(builds(fake_openshift)) == ["image-aarch64-1", "image-x86-64-1"]
    outcomes = [news.outcome for news in engine.follow(two, BEAT) if news.outcome]
    assert sorted(outcome.arch for outcome in outcomes) == ["aarch64", "x86_64"]
    (one,) = [b for b in fake_openshift.builds.all("builds") if "x86" in b["metadata"]["name"]]
    assert one["spec"]["triggeredBy"] == [{"message": "kcb-1: web-container-1.0-3"}]


def test_labels_of_the_config_that_overrule_ours_do_no_harm(
    fake_openshift: FakeOpenShift, engines: Engines
):
    engines().start(waits())
    (build,) = fake_openshift.builds.all("builds")
    assert build["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "somebody-else"
    assert engines().names() == ["kcb-1"]


def test_there_is_nothing_for_an_arch_without_nodes(engines: Engines):
    assert engines().lacks("s390x", runs=False) == "a cluster with nodes of s390x"
    assert not engines().lacks("x86_64", runs=True)


def test_a_config_that_is_missing_is_named(engines: Engines):
    with pytest.raises(ConfigError, match="has no BuildConfig 'other-x86-64' for x86_64"):
        engines(build_config="other-{arch}").start(waits())


def test_a_config_whose_builds_wait_for_each_other_is_refused(
    fake_openshift: FakeOpenShift, engines: Engines
):
    fake_openshift.configure("x86-64", runPolicy="SerialLatestOnly")
    with pytest.raises(ConfigError, match="runPolicy SerialLatestOnly.*end each other"):
        engines().start(waits())


def test_a_paused_config_is_refused_in_openshifts_words(
    fake_openshift: FakeOpenShift, engines: Engines
):
    with fake_openshift.builds.changed:
        config = fake_openshift.builds.get("buildconfigs", ("builds", "image-x86-64"))
        config["metadata"]["annotations"] = {"openshift.io/build-config.paused": "true"}
        fake_openshift.builds.put("buildconfigs", config)
    with pytest.raises(ServiceError, match="BuildConfig is paused"):
        engines().start(waits())


def with_noise(size: int) -> Job:
    """A plan that cannot be packed, of that many bytes."""
    noise = random.Random(1).randbytes(size * 3 // 8).hex()
    small = job(x86_64=[["say", "hello"]])
    data = {**(small.plan.userdata or {}), "noise": noise}
    return Job("kcb-1", dataclasses.replace(small.plan, userdata=data))


def test_the_largest_plan_that_is_taken_can_be_built(
    fake_openshift: FakeOpenShift, engines: Engines
):
    """The pod's variables have it twice, each of them at most 128 KiB for Linux."""
    large = with_noise(168_000)
    engine = engines()
    engine.start(large)
    assert end(engine, large).image
    (pod,) = fake_openshift.store.of("pods").values()
    env = {e["name"]: e["value"] for e in pod["spec"]["containers"][0]["env"]}
    assert 90_000 < len(env["PLAN"]) < len(env["BUILD"]) < 128 * 1024


def test_a_plan_that_is_too_large_is_refused(fake_openshift: FakeOpenShift, engines: Engines):
    with pytest.raises(BadRequest, match=r"has \d{6} bytes, packed \d{6}; OpenShift takes 98304"):
        engines().start(with_noise(300_000))
    assert not builds(fake_openshift)


def test_two_processes_of_one_task_begin_one_build(fake_openshift: FakeOpenShift, engines: Engines):
    both = [engines() for _ in range(6)]
    threads = [threading.Thread(target=engine.start, args=(waits(),)) for engine in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds(fake_openshift)) == 1


def test_many_builds_that_begin_at_once_all_begin(fake_openshift: FakeOpenShift, engines: Engines):
    jobs = [job(f"kcb-{number}", x86_64=[]) for number in range(8)]
    pairs = [(engines(), one) for one in jobs]
    threads = [threading.Thread(target=engine.start, args=(one,)) for engine, one in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds(fake_openshift)) == 8
    assert sorted(engines().names()) == [one.name for one in jobs]


def losing_an_answer(fake: FakeOpenShift) -> list[str]:
    """To the first POST. The paths of those that were lost."""
    truly, lost = fake.other, []

    def answer(method: str, path: str, params: Any, body: Any) -> Any:
        found = truly(method, path, params, body)  # type: ignore[misc]
        if method == "POST" and not lost:
            lost.append(path)
            raise OSError("the connection breaks")
        return found

    fake.other = answer
    return lost


def test_an_answer_that_is_lost_begins_no_second_build(
    fake_openshift: FakeOpenShift, engines: Engines
):
    lost = losing_an_answer(fake_openshift)
    engine = engines()
    engine.start(waits())
    assert lost
    assert len(builds(fake_openshift)) == 1
    until(engine, waits(), b"hello")


def test_another_plan_is_another_build(fake_openshift: FakeOpenShift, engines: Engines):
    engines().start(waits())
    other = job(x86_64=[["say", "other"]])
    engine = engines()
    engine.start(other)
    until(engine, other, b"other")
    assert list(builds(fake_openshift)) == ["image-x86-64-2"]


def test_a_cancelled_build_is_begun_anew(fake_openshift: FakeOpenShift, engines: Engines):
    engine = engines()
    engine.start(waits())
    until(engine, waits(), b"hello")
    engine.cancel("kcb-1")
    assert end(engine, waits()).cancelled
    again = engines()
    again.start(waits())
    until(again, waits(), b"hello")
    assert list(builds(fake_openshift)) == ["image-x86-64-2"]


def test_a_build_that_somebody_cancels_in_openshift_is_cancelled(
    fake_openshift: FakeOpenShift, engines: Engines
):
    engine = engines()
    engine.start(waits())
    until(engine, waits(), b"hello")
    (build,) = fake_openshift.builds.all("builds")
    fake_openshift.builds.put("builds", {**build, "status": {**build["status"], "cancelled": True}})
    assert end(engine, waits()).cancelled


def test_a_build_whose_pod_is_deleted_is_begun_again(
    fake_openshift: FakeOpenShift, engines: Engines, tmp_path: Path
):
    one = job(x86_64=[["say", "hello\n"], ["wait", str(tmp_path / "go")]])
    engine = engines()
    engine.start(one)
    seen: list[News] = []
    for news in engine.follow(one, BEAT):
        seen.append(news)
        if sum(n.log.count(b"hello") for n in seen) == 1 and news.log:
            fake_openshift.node.delete_pod("x86_64")
            (tmp_path / "go").touch()
    assert [n.note for n in seen if n.note] == [
        "The build's pod image-x86-64-1-build was deleted. It is started again."
    ]
    assert seen[-2].outcome or seen[-1].outcome
    assert list(builds(fake_openshift)) == ["image-x86-64-2"]
    assert sum(n.log.count(b"hello") for n in seen) == 2


def test_a_build_that_is_deleted_is_begun_again_as_often_as_the_site_says(
    fake_openshift: FakeOpenShift, engines: Engines
):
    engine = engines(retries=0)
    engine.start(waits())
    until(engine, waits(), b"hello")
    (build,) = fake_openshift.builds.all("builds")
    fake_openshift.builds.remove("builds", build)
    failure = end(engine, waits()).failure
    assert failure and "was deleted" in failure.cause


def test_a_build_that_takes_too_long_for_the_cluster_is_not_built_again(
    fake_openshift: FakeOpenShift, engines: Engines
):
    """Its program is asked to end, and says that it was told so; the Build knows no deadline."""
    engine, notes = engines(), []
    engine.start(waits())
    for news in engine.follow(waits(), BEAT):
        if news.log:
            fake_openshift.node.end_with("x86_64", reason="DeadlineExceeded", message="Too long")
        notes += [news.note] if news.note else []
        if news.outcome:
            failure = news.outcome.failure
    assert failure and "took too long" in failure.cause and "DeadlineExceeded" in failure.cause
    assert (notes, len(builds(fake_openshift))) == ([], 1)


def test_a_quota_is_told_in_the_clusters_words(fake_openshift: FakeOpenShift, engines: Engines):
    fake_openshift.node.trouble = QUOTA
    engine = engines(start_seconds=4)
    engine.start(waits())
    news = list(engine.follow(waits(), BEAT))
    notes = [n.note for n in news if n.note]
    assert notes == ["FailedCreate: Error creating build pod: exceeded quota: builds"]
    failure = next(n.outcome.failure for n in news if n.outcome)
    assert failure and failure.cause.startswith("The build did not start within 4 s: FailedCreate")


def test_trouble_of_a_pod_is_told(fake_openshift: FakeOpenShift, engines: Engines):
    fake_openshift.node.trouble = "image"
    engine = engines()
    engine.start(waits())
    note = next(news.note for news in engine.follow(waits(), BEAT) if news.note)
    assert note.startswith("ErrImagePull: ")


def test_memory_that_was_not_enough_is_named(fake_openshift: FakeOpenShift, engines: Engines):
    engine = engines()
    engine.start(waits())
    until(engine, waits(), b"hello")
    fake_openshift.node.end_with("x86_64", container="OOMKilled")
    failure = end(engine, waits()).failure
    assert failure and "more memory than it may" in failure.cause


def test_a_job_that_was_told_to_end_goes_though_its_pod_needs_more_time(
    engines: Engines, tmp_path: Path
):
    """Whoever cancels it has no time to wait."""
    lingers = job(x86_64=[["linger", str(tmp_path / "go")]])
    engine = engines()
    engine.start(lingers)
    until(engine, lingers, b"it lingers")
    engine.cancel("kcb-1")
    assert not engine.remove("kcb-1", 0)
    assert not engines().names()
    (tmp_path / "go").touch()
    assert engines().remove("kcb-1", 20)


def test_a_quiet_build_asks_six_times(fake_openshift: FakeOpenShift, engines: Engines):
    quiet = job(x86_64=[["say", "hello"]])
    engine = engines()
    engine.start(quiet)
    assert end(engine, quiet).image
    assert engine.remove("kcb-1", 5)
    asked = Counter(fake_openshift.asked)
    assert asked == {
        "GET buildconfigs": 1,
        "GET builds": 1,
        "POST buildconfigs/instantiate": 1,
        "WATCH pods": 1,
        "GET pods/log": 1,
        "DELETE builds": 1,
    }


def test_a_quiet_build_of_two_processes_is_seven_requests(
    fake_openshift: FakeOpenShift, engines: Engines
):
    """One sweeps, looks and starts; the other follows."""
    quiet = dataclasses.replace(job(x86_64=[["say", "hello"]]), fresh=True)
    child, parent = (Clusters([engines()]) for _ in range(2))
    assert not child.names() and not child.names()
    quiet = sent(child.start(quiet))
    assert end(parent, quiet).image
    assert parent.remove("kcb-1", 5)
    assert Counter(fake_openshift.asked) == {
        "GET builds": 2,
        "GET buildconfigs": 1,
        "POST buildconfigs/instantiate": 1,
        "WATCH pods": 1,
        "GET pods/log": 1,
        "DELETE builds": 1,
    }


def test_a_fresh_build_whose_answer_is_lost_is_begun_once(
    fake_openshift: FakeOpenShift, engines: Engines
):
    fresh = dataclasses.replace(waits(), fresh=True)
    lost = losing_an_answer(fake_openshift)
    engine = engines()
    engine.start(fresh)
    engine.start(fresh)
    assert lost and len(builds(fake_openshift)) == 1


@pytest.mark.parametrize(
    "status, state",
    [
        ({"phase": "New"}, "runs"),
        ({"phase": "Running"}, "runs"),
        ({"phase": "Running", "cancelled": True}, "cancelled"),
        ({"phase": "Cancelled"}, "cancelled"),
        ({"phase": "Complete", "cancelled": True}, "ended"),
        ({"phase": "Failed", "reason": "GenericBuildFailed"}, "ended"),
        ({"phase": "Error", "reason": "BuildPodDeleted"}, "gone"),
        ({"phase": "Error", "reason": "BuildPodExists"}, "ended"),
    ],
)
def test_phases_are_read_as_openshift_means_them(status: dict[str, Any], state: str):
    assert state_of({"metadata": {}, "status": status}) == state


def test_no_secret_is_made_and_none_is_asked_for(fake_openshift: FakeOpenShift, engines: Engines):
    engine = engines()
    engine.start(waits())
    until(engine, waits(), b"hello")
    assert not [what for what in fake_openshift.asked if re.search("secrets|configmaps", what)]


def test_a_build_that_finds_no_room_waits_until_there_is(
    fake_openshift: FakeOpenShift, engines: Engines, tmp_path: Path
):
    first = job("kcb-1", x86_64=[["say", "hello\n"], ["wait", str(tmp_path / "go")]])
    second = job("kcb-2", x86_64=[["say", "second\n"]])
    one, other = (Clusters([engines(max_builds=1)]) for _ in range(2))
    one.start(first)
    until(one, first, b"hello")
    other.start(second)
    said = b""
    for news in other.follow(second, BEAT):
        said += news.log
        if news.note:
            assert news.note == "It waits for room in the cluster one (1 at once)."
            (tmp_path / "go").touch()
    assert said == b"second\n"


def test_a_section_of_builder_conf_says_that_it_is_an_openshift(fake_openshift: FakeOpenShift):
    assert isinstance(choose.cluster("one", fake_openshift.config(), 5.0), OpenShiftEngine)
