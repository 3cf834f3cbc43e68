"""The life of a buildContainer task, told from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Optional, Union

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.preview import lines, preview
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import (
    DRY_RUN_LOG,
    PLAN_FILE,
    WARNINGS_LOG,
    BuildResult,
    arch_log,
    warning_lines,
)
from koji_containerbuild.engines.base import Job, cancelling
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.ends import KOJID_ENDS, optional, told_to_end
from koji_containerbuild.tasks.follow import follow, succeeded
from koji_containerbuild.tasks.index import pull_log, unpublish
from koji_containerbuild.tasks.koji_authority import KojiAuthority
from koji_containerbuild.tasks.mail import Told, telling
from koji_containerbuild.tasks.prepare import prepare, stage
from koji_containerbuild.tasks.publish import finish, publish
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.sweep import sweep
from koji_containerbuild.tasks.tools import Ask, Task, Tools

PATIENCE = 2.0  # seconds for a cancelled build to end: kojid gives us three
TAKEN_OVER = 60.0  # the same, for one that must have ended before another may begin


def run_build(ask: Ask, task: Task, state: TaskState, tools: Tools) -> BuildResult:
    """A task that is started again finds its plan, and its jobs still running.

    The result is kept until the task's end, so that no restart builds, or tells of it, again.
    """
    result = state.result()
    if result is None:
        with telling(ask, task, tools) as told, giving_back(state, task, tools, told):
            result = imported_before(state, task, tools)
            if result is None:
                begun = tools.aside(partial(begin, ask, state, task, tools))
                if isinstance(begun, BuildResult):
                    return begun
                result = build(begun, task, state, tools)
            told.plan, told.result = state.plan(), result
            with optional(tools.logs, "result"):  # without it a restart finishes the build again
                state.save_result(result)
    clear(state, tools)
    return result


def begin(ask: Ask, state: TaskState, task: Task, tools: Tools) -> Union[Job, BuildResult]:
    """A job that was started, or what a dry run told: all that is not needed for the wait."""
    request = ask()
    sweep(tools.session, task.hub, tools.config, tools.engine, tools.registry)
    if request.options.dry_run:
        return dry_run(request, task, state, tools)
    job = found_again(state, tools) or prepared(request, state, task, tools)
    return tools.engine.start(job)


def build(job: Job, task: Task, state: TaskState, tools: Tools) -> BuildResult:
    """Wait for its end, and publish what came of it."""
    with cancelling(tools.engine, job, KOJID_ENDS):
        mend = partial(mend_log, job.plan, tools)
        outcomes = list(follow(job, tools.engine, tools.logs, mend))
    ended = succeeded(outcomes, job.plan)
    return publish(job.plan, ended, task, tools, state)


def mend_log(plan: BuildPlan, tools: Tools, outcome: Outcome) -> None:
    """What the arch kept of its log, all of it, in place of what came through."""
    if outcome.log or outcome.report:
        with optional(tools.logs, "log"):
            repository = Pullspec.parse(plan.destination.repository)
            kept = pull_log(outcome, repository, tools.registry, tools.work)
            tools.logs.replace(arch_log(outcome.arch), kept)


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


def imported_before(state: TaskState, task: Task, tools: Tools) -> Optional[BuildResult]:
    """The result of a task that died after the import: nothing before it is done again."""
    plan, expected = state.plan(), state.expected()
    if plan is None or expected is None or state_of_reserved(state, tools) != "COMPLETE":
        return None
    return finish(plan, expected, task, tools, state)


def found_again(state: TaskState, tools: Tools) -> Optional[Job]:
    """The job of a task that was started before, unless its number is given back already."""
    plan = state.plan()
    if plan is None:
        return None
    if not plan.scratch and state_of_reserved(state, tools) not in ("BUILDING", "COMPLETE"):
        return None
    return Job(state.name, plan)


def state_of_reserved(state: TaskState, tools: Tools) -> str:
    """Of the build that the task has reserved; empty: there is none."""
    reservation = state.reservation()
    if reservation is None:
        return ""
    found = Lookups(tools.session).build(str(reservation.nvr))
    return found.state if found and found.id == reservation.build_id else ""


def prepared(request: BuildRequest, state: TaskState, task: Task, tools: Tools) -> Job:
    """A plan of our own. What an earlier start has left without one is given back first."""
    if state.name in tools.engine.names():
        tools.engine.cancel(state.name)
        if not tools.engine.remove(state.name, TAKEN_OVER):
            raise ServiceError("An earlier build of this task has not ended.", do="Build again.")
    unused, earlier = refund(state, task, tools, cancelled=False), state.plan()
    if unused and earlier:
        unpublish(earlier, tools.registry)
    state.forget_plan()
    with stage(tools, "target"):
        koji = KojiAuthority(request, task, tools, state.save_reservation)
    made = prepare(request, koji, tools)
    state.save_plan(made.plan)
    tools.logs.put(PLAN_FILE, made.plan.to_json())
    if made.plan.warnings:  # the build may fail: they are known all the same
        tools.logs.put(WARNINGS_LOG, warning_lines(made.plan.warnings))
    return Job(state.name, made.plan, made.near, fresh=True)


@contextmanager
def giving_back(state: TaskState, task: Task, tools: Tools, told: Told) -> Iterator[None]:
    """Whichever way the task ends, the release number is given back and nothing is left lying.

    But only while the task is ours. Told to end, we ask Koji why: a cancelled task ends its build,
    a kojid that is restarted leaves it running for the task that Koji starts again. And a process
    that Koji does not talk to any more has such a successor, or the sweep.
    """
    try:
        yield
    except BaseException as error:
        told.plan = state.plan()
        now = task_state(task, tools)
        if now is not None and (now == CANCELED or not told_to_end(error)):
            give_back(state, task, tools, cancelled=now == CANCELED)
        raise


def task_state(task: Task, tools: Tools) -> Optional[int]:
    """None: Koji does not tell us."""
    try:
        return Lookups(tools.session).task_state(task.id)
    except ServiceError:
        return None


def give_back(state: TaskState, task: Task, tools: Tools, *, cancelled: bool) -> None:
    """The release number, and what was pushed under it, unless a Koji build came of it.

    Never raises: the error that brought us here is the one to tell. What does not come to its end
    here is done again by the sweep, which needs plan and reservation for that.
    """
    plan = state.plan()
    with optional(tools.logs, "clean-up"):
        tools.engine.cancel(state.name)
    with optional(tools.logs, "clean-up"):
        unused = refund(state, task, tools, cancelled=cancelled)
        ended = False
        with optional(tools.logs, "clean-up"):
            ended = tools.engine.remove(state.name, PATIENCE)
        if plan and (unused or plan.scratch):
            unpublish(plan, tools.registry)
        if ended:
            state.forget()
    tools.logs.flush(now=True)


def refund(state: TaskState, task: Task, tools: Tools, *, cancelled: bool) -> bool:
    """Whether there was a reservation, and no build has come of it."""
    reservation = state.reservation()
    if reservation is None:
        return False
    generator = tools.config.builder.content_generator
    return Reservations(tools.session, generator, task.id).refund(reservation, cancelled)


def clear(state: TaskState, tools: Tools) -> None:
    """Nothing of the task stays on this host; what cannot be cleared is left to the sweep."""
    ended = False
    with optional(tools.logs, "clean-up"):
        ended = tools.engine.remove(state.name, PATIENCE)
    tools.logs.flush(now=True)
    if ended:
        state.forget()
