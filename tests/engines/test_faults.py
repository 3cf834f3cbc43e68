"""What becomes of a build when the cluster does not do what it should: on the fake cluster."""

from __future__ import annotations

import dataclasses
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.engines import api, objects, pod_state, pods, reach, streams
from koji_containerbuild.engines.api import ApiError
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.clusters import Clusters
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from tests.fakes import buildroot_program
from tests.fakes.engine import sent
from tests.fakes.kubernetes import FakeKubernetes, Refusal
from tests.fakes.plans import PLAN

BEAT = 0.05
PROGRAM = (sys.executable, buildroot_program.__file__)
Event = Callable[[News], None]


def job(**scripts: list[list[Any]]) -> Job:
    return Job("kcb-1-1", dataclasses.replace(PLAN, arches=tuple(scripts), userdata=scripts))


@pytest.fixture
def make(fake_kubernetes: FakeKubernetes) -> Iterator[Callable[..., KubernetesEngine]]:
    made: list[KubernetesEngine] = []

    def engine(**keys: Any) -> KubernetesEngine:
        made.append(KubernetesEngine("one", fake_kubernetes.config(**keys), PROGRAM))
        return made[-1]

    yield engine
    for each in made:
        each.close()


@pytest.fixture
def engine(make: Callable[..., KubernetesEngine]) -> KubernetesEngine:
    return make()


class Seen:
    """All news of a job; `when` is called with each note and each piece of log."""

    def __init__(self, engine: KubernetesEngine, of: Job, when: Event = lambda news: None) -> None:
        self.log = b""
        self.notes: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.gap = False
        engine.start(of)
        for news in engine.follow(of, BEAT):
            self.log += news.log
            self.gap |= news.gap
            if news.note:
                self.notes.append(news.note)
            if news.outcome:
                self.outcomes[news.arch] = news.outcome
            if news.arch:
                when(news)

    @property
    def cause(self) -> str:
        (outcome,) = self.outcomes.values()
        return outcome.failure.cause if outcome.failure else ""


def once(act: Callable[[], Any]) -> Event:
    """At the first piece of log."""
    left = [act]
    return lambda news: left.pop()() if left and news.log else None


LINES = b"".join(b"line %d\n" % number for number in range(100))
TALKS = [["talk", 100]]


def test_a_quiet_build_is_five_requests(engine: KubernetesEngine, fake_kubernetes: FakeKubernetes):
    quiet = job(x86_64=[["say", "x"]])
    assert Seen(engine, quiet).outcomes["x86_64"].report
    assert engine.remove(quiet.name, 0)
    assert fake_kubernetes.asked == [
        "POST jobs", "POST secrets", "WATCH pods", "GET pods/log", "DELETE jobs",
    ]  # fmt: skip


