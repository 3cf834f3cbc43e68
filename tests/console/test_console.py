"""Somebody waits for a build: what they see, when the hub is asked, and how it ends."""

from __future__ import annotations

import io
from types import SimpleNamespace

import koji
import pytest
import requests

from koji_containerbuild.console.progress import EventReader, Progress
from koji_containerbuild.console.screen import Screen
from koji_containerbuild.console.wait import Site, wait
from koji_containerbuild.console.watch import Pace
from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.tasks import TASK_LOG, arch_log
from tests.fakes.clock import FakeClock, interrupt
from tests.fakes.hub import FakeHub
from tests.fakes.terminal import FakeTerminal

SOURCE = "git+https://src.example.com/container/hello#" + "a" * 40
SITE = Site("https://koji.example.com/koji", "koji")
RESULT = {"repositories": ["r.example.com/hello:1-2"], "koji_builds": ["7"]}


@pytest.fixture()
def build():
    """A build that has been asked for, on a hub, with a clock."""
    hub, clock = FakeHub(), FakeClock()
    hub.add_target("f43", "f43-candidate")
    hub.builds[7] = {"nvr": "hello-1-2"}
    session = hub.session()
    task_id = session.buildContainer(SOURCE, "f43", {"git_branch": "f43"})
    return SimpleNamespace(hub=hub, clock=clock, session=session, task_id=task_id)


def event(build, second, arch, stage, state, **more):
    """At that second the builder writes a line, with the builder's clock an hour behind."""

    def happen():
        line = Event(build.clock.now - 3600, arch, stage, state, **more).line()
        build.hub.write(build.task_id, TASK_LOG, line + "\n")

    build.clock.at(second, happen)


def a_good_build(build):
    build.clock.at(2, lambda: build.hub.open(build.task_id))
    event(build, 3, "task", "prepare", "started")
    event(build, 4, "task", "prepare", "done", seconds=1.0)
    event(build, 5, "x86_64", "build", "started")
    event(build, 5, "aarch64", "build", "started")
    event(build, 30, "x86_64", "build", "done", seconds=25.0)
    event(build, 40, "aarch64", "build", "done", seconds=35.0)
    build.clock.at(60, lambda: build.hub.close(build.task_id, RESULT))


def run(build, out=None, columns=0, quiet=False, pace=None):
    screen = Screen(out or io.StringIO(), lambda: columns, quiet)
    return wait(build.session, build.task_id, screen, build.clock, pace or Pace(), SITE)


def test_without_a_terminal_each_finished_stage_is_one_line(build):
    a_good_build(build)
    out = io.StringIO()
    assert run(build, out) == 0
    assert out.getvalue().splitlines() == [
        "1 buildContainer: free",
        "1 buildContainer: free -> open (builder1)",
        "task     prepare                  done in 1.0 s",
        "x86_64   build                    done in 25.0 s",
        "aarch64  build                    done in 35.0 s",
        "1 buildContainer: open -> closed",
        "Image: r.example.com/hello:1-2",
        "Build: hello-1-2 https://koji.example.com/koji/buildinfo?buildID=7",
    ]


def test_in_a_terminal_there_is_one_line_for_each_arch(build):
    a_good_build(build)
    terminal = FakeTerminal()
    seen = {}
    build.clock.at(20, lambda: seen.update(text=terminal.text))
    assert run(build, terminal, columns=80) == 0
    assert "\x1b" not in terminal.text
    *_, task, x86_64, aarch64, last = seen["text"].splitlines() + [""]
    assert task == "task     prepare                  done in 1.0 s"
    assert x86_64.startswith("x86_64   build                    00:1")
    assert aarch64.startswith("aarch64  build                    00:1")
    assert terminal.text.count("x86_64") == 1


def test_before_a_builder_has_it_the_wait_is_counted(build):
    terminal = FakeTerminal()
    build.clock.at(70, lambda: build.hub.cancel(build.task_id))
    seen = {}
    build.clock.at(65, lambda: seen.update(text=terminal.text))
    assert run(build, terminal, columns=80) == 1
    assert "waiting for a builder 01:0" in seen["text"]
    assert "waiting" not in terminal.text


def test_the_last_stage_is_told_before_the_end(build):
    build.clock.at(1, lambda: build.hub.open(build.task_id))
    event(build, 5, "x86_64", "push", "done", seconds=1.0)
    build.clock.at(5, lambda: build.hub.close(build.task_id, RESULT))
    out = io.StringIO()
    run(build, out)
    told = out.getvalue()
    assert told.index("x86_64   push") < told.index("open -> closed")


def test_quiet_prints_the_result_only(build):
    a_good_build(build)
    out = io.StringIO()
    assert run(build, out, quiet=True) == 0
    assert [line.partition(":")[0] for line in out.getvalue().splitlines()] == ["Image", "Build"]


def test_the_hub_is_asked_less_and_less_while_nothing_changes(build):
    build.clock.at(600, lambda: build.hub.close(build.task_id, RESULT))
    run(build)
    assert build.clock.slept[0] <= 1
    assert max(build.clock.slept) == 3
    assert build.hub.calls.count("getTaskInfo") < 600 / 3 + 10


def test_a_site_that_polls_often_is_obeyed(build):
    build.clock.at(5, lambda: build.hub.close(build.task_id, RESULT))
    run(build, pace=Pace(poll_interval=0.2))
    assert max(build.clock.slept) == pytest.approx(0.2)


