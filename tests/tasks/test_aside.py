"""Work in a child process: real processes, a hub that is not one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import koji
import pytest
from koji.tasks import ServerExit

from koji_containerbuild.engines.api import ApiError
from koji_containerbuild.errors import (
    BadRequest,
    BuildCancelled,
    BuildFailed,
    ConfigError,
    NotFound,
    OddManifest,
    ServiceError,
)
from koji_containerbuild.koji_api.task_logs import TaskLogs
from koji_containerbuild.tasks import aside
from koji_containerbuild.tasks.aside import in_child
from tests.fakes.koji_session import FakeKojiSession

KINDS = [
    BadRequest("There is no such file.", do="Add it."),
    ConfigError("A key is wrong."),
    NotFound("It is not there."),
    OddManifest("It is odd.", kind="text/plain"),
    ApiError("The cluster said no.", status=403, reason="Forbidden", do="Look."),
    BuildFailed("No luck."),
    BuildCancelled("Told to end."),
    ServerExit("restart"),
    koji.GenericError("a site's callback says no"),
    KeyboardInterrupt(),
    OSError(28, "No space left on device"),
]


@pytest.fixture
def hub() -> FakeKojiSession:
    return FakeKojiSession()


@pytest.fixture
def logs(hub: FakeKojiSession, tmp_path: Path) -> TaskLogs:
    return TaskLogs(hub, "tasks/7", tmp_path / "state")


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


def test_what_the_work_returns_comes_back_and_nothing_else(hub: FakeKojiSession, logs: TaskLogs):
    seen: list[int] = []
    child = in_child(hub, logs, lambda: seen.append(1) or os.getpid())
    assert child != os.getpid()
    assert seen == []
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: BaseException, hub: FakeKojiSession, logs: TaskLogs):
    with pytest.raises(type(error)) as caught:
        in_child(hub, logs, raising(error))
    assert vars(caught.value) == vars(error)
    assert str(caught.value) == str(error)
    assert "test_aside.py" in str(caught.value.__cause__)  # where it was raised


class Veto(koji.BuildError):
    """Of a site's callback."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who} says no: {why}")


def test_an_error_of_a_site_that_cannot_travel_keeps_its_words_and_code(
    hub: FakeKojiSession, logs: TaskLogs
):
    with pytest.raises(koji.GenericError, match="^legal says no: GPL$") as caught:
        in_child(hub, logs, raising(Veto("legal", "GPL")))
    assert caught.value.faultCode == koji.BuildError.faultCode
    assert type(caught.value).__name__ == "Veto"


def test_a_result_that_cannot_travel_is_a_bug_that_is_named(hub: FakeKojiSession, logs: TaskLogs):
    with pytest.raises(RuntimeError, match="pickle"):
        in_child(hub, logs, lambda: lambda: None)


def test_an_error_that_cannot_travel_comes_back_in_words(hub: FakeKojiSession, logs: TaskLogs):
    class Local(Exception):
        """Nobody can import it."""

    with pytest.raises(RuntimeError, match="Local: what it said"):
        in_child(hub, logs, raising(Local("what it said")))


def test_the_session_goes_on_where_the_child_has_left_it(hub: FakeKojiSession, logs: TaskLogs):
    """The hub refuses a call whose number it has seen."""

    def work() -> None:
        assert hub.connections == 2  # a connection of its own
        hub.callnum += 5

    before = hub.callnum
    in_child(hub, logs, work)
    assert hub.callnum == before + 5
    assert hub.connections == 1
    with pytest.raises(BadRequest):
        in_child(hub, logs, lambda: work() or raising(BadRequest("no"))())
    assert hub.callnum == before + 10


def test_the_logs_go_on_where_the_child_has_left_them(hub: FakeKojiSession, logs: TaskLogs):
    def work() -> None:
        logs.write("x.log", b"one\n")
        logs.flush(now=True)
        logs.write("x.log", b"two\n")

    in_child(hub, logs, work)
    taken: list[tuple[str, int]] = []
    hub.uploadFile = lambda folder, name, size, digest, offset, data: (  # type: ignore[method-assign]
        taken.append((name, int(offset))) or True
    )
    logs.flush(now=True)
    assert taken == [("x.log", 4)]


def test_a_child_that_is_killed_is_told(hub: FakeKojiSession, logs: TaskLogs):
    before = hub.callnum
    with pytest.raises(ServiceError, match=r"was killed\. Build again"):
        in_child(hub, logs, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert hub.callnum > before + 100  # it may have called the hub


def test_what_a_child_has_told_before_it_was_killed_stays_told(
    hub: FakeKojiSession, logs: TaskLogs
):
    def work() -> None:
        logs.event("target", "started")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ServiceError):
        in_child(hub, logs, work)
    logs.event("clean-up", "done")
    logs.flush(now=True)
    first, second = hub.uploads["tasks/7/osbs-build.log"].decode().splitlines()
    assert "target: started" in first
    assert "clean-up: done" in second


def test_a_child_that_is_killed_over_its_words_is_told(
    hub: FakeKojiSession, logs: TaskLogs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(aside, "_words", lambda *_: b"\x80\x04\x95half")
    with pytest.raises(ServiceError, match="was killed"):
        in_child(hub, logs, lambda: None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aside, "PATIENCE", 0.3)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.mark.parametrize("listens", [True, False])
def test_who_is_told_to_end_ends_the_child_first(
    listens: bool, told: None, hub: FakeKojiSession, logs: TaskLogs, tmp_path: Path
):
    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if listens else signal.SIG_IGN)
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    begun = time.monotonic()
    before = hub.callnum
    with pytest.raises(KeyboardInterrupt):
        in_child(hub, logs, work)
    assert time.monotonic() - begun < 10
    assert hub.callnum > before + 100  # what the child has asked the hub, nobody says
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_who_is_told_to_end_twice_waits_no_longer(
    told: None, hub: FakeKojiSession, logs: TaskLogs, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(aside, "PATIENCE", 60.0)
    times: list[float] = []

    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    def interrupt(*_: Any) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        in_child(hub, logs, work)
    assert len(times) == 2
    assert time.monotonic() - times[1] < 10
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_who_is_told_to_end_hears_what_the_child_has_to_say(
    told: None, hub: FakeKojiSession, logs: TaskLogs
):
    """It is told to end too, and has more to say than a pipe takes."""

    def work() -> None:
        hub.callnum += 3
        logs.write("x.log", 200_000 * b"x")
        time.sleep(60)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    usual = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_child(hub, logs, work)
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert hub.callnum == 3
    logs.flush(now=True)
    assert len(hub.uploads["tasks/7/x.log"]) == 200_000


def test_the_child_of_a_task_that_is_killed_does_not_live_on(
    hub: FakeKojiSession, logs: TaskLogs, tmp_path: Path
):
    pid_file = tmp_path / "pid"

    def work() -> None:
        pid_file.write_text(f"{os.getpid()}\n")
        time.sleep(60)

    task = os.fork()
    if task == 0:
        try:
            in_child(hub, logs, work)
        finally:
            os._exit(0)
    until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    os.kill(task, signal.SIGKILL)
    os.waitpid(task, 0)
    until(lambda: not running(int(pid_file.read_text())))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