def test_a_quiet_build_of_two_processes_is_seven_requests(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    """One sweeps, looks and starts; the other follows."""
    quiet = dataclasses.replace(job(x86_64=[["say", "x"]]), fresh=True)
    child, parent = (Clusters([make()]) for _ in range(2))
    assert not child.names() and not child.names()
    quiet = sent(child.start(quiet))
    assert [news.outcome.report for news in parent.follow(quiet, BEAT) if news.outcome]
    assert parent.remove(quiet.name, 0)
    assert fake_kubernetes.asked == [
        "GET jobs", "GET jobs", "POST jobs", "POST secrets",
        "WATCH pods", "GET pods/log", "DELETE jobs",
    ]  # fmt: skip


def test_of_many_tries_of_another_process_the_last_is_followed_without_asking_for_each(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    def lose() -> None:
        fake_kubernetes.node.end_with("x86_64", **EVICTED)

    two = job(
        x86_64=[["again", str(tmp_path / "x")], ["say", "x"], ["wait", str(tmp_path / "go")]],
        aarch64=[["say", "y"]],
    )
    first = make()
    first.start(two)
    at_first = once(lose)
    for news in first.follow(two, BEAT):
        if news.arch == "x86_64":
            at_first(news)
        if news.log == b"x":
            break
    before = len(fake_kubernetes.asked)
    second, third = Clusters([make()]), Clusters([make()])
    followed = third.follow(sent(second.start(two)), BEAT)
    (tmp_path / "go").touch()
    assert {n.arch: n.log for n in followed if n.log} == {"x86_64": b"x", "aarch64": b"y"}
    assert sorted(what for what in fake_kubernetes.asked[before:] if what != "POST secrets") == [
        "GET jobs", "GET pods/log", "GET pods/log", "WATCH pods",
    ]  # fmt: skip
    assert third.remove(two.name, 5)
    assert not fake_kubernetes.store.of("jobs")


def test_what_was_begun_half_can_be_ended(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    """A Job whose Secret is refused waits for it."""
    no_secrets = Refusal(403, "Forbidden", "exceeded quota: secrets")
    fake_kubernetes.refuse = lambda what, name: no_secrets if what == "POST secrets" else None
    engine = make()
    one = job(x86_64=[["say", "x"]])
    with pytest.raises(ApiError, match="exceeded quota: secrets"):
        engine.start(one)
    engine.cancel(one.name)
    (half,) = fake_kubernetes.store.of("jobs").values()
    assert half["spec"]["parallelism"] == 0
    assert engine.remove(one.name, 5)
    assert not fake_kubernetes.store.of("jobs")


def test_all_arches_are_told_to_end_though_one_cannot_be(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    stays = [["say", "x"], ["wait", "/no/such/file"]]
    two = job(x86_64=stays, aarch64=stays)
    engine = make()
    engine.start(two)
    no = Refusal(403, "Forbidden", "not this one")
    fake_kubernetes.refuse = lambda what, name: (
        no if what == "PATCH jobs" and "x86" in name else None
    )
    for each in (engine, make()):
        with pytest.raises(ApiError, match="not this one"):
            each.cancel(two.name)
        told = {j["metadata"]["name"]: j for j in fake_kubernetes.store.of("jobs").values()}
        assert told["kcb-1-1-x86-64"]["spec"]["parallelism"] == 1
        assert told["kcb-1-1-aarch64"]["spec"]["parallelism"] == 0
        told["kcb-1-1-aarch64"]["spec"]["parallelism"] = 1
        del told["kcb-1-1-aarch64"]["metadata"]["annotations"][objects.CANCELLED]


def test_a_second_try_that_is_begun_half_is_ended_with_the_build(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    def lose() -> None:
        no = Refusal(403, "Forbidden", "exceeded quota: secrets")
        fake_kubernetes.refuse = lambda what, name: no if what == "POST secrets" else None
        fake_kubernetes.node.end_with("x86_64", **EVICTED)

    engine, one = make(), job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    engine.start(one)
    at_first = once(lose)
    for news in engine.follow(one, BEAT):
        at_first(news)
        if len(fake_kubernetes.store.of("jobs")) == 2:
            break
    engine.cancel(one.name)
    assert engine.remove(one.name, 5)
    assert not fake_kubernetes.store.of("jobs")


def test_a_second_try_whose_answer_is_lost_is_the_one_that_is_followed(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    create, made = fake_kubernetes.store.create, []

    def lossy(kind: str, found: Any) -> Any:
        answer = create(kind, found)
        if kind == "jobs":
            made.append(answer)
            if len(made) == 2:
                fake_kubernetes.node.created(kind, answer)
                raise OSError("the answer is lost")
        return answer

    fake_kubernetes.store.create = lossy  # type: ignore[method-assign]
    engine = make()
    seen = Seen(
        engine,
        job(x86_64=[["again", str(tmp_path / "x")], ["say", "x"]]),
        once(lambda: fake_kubernetes.node.end_with("x86_64", **EVICTED)),
    )
    assert seen.outcomes["x86_64"].report
    assert fake_kubernetes.node.made == 2
    assert engine.remove("kcb-1-1", 5)
    assert not fake_kubernetes.store.of("jobs")


def test_a_build_that_is_silent_for_long_asks_nothing(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    asked = []

    def look() -> None:
        time.sleep(1.0)
        asked.append(len(fake_kubernetes.asked))
        (tmp_path / "go").touch()

    Seen(engine, job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]]), once(look))
    assert asked == [4]


def test_a_job_that_was_told_to_end_goes_though_its_pod_needs_more_time(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    """Whoever cancels it has no time to wait; that it may still push is not forgotten by that."""
    lingers = job(x86_64=[["linger", str(tmp_path / "go")]])
    engine = make()
    engine.start(lingers)
    next(news for news in engine.follow(lingers, BEAT) if news.log)
    engine.cancel(lingers.name)
    assert not engine.remove(lingers.name, 0)
    assert not make().names()
    assert not make().remove(lingers.name, 0)
    (tmp_path / "go").touch()
    assert make().remove(lingers.name, 20)


@pytest.mark.parametrize("seconds", [1, 6])
def test_nothing_is_lost_while_the_cluster_is_away(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, seconds: int
):
    def away() -> None:
        fake_kubernetes.down()
        threading.Timer(seconds, fake_kubernetes.up).start()

    seen = Seen(engine, job(x86_64=TALKS), once(away))
    assert seen.log == LINES
    assert seen.outcomes["x86_64"].report
    assert len(seen.notes) == (2 if seconds > reach.SILENT + 1 else 0)
    if seen.notes:
        assert "cannot be reached" in seen.notes[0] and "Nothing is lost" in seen.notes[0]
        assert seen.notes[1] == "The cluster one answers again."


def test_a_cluster_that_stays_away_is_an_error_in_the_end(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reach, "AWAY", 1.0)
    with pytest.raises(ApiError, match="cannot be reached"):
        Seen(engine, job(x86_64=[["say", "x"], ["wait", "/none"]]), once(fake_kubernetes.down))


def test_nothing_is_lost_nor_doubled_when_connections_break_again_and_again(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.cut_logs_after = 0.3
    seen = Seen(engine, job(x86_64=TALKS))
    assert seen.log == LINES
    assert fake_kubernetes.asked.count("GET pods/log") > 2
    assert seen.notes == []


def test_connections_that_last_a_while_are_opened_again_at_once(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    """As a proxy ends those that are idle; a pause that grew each time would be told as trouble."""

    def cut_again_and_again() -> None:
        for _ in range(5):
            time.sleep(1.2)
            fake_kubernetes.cut()
        (tmp_path / "go").touch()

    quiet = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")], ["say", "y"]])
    cutting = once(lambda: threading.Thread(target=cut_again_and_again).start())
    seen = Seen(engine, quiet, cutting)
    assert (seen.log, seen.notes) == (b"xy", [])
    assert fake_kubernetes.asked.count("WATCH pods") == 6


UNKNOWN = "the server could not find the requested resource ( pods/log x)"


def test_nothing_is_lost_while_a_node_knows_none_of_its_pods(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    """As a kubelet that has just started."""

    def restart() -> None:
        refusal = Refusal(404, "NotFound", UNKNOWN)
        fake_kubernetes.refuse = lambda what, name: refusal if what == "GET pods/log" else None
        fake_kubernetes.cut()
        threading.Timer(5, again).start()

    def again() -> None:
        fake_kubernetes.refuse = None

    seen = Seen(engine, job(x86_64=TALKS), once(restart))
    assert seen.log == LINES
    assert seen.outcomes["x86_64"].report
    first, second = seen.notes
    assert first.startswith("The log cannot be read for now.") and UNKNOWN in first
    assert second == "The log can be read again."


def test_a_log_that_does_not_come_to_its_end_is_told(
    engine: KubernetesEngine,
    fake_kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(streams, "UNREADABLE", 1.0)

    def refuse() -> None:
        refusal = Refusal(404, "NotFound", UNKNOWN)
        fake_kubernetes.refuse = lambda what, name: refusal if what == "GET pods/log" else None
        fake_kubernetes.cut()

    seen = Seen(engine, job(x86_64=TALKS), once(refuse))
    assert seen.outcomes["x86_64"].report
    assert seen.notes[-1] == "The end of the log did not come through."


def test_a_watch_that_missed_changes_looks_at_everything(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    def expire() -> None:
        fake_kubernetes.store.create("events", {"metadata": {"name": "x"}})
        fake_kubernetes.store.compact()
        fake_kubernetes.cut()

    seen = Seen(engine, job(x86_64=TALKS), once(expire))
    assert (seen.log, bool(seen.outcomes["x86_64"].report)) == (LINES, True)
    assert "GET pods" in fake_kubernetes.asked


def test_a_pod_that_is_gone_after_a_missed_watch_is_noticed(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    def lose() -> None:
        fake_kubernetes.down()
        store = fake_kubernetes.store
        pod = fake_kubernetes.node.pod_of("x86_64")
        store.of("jobs").clear()
        store.put("pods", pod, "DELETED")
        store.compact()
        fake_kubernetes.up()

    seen = Seen(make(retries=0), job(x86_64=[["say", "x"], ["wait", "/none"]]), once(lose))
    assert "was deleted" in seen.cause


def test_nothing_is_missed_when_the_first_list_of_a_watch_is_cut(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    """It comes in the order of names: what comes later may have changed before."""
    two = job(aarch64=[["wait", str(tmp_path / "go")], *TALKS], x86_64=[["say", "x\n"]])
    make().start(two)
    store = fake_kubernetes.store
    with store.changed:
        while not any(pod["status"]["phase"] == "Succeeded" for pod in store.of("pods").values()):
            assert store.changed.wait(20)
        store.put("pods", fake_kubernetes.node.pod_of("aarch64"))
    fake_kubernetes.cut_lists = 1
    threading.Timer(1.0, (tmp_path / "go").touch).start()
    seen = Seen(make(), two)
    assert all(outcome.report for outcome in seen.outcomes.values())
    assert seen.log == b"x\n" + LINES


# -- connections that are taken, and bring nothing


def test_a_watch_that_is_never_answered_is_told_and_tried_again(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api, "ANSWER", 1.0)

    def hang() -> None:
        fake_kubernetes.hang = "WATCH pods"
        fake_kubernetes.cut()

    def go_on(news: News) -> None:
        hanging(news)
        if "cannot be reached: timed out" in news.note:
            fake_kubernetes.hang = ""

    hanging = once(hang)
    seen = Seen(engine, job(x86_64=TALKS), go_on)
    assert (seen.log, bool(seen.outcomes["x86_64"].report)) == (LINES, True)
    assert [note.partition(".")[0] for note in seen.notes][-1:] == ["The cluster one answers again"]


def test_a_watch_without_a_word_is_opened_again(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "SILENCE", 1.5)

    def mute() -> None:
        fake_kubernetes.mute = True
        fake_kubernetes.node.kill("x86_64")
        threading.Timer(2.0, lambda: setattr(fake_kubernetes, "mute", False)).start()

    seen = Seen(engine, job(x86_64=STAYS), once(mute))
    assert seen.cause == "The buildroot program ended without a word."
    assert seen.notes == []


def test_a_watch_with_bookmarks_is_not_opened_again(
    engine: KubernetesEngine,
    fake_kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setattr(streams, "SILENCE", 1.5)
    quiet = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    threading.Timer(4.0, (tmp_path / "go").touch).start()
    Seen(engine, quiet)
    assert fake_kubernetes.asked.count("WATCH pods") == 1


def test_the_end_of_a_pod_is_looked_for_when_its_log_has_ended_and_nobody_tells_of_it(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pods, "OVERDUE", 1.0)
    seen = Seen(engine, job(x86_64=TALKS), once(lambda: setattr(fake_kubernetes, "mute", True)))
    assert (seen.log, bool(seen.outcomes["x86_64"].report), seen.notes) == (LINES, True, [])


@pytest.mark.parametrize("recovers", [True, False])
def test_a_log_that_hangs_is_opened_again_once_its_container_has_ended(
    engine: KubernetesEngine,
    fake_kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    recovers: bool,
):
    monkeypatch.setattr(streams, "HUNG", 0.5)

    def hang() -> None:
        fake_kubernetes.hang = "GET pods/log"
        fake_kubernetes.cut()
        (tmp_path / "go").touch()
        if recovers:
            threading.Timer(0.7, lambda: setattr(fake_kubernetes, "hang", "")).start()

    hangs = job(x86_64=[["say", "x\n"], ["wait", str(tmp_path / "go")], *TALKS])
    seen = Seen(engine, hangs, once(hang))
    assert seen.outcomes["x86_64"].report
    if recovers:
        assert (seen.log, seen.notes) == (b"x\n" + LINES, [])
    else:
        assert seen.notes == ["The end of the log did not come through."]


@pytest.mark.parametrize("reader", [streams.Watch, streams.Log])
def test_a_mistake_of_ours_in_a_thread_is_an_error_of_the_task(
    engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch, reader: type[streams.Reader]
):
    def fail(self: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(reader, "_read", fail)
    with pytest.raises(KeyError, match="ours"):
        Seen(engine, job(x86_64=STAYS))


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"type": "MODIFIED", "object": null}',
        b'{"type": "MODIFIED", "object": {}}',
        b'{"type": "ERROR", "object": {"code": "x"}}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_change_is_an_error_of_the_cluster(
    fake_kubernetes: FakeKubernetes, line: bytes
):
    watch = streams.Watch(api.Api("one", fake_kubernetes.config()), queue.Queue(), "/x", {}, 5)
    with pytest.raises(ApiError, match="what is no change"):
        watch._tell(line)


def test_what_was_rotated_away_is_told(engine: KubernetesEngine, fake_kubernetes: FakeKubernetes):
    def rotate() -> None:
        fake_kubernetes.down()
        time.sleep(0.5)
        fake_kubernetes.node.rotate("x86_64")
        fake_kubernetes.up()

    seen = Seen(engine, job(x86_64=TALKS), once(rotate))
    assert seen.outcomes["x86_64"].report
    assert len(seen.log) < len(LINES) and LINES.endswith(seen.log[-50:])
    (note,) = [note for note in seen.notes if "did not come through" in note]
    assert note == f"{len(LINES) - len(seen.log)} bytes of the log did not come through."
    assert seen.gap


# -- builds that do not start


@pytest.mark.parametrize(
    "trouble, words",
    [
        ("image", "ErrImagePull: rpc error: code = NotFound desc = failed to pull"),
        ("unschedulable", "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match"),
        ("quota", 'FailedCreate: Error creating: pods "x" is forbidden: exceeded quota'),
        ("mount", "FailedMount: MountVolume.SetUp failed for volume"),
    ],
)
def test_why_a_build_does_not_start_is_told_soon_and_is_an_error_later(
    make: Callable[..., KubernetesEngine],
    fake_kubernetes: FakeKubernetes,
    trouble: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pods, "SLOW", 1.0)
    fake_kubernetes.node.trouble = trouble
    before, told = time.monotonic(), []
    seen = Seen(
        make(start_seconds=4),
        job(x86_64=[]),
        lambda news: told.append(time.monotonic()) if news.note else None,
    )
    assert len(seen.notes) == 1 and seen.notes[0].startswith(words)
    assert told[0] - before < 3.5
    assert seen.cause.startswith(f"The build did not start within 4 s: {words}")
    (pod_end,) = fake_kubernetes.store.of("jobs").values()
    assert pod_end["spec"]["parallelism"] == 0


def test_why_an_image_cannot_be_pulled_is_the_error_also_after_many_tries(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.node.trouble = "image"

    def back_off(news: News) -> None:
        if news.note:
            words = 'Back-off pulling image "x"'
            fake_kubernetes.node.wait_longer("x86_64", "ImagePullBackOff", words)

    seen = Seen(make(start_seconds=4), job(x86_64=[]), back_off)
    assert len(seen.notes) == 1
    assert "within 4 s: ErrImagePull: rpc error: code = NotFound" in seen.cause


def test_what_was_said_of_an_earlier_job_of_that_name_is_not_told(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    """Events stay for an hour, and a Job that was cancelled is made anew under its name."""
    fake_kubernetes.node.trouble = "quota"
    earlier = {"name": objects.Run("kcb-1-1", "x86_64").name, "uid": "earlier"}
    fake_kubernetes.node._event(earlier, "FailedCreate", "serviceaccount not found")
    seen = Seen(make(start_seconds=4), job(x86_64=[]))
    (note,) = seen.notes
    assert "exceeded quota" in note


def test_a_build_that_starts_late_is_a_build_like_any_other(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.node.trouble = "unschedulable"

    def a_node_comes(news: News) -> None:
        if news.note:
            fake_kubernetes.node.resume()

    seen = Seen(engine, job(x86_64=[["say", "x"]]), a_node_comes)
    assert (seen.log, len(seen.notes), bool(seen.outcomes["x86_64"].report)) == (b"x", 1, True)


def test_what_we_may_not_ask_about_a_build_without_pod_is_told_and_asked_seldom(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.node.trouble = "quota"
    refusal = Refusal(403, "Forbidden", "cannot get resource jobs")
    fake_kubernetes.refuse = lambda what, name: refusal if what == "GET jobs" else None
    seen = Seen(make(start_seconds=6), job(x86_64=[]))
    (note,) = seen.notes
    assert "cannot get resource jobs" in note
    assert 1 < fake_kubernetes.asked.count("GET jobs") < 5


# -- builds that the cluster ends

STAYS = [["say", "x"], ["wait", "/none"]]


@pytest.mark.parametrize(
    "status, words",
    [
        ({"container": "OOMKilled"}, r"used more memory than it may, .* \(OOMKilled\)\."),
        (
            {"reason": "DeadlineExceeded", "message": "Pod was active too long"},
            r"took too long, .* \(DeadlineExceeded\)\. Pod was active too long",
        ),
    ],
)
def test_why_the_cluster_ended_a_build_is_told(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, status: dict[str, str], words: str
):
    end = once(lambda: fake_kubernetes.node.end_with("x86_64", **status))
    seen = Seen(engine, job(x86_64=STAYS), end)
    assert re.search(words, seen.cause)
    assert not seen.outcomes["x86_64"].cancelled
    assert fake_kubernetes.node.made == 1


def test_a_build_of_which_the_cluster_ended_a_program_for_its_memory_is_told_so(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    """RUN steps are programs of their own; the buildroot program goes on, and says what it saw."""
    failing = job(x86_64=[["fail", "exit status 137."]])
    fake_kubernetes.node.reason = "OOMKilled"
    failure = Seen(engine, failing).outcomes["x86_64"].failure
    assert failure and failure.cause == "exit status 137."
    assert failure.hint.startswith(
        "A program of the build used more memory than it may (OOMKilled)."
    )


def test_a_deadline_of_the_job_is_told(engine: KubernetesEngine, fake_kubernetes: FakeKubernetes):
    seen = Seen(
        engine, job(x86_64=STAYS), once(lambda: fake_kubernetes.node.exceed_deadline("x86_64"))
    )
    assert "took too long" in seen.cause and "DeadlineExceeded" in seen.cause


EVICTED = {"reason": "Evicted", "message": "The node was low on resource: memory."}
LOSSES: dict[str, Callable[[FakeKubernetes], None]] = {
    "evicted": lambda fake: fake.node.end_with("x86_64", **EVICTED),
    "pod deleted": lambda fake: fake.node.delete_pod("x86_64"),
    "node lost": lambda fake: fake.node.lose("x86_64"),
    "node gone": lambda fake: fake.node.leave_behind("x86_64"),
    "forgotten": lambda fake: fake.node.end_with("x86_64", container="ContainerStatusUnknown"),
}
TOLD = {
    "evicted": "(Evicted): The node was low on resource: memory",
    "pod deleted": "was deleted",
    "node lost": "(NodeLost): Node node-1",
    "node gone": "was deleted",
    "forgotten": "has lost the build (ContainerStatusUnknown)",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_cluster_has_lost_is_built_again_and_told(
    engine: KubernetesEngine,
    fake_kubernetes: FakeKubernetes,
    loss: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pods, "LEAVING", 2.0)
    again = [["again", str(tmp_path / "mark")]]
    seen = Seen(engine, job(x86_64=again), once(lambda: LOSSES[loss](fake_kubernetes)))
    assert seen.outcomes["x86_64"].report
    assert len(seen.notes) == 1 and TOLD[loss] in seen.notes[0]
    assert seen.notes[0].endswith("It is started again.")
    assert sorted(fake_kubernetes.store.of("jobs")) == ["kcb-1-1-x86-64", "kcb-1-1-x86-64-2"]
    assert engine.remove("kcb-1-1", 5)
    assert not fake_kubernetes.store.of("jobs")


@pytest.mark.parametrize("refused", ["POST jobs", "POST secrets"])
def test_a_second_try_that_the_cluster_refuses_at_first_is_made_later(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes, refused: str, tmp_path: Path
):
    refusals = [Refusal(403, "Forbidden", "exceeded quota")]

    def lose() -> None:
        fake_kubernetes.refuse = lambda what, name: (
            refusals.pop() if refusals and what == refused else None
        )
        fake_kubernetes.node.end_with("x86_64", **EVICTED)

    seen = Seen(engine, job(x86_64=[["again", str(tmp_path / "mark")]]), once(lose))
    assert not refusals
    assert seen.outcomes["x86_64"].report
    assert engine.remove("kcb-1-1", 5)
    assert not fake_kubernetes.store.of("jobs")


@pytest.mark.parametrize("loss", LOSSES)
def test_where_the_site_wants_no_second_try_it_is_a_failure(
    make: Callable[..., KubernetesEngine],
    fake_kubernetes: FakeKubernetes,
    loss: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pods, "LEAVING", 2.0)
    seen = Seen(make(retries=0), job(x86_64=STAYS), once(lambda: LOSSES[loss](fake_kubernetes)))
    assert TOLD[loss] in seen.cause


NO_ROOM = {"reason": "OutOfcpu", "message": "Pod Node didn't have enough resource: cpu."}


def test_what_a_node_has_not_taken_is_begun_again(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.node.refusals = [NO_ROOM]
    seen = Seen(engine, job(x86_64=[["say", "x"]]))
    assert (seen.log, bool(seen.outcomes["x86_64"].report)) == (b"x", True)
    assert seen.notes == [
        "The cluster has not taken the build (OutOfcpu): "
        "Pod Node didn't have enough resource: cpu. It is started again."
    ]


def test_what_no_node_takes_is_a_failure_in_the_clusters_words(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.node.refusals = [NO_ROOM, NO_ROOM]
    seen = Seen(engine, job(x86_64=[["say", "x"]]))
    assert seen.cause.startswith("The cluster has not taken the build (OutOfcpu): Pod Node")


def test_an_image_without_the_program_is_told_in_the_runtimes_words():
    words = 'failed to create containerd task: exec: "python3": executable file not found in $PATH'
    ended = {"exitCode": 128, "reason": "StartError", "message": words}
    status = {"containerStatuses": [{"name": "buildroot", "state": {"terminated": ended}}]}
    pod = pod_state.read({"metadata": {"name": "p", "uid": "u"}, "status": status}, "buildroot")
    assert not pod.lost
    told = pod_state.failure(pod, ())
    assert told.cause == f"The cluster could not run the buildroot program (StartError). {words}"


@pytest.mark.parametrize("container", [{}, {"containerStatuses": []}])
def test_a_pod_that_is_deleted_may_forget_its_container_before_it_goes(container: dict[str, Any]):
    meta = {"name": "p", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    found = {"metadata": meta, "status": {"phase": "Failed", **container}}
    pod = pod_state.read(found, "buildroot")
    assert pod.lost
    assert pod_state.failure(pod, ()).cause == "The build's pod p was deleted."


def test_a_second_try_that_is_lost_is_the_last(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    seen = Seen(
        engine,
        job(x86_64=STAYS),
        lambda news: fake_kubernetes.node.end_with("x86_64", **EVICTED) if news.log else None,
    )
    assert "Evicted" in seen.cause
    assert len(seen.notes) == 1


def test_a_program_that_ends_without_a_word_leaves_its_last_lines(engine: KubernetesEngine):
    seen = Seen(engine, job(x86_64=[["shout", "libfoo.so: cannot open\n"], ["crash"]]))
    assert seen.cause == "The buildroot program ended without a word."
    failure = seen.outcomes["x86_64"].failure
    assert failure and failure.last_lines == "libfoo.so: cannot open"
    assert "exit code was 9" in failure.hint
    assert seen.log == b"libfoo.so: cannot open\n"


def test_last_words_past_the_log_are_told_once_and_waited_for(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    """The runtime may be late with them; each connection begins with those of the last second."""
    asked: list[float] = []

    def note(what: str, name: str) -> None:
        if what == "GET pods/log":
            asked.append(time.monotonic())

    fake_kubernetes.refuse = note
    words = ["shout", "libfoo.so: cannot open\n"]
    seen = Seen(engine, job(x86_64=[["say", "x\n"], words, words, ["crash"]]))
    assert seen.log == b"x\n" + 2 * b"libfoo.so: cannot open\n"
    failure = seen.outcomes["x86_64"].failure
    assert failure and failure.last_lines == "libfoo.so: cannot open\nlibfoo.so: cannot open"
    assert 1.0 < asked[-1] - asked[0]


def test_words_past_the_log_are_told_once_when_connections_break(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.cut_logs_after = 0.3
    warning = ["shout", "warning\n"]
    script = [["talk", 30, 1], warning, ["talk", 30, 1], warning, ["talk", 30, 1]]
    seen = Seen(engine, job(x86_64=script))
    assert fake_kubernetes.asked.count("GET pods/log") > 4
    assert seen.log.count(b"warning\n") == 2
    assert seen.log.count(b"line 29\n") == 3


# -- starting and ending by others


def test_a_job_that_somebody_cancelled_is_started_anew(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    make().start(job(x86_64=STAYS))
    make().cancel("kcb-1-1")
    seen = Seen(make(), job(x86_64=STAYS[:1]))
    assert seen.outcomes["x86_64"].report
    assert fake_kubernetes.node.made == 2


def test_a_job_of_another_plan_is_not_adopted(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes
):
    make().start(job(x86_64=STAYS))
    assert Seen(make(), job(x86_64=[["say", "new"]])).log == b"new"


def test_the_last_try_is_the_one_that_is_adopted(
    make: Callable[..., KubernetesEngine], fake_kubernetes: FakeKubernetes, tmp_path: Path
):
    again = job(x86_64=[["again", str(tmp_path / "mark")], ["wait", str(tmp_path / "go")]])
    first = make()
    first.start(again)
    for news in first.follow(again, BEAT):
        if news.log and "2" not in str(list(fake_kubernetes.store.of("jobs"))):
            fake_kubernetes.node.end_with("x86_64", **EVICTED)
        if news.note:
            break
    (tmp_path / "go").touch()
    assert Seen(make(), again).outcomes["x86_64"].report
    assert fake_kubernetes.node.made == 2


def test_a_build_that_another_process_cancels_ends_as_cancelled(
    make: Callable[..., KubernetesEngine],
):
    sweep = make()
    seen = Seen(make(), job(x86_64=STAYS), once(lambda: sweep.cancel("kcb-1-1")))
    assert seen.outcomes["x86_64"].cancelled
    assert seen.notes == []


def test_the_task_may_begin_while_the_cluster_is_away(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    fake_kubernetes.down()
    threading.Timer(2, fake_kubernetes.up).start()
    assert Seen(engine, job(x86_64=[["say", "x"]])).log == b"x"


def test_we_may_not_is_told_in_the_clusters_words(
    engine: KubernetesEngine, fake_kubernetes: FakeKubernetes
):
    words = 'jobs.batch is forbidden: User "builder" cannot create resource "jobs"'
    fake_kubernetes.refuse = lambda what, name: Refusal(403, "Forbidden", words)
    with pytest.raises(
        ApiError, match="cannot create resource .* An admin should look at the perm"
    ):
        engine.start(job(x86_64=[]))


def test_no_thread_is_left_when_the_reader_goes_away(engine: KubernetesEngine):
    one = job(x86_64=STAYS)
    engine.start(one)
    news = engine.follow(one, BEAT)
    for each in news:
        if each.log:
            break
    news.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        isinstance(thread, streams.Reader) for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert not [t for t in threading.enumerate() if isinstance(t, streams.Reader)]
