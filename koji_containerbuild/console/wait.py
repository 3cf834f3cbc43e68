"""Wait for a task in a terminal: watch it, tell how it ended, and give the exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import koji

from koji_containerbuild.console import report
from koji_containerbuild.console.screen import Screen
from koji_containerbuild.console.watch import LOST, Clock, Pace, Watcher
from koji_containerbuild.errors import ServiceError

ANSWER_IN = 60  # seconds that one answer of the hub may take: Koji would wait for half a day


@dataclass(frozen=True)
class Site:
    """What the messages speak of."""

    weburl: str
    command: str  # how Koji was started: `koji`, or `koji -p fedora`


def wait(session: Any, task_id: int, screen: Screen, clock: Clock, pace: Pace, site: Site) -> int:
    """Exit code 0 if the task did its work; 1 if not, or if we stopped watching it.

    The result goes to `screen`, a failure to standard error.
    """
    watcher = Watcher(session, task_id, screen, clock, pace)
    try:
        log_out(session)
        state = watcher.wait()
        if state == "CLOSED":
            screen.result(_success(watcher, task_id, site))
            return 0
        if state == "FAILED":
            complain(_failure(watcher, task_id, site))
        else:
            complain(report.cancelled(task_id, site.weburl))
    except KeyboardInterrupt:
        screen.leave()
        complain(["", *report.left(task_id, site.command)])
    except ServiceError as error:
        screen.leave()
        complain([str(error), *report.left(task_id, site.command)])
    return 1


def log_out(session: Any) -> None:
    """End the login, as Koji's own commands do before they watch; then nothing expires.

    From here on a lost connection is ours to handle: Koji would retry in silence.
    """
    session.opts.update(max_retries=0, anon_retry=False, offline_retry=False, timeout=ANSWER_IN)
    try:
        session.logout()
    except (koji.GenericError, *LOST):
        session.setSession(None)  # the hub is away: forget the login, it ends by itself


def complain(lines: list[str]) -> None:
    """Say it on standard error."""
    Screen(sys.stderr, lambda: 0).result(lines)


def _success(watcher: Watcher, task_id: int, site: Site) -> list[str]:
    result = watcher.call("getTaskResult", task_id)
    builds = {
        build_id: watcher.call("getBuild", int(build_id))
        for build_id in result.get("koji_builds") or ()
    }
    return report.succeeded(result, builds, site.weburl)


def _failure(watcher: Watcher, task_id: int, site: Site) -> list[str]:
    fault = watcher.call("getTaskResult", task_id, raise_fault=False)
    logs = watcher.call("listTaskOutput", task_id)
    words = str(fault.get("faultString", fault))
    return report.failed(words, task_id, logs, site.weburl, site.command)