def test_the_log_is_read_once_however_it_is_cut(build):
    line = Event(1.0, "x86_64", "push", "done", 2.0).line() + "\n"
    reader = EventReader()
    pieces = [line[:10], line[10:] + "buildah says hello\n" + line[:5], line[5:]]
    assert [len(reader.read(piece.encode())) for piece in pieces] == [0, 1, 1]


def test_a_log_that_is_no_text_does_not_stop_the_watch():
    assert EventReader().read(b"\xff\xfe\x00\n\n") == []


def test_elapsed_time_does_not_need_the_clocks_to_agree():
    progress = Progress()
    progress.take(Event(1000.0, "x86_64", "build", "started"), now=5000.2)
    assert progress.lines(5012.2) == ["x86_64   build                    00:12"]


def test_a_failure_says_why_and_where_the_logs_are(build, capsys):
    words = "x86_64 failed in build.\nCause: make: *** [all] Error 1\nHint: see x86_64.log"
    build.hub.write(build.task_id, arch_log("x86_64"), "make\n")
    build.hub.write(build.task_id, "plan.json", "{}")
    build.clock.at(3, lambda: build.hub.fail(build.task_id, 2001, words))
    assert run(build) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Task 1 failed.",
        "x86_64 failed in build.",
        "Cause: make: *** [all] Error 1",
        "Hint: see x86_64.log",
        "Logs: x86_64.log",
        "  Read them:  koji watch-logs 1",
        "  Keep them:  koji download-logs 1",
        "Task info: https://koji.example.com/koji/taskinfo?taskID=1",
    ]


def test_a_cancelled_build_says_so(build, capsys):
    build.clock.at(3, lambda: build.hub.cancel(build.task_id))
    assert run(build) == 1
    assert "Task 1 was cancelled." in capsys.readouterr().err


def test_ctrl_c_stops_the_watch_and_not_the_build(build, capsys):
    build.clock.at(3, lambda: build.hub.open(build.task_id))
    build.clock.at(9, interrupt)
    assert run(build) == 1
    told = capsys.readouterr().err
    assert "The build goes on as task 1." in told
    assert "koji watch-task 1" in told
    assert "cancelTask" not in build.hub.calls


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("Connection refused"),
        requests.exceptions.HTTPError("503 Server Error"),
        koji.ServerOffline("database outage"),
        koji.xmlrpcplus.Fault(1, "<class 'psycopg2.OperationalError'>"),
    ],
)
def test_a_hub_that_is_restarted_is_waited_for(build, error):
    a_good_build(build)
    build.clock.at(10, lambda: setattr(build.hub, "away", error))
    build.clock.at(50, lambda: setattr(build.hub, "away", None))
    out = io.StringIO()
    assert run(build, out) == 0
    assert "The hub does not answer" in out.getvalue()
    assert "The hub answers again, after 00:" in out.getvalue()
    assert out.getvalue().count("does not answer") == 1
    assert "aarch64  build                    done in 35.0 s" in out.getvalue()


def test_a_hub_that_stays_away_is_given_up(build, capsys):
    build.clock.at(10, lambda: setattr(build.hub, "away", OSError("No route to host")))
    assert run(build, pace=Pace(patience=120)) == 1
    told = capsys.readouterr().err
    assert "has not answered for 02:0" in told
    assert "koji watch-task 1" in told


def test_a_hub_that_is_away_from_the_first_moment_is_waited_for(build):
    a_good_build(build)
    build.hub.away = OSError("Connection reset by peer")
    build.clock.at(5, lambda: setattr(build.hub, "away", None))
    assert run(build) == 0
    assert not build.session.logged_in


def test_watching_needs_no_login(build):
    a_good_build(build)
    assert run(build) == 0
    assert build.hub.calls.index("logout") < build.hub.calls.index("getTaskInfo")


def test_a_task_that_is_started_again_is_followed_from_its_new_beginning(build):
    build.clock.at(1, lambda: build.hub.open(build.task_id))
    event(build, 2, "x86_64", "build", "started")
    build.clock.at(10, lambda: build.hub.outputs[build.task_id].clear())
    build.clock.at(11, lambda: build.hub.open(build.task_id))
    event(build, 12, "x86_64", "push", "done", seconds=1.0)
    build.clock.at(30, lambda: build.hub.close(build.task_id, RESULT))
    out = io.StringIO()
    assert run(build, out) == 0
    assert "x86_64   push                     done in 1.0 s" in out.getvalue()


def test_what_a_build_prints_cannot_move_the_cursor(build):
    build.clock.at(1, lambda: build.hub.open(build.task_id))
    event(build, 2, "x86_64", "build", "note", text="\x1b[2J\x9b1A gone")
    build.clock.at(9, lambda: build.hub.close(build.task_id, RESULT))
    out = io.StringIO()
    run(build, out)
    assert "\x1b" not in out.getvalue()
    assert "[2J1A gone" in out.getvalue()


def test_a_terminal_that_lacks_the_letters_gets_question_marks():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Screen(out, lambda: 0).say("naïve …")
    assert out.buffer.getvalue() == b"na?ve ?\n"


def test_a_result_with_more_in_it_is_shown_whole(build):
    result = {"repositories": [], "koji_builds": [], "user_warnings": ["old"], "build": "skipped"}
    build.clock.at(1, lambda: build.hub.close(build.task_id, result))
    out = io.StringIO()
    run(build, out, quiet=True)
    assert out.getvalue().splitlines() == ["Warning: old", "build: skipped"]
