"""The life of a buildContainer task, told from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from koji_containerbuild.contract.preview import lines, preview
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import (
    DRY_RUN_LOG,
    PLAN_FILE,
    WARNINGS_LOG,
    BuildResult,
    warning_lines,
)
from koji_containerbuild.engines.base import Job, running
from koji_containerbuild.errors import ContainerBuildError, ServiceError
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.tasks.follow import follow, succeeded
from koji_containerbuild.tasks.index import unpublish
from koji_containerbuild.tasks.koji_authority import KojiAuthority
from koji_containerbuild.tasks.mail import telling
from koji_containerbuild.tasks.prepare import prepare, stage
from koji_containerbuild.tasks.publish import publish
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.tools import Task, Tools

PATIENCE = 2.0  # seconds for a cancelled build to end: kojid gives us three


def run_build(request: BuildRequest, task: Task, state: TaskState, tools: Tools) -> BuildResult:
    """A task that is started again finds its plan, and its jobs still running."""
    if request.options.dry_run:
        return dry_run(request, task, state, tools)
    with telling(request, task, tools) as told:
        with giving_back(state, task, tools):
            job = found_again(state) or prepared(request, state, task, tools)
            told.plan = job.plan
            with running(tools.engine, job):
                outcomes = list(follow(job, tools.engine, tools.logs))
            ended = succeeded(outcomes, job.plan)
            told.result = publish(job.plan, ended, task, tools, state)
        return told.result


def dry_run(request: BuildRequest, task: Task, state: TaskState, tools: Tools) -> BuildResult:
    """What the request would build. Whatever would be refused is refused, in the same words."""
    try:
        with stage(tools, "target"):
            koji = KojiAuthority(request, task, tools, keep=None)
        plan = prepare(request, koji, tools).plan
        told = preview(plan)
        tools.logs.put(DRY_RUN_LOG, "".join(f"{line}\n" for line in lines(told)))
        tools.logs.put(PLAN_FILE, plan.to_json())
        return BuildResult((), (), plan.warnings, told)
    finally:
        tools.logs.flush(now=True)
        state.forget()


def found_again(state: TaskState) -> Optional[Job]:
    """The job of a task that was started before."""
    plan = state.plan()
    return Job(state.name, plan) if plan else None


def prepared(request: BuildRequest, state: TaskState, task: Task, tools: Tools) -> Job:
    """A plan of our own. What an earlier start has left without one is given back first."""
    if state.name in tools.engine.names():
        tools.engine.cancel(state.name)
        if not tools.engine.remove(state.name, PATIENCE):
            raise ServiceError("An earlier build of this task has not ended.", do="Build again.")
    refund(state, task, tools, cancelled=False)
    with stage(tools, "target"):
        koji = KojiAuthority(request, task, tools, state.save_reservation)
    made = prepare(request, koji, tools)
    state.save_plan(made.plan)
    tools.logs.put(PLAN_FILE, made.plan.to_json())
    if made.plan.warnings:  # the build may fail: they are known all the same
        tools.logs.put(WARNINGS_LOG, warning_lines(made.plan.warnings))
    return Job(state.name, made.plan, made.near)


@contextmanager
def giving_back(state: TaskState, task: Task, tools: Tools) -> Iterator[None]:
    """Whichever way the task ends, the release number is given back and nothing is left lying.

    But only while the task is ours. Told to end, we ask Koji why: a cancelled task ends its build,
    a kojid that is restarted leaves it running for the task that Koji starts again. And a process
    that Koji does not talk to any more has such a successor, or the sweep.
    """
    try:
        yield
    except BaseException as error:
        now = task_state(task, tools)
        told_to_end = not isinstance(error, Exception)
        if now is not None and (now == CANCELED or not told_to_end):
            give_back(state, task, tools, cancelled=now == CANCELED)
        raise
    clear(state, tools)


def task_state(task: Task, tools: Tools) -> Optional[int]:
    """None: Koji does not tell us."""
    try:
        return Lookups(tools.session).task_state(task.id)
    except ServiceError:
        return None


def give_back(state: TaskState, task: Task, tools: Tools, *, cancelled: bool) -> None:
    """The release number, and what was pushed under it, unless a Koji build came of it.

    Never raises: the error that brought us here is the one to tell.
    """
    plan = state.plan()
    tools.engine.cancel(state.name)
    try:
        unused = refund(state, task, tools, cancelled=cancelled)
        ended = tools.engine.remove(state.name, PATIENCE)
        if plan and (unused or plan.scratch):
            unpublish(plan, tools.registry)
        if ended:
            state.forget()
    except ContainerBuildError as error:
        tools.logs.event("clean-up", "failed", text=str(error))
    tools.logs.flush(now=True)


def refund(state: TaskState, task: Task, tools: Tools, *, cancelled: bool) -> bool:
    """Whether there was a reservation, and no build has come of it."""
    reservation = state.reservation()
    if reservation is None:
        return False
    generator = tools.config.builder.content_generator
    unused = Reservations(tools.session, generator, task.id).refund(reservation, cancelled)
    state.forget_reservation()
    return unused


def clear(state: TaskState, tools: Tools) -> None:
    """Nothing of the task stays on this host."""
    if tools.engine.remove(state.name, PATIENCE):
        state.forget()
    tools.logs.flush(now=True)
