"""The life of a buildContainer task, told from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import PLAN_FILE, BuildResult
from koji_containerbuild.engines.base import Job, running
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.tasks.follow import follow, succeeded
from koji_containerbuild.tasks.index import unpublish
from koji_containerbuild.tasks.prepare import prepare
from koji_containerbuild.tasks.publish import publish
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.tools import Task, Tools

PATIENCE = 2.0  # seconds for a cancelled build to end: kojid gives us three


def run_build(request: BuildRequest, task: Task, tools: Tools) -> BuildResult:
    """A task that is started again finds its plan, and its jobs still running."""
    state = TaskState.of(task, tools.config.builder.work_dir / "tasks")
    outcomes: list[Outcome] = []
    with giving_back(state, outcomes, task, tools):
        known = state.plan()
        if known:
            job = Job(state.name, known)
        else:
            made = prepare(request, task, tools, state.save_reservation)
            state.save_plan(made.plan)
            tools.logs.put(PLAN_FILE, made.plan.to_json())
            job = Job(state.name, made.plan, made.near)
        with running(tools.engine, job):
            outcomes += follow(job, tools.engine, tools.logs)
        return publish(job.plan, succeeded(outcomes, job.plan), task, tools, state)


@contextmanager
def giving_back(
    state: TaskState, outcomes: list[Outcome], task: Task, tools: Tools
) -> Iterator[None]:
    """Whichever way the task ends, the release number is given back and nothing is left lying.

    Told to end, we ask Koji why. A cancelled task ends its build; a kojid that is restarted leaves
    it running, for the task that Koji starts again.
    """
    try:
        yield
    except Exception:
        give_back(state, outcomes, task, tools, cancelled=False)
        raise
    except BaseException:
        if Lookups(tools.session).task_state(task.id) == CANCELED:
            tools.engine.cancel(state.name)
            give_back(state, outcomes, task, tools, cancelled=True)
        raise
    clear(state, tools)


def give_back(
    state: TaskState, outcomes: list[Outcome], task: Task, tools: Tools, *, cancelled: bool
) -> None:
    """The release number, and what was pushed under it, unless a Koji build came of it."""
    plan, reservation = state.plan(), state.reservation()
    unused = bool(plan and plan.scratch)
    if reservation:
        generator = tools.config.builder.content_generator
        reservations = Reservations(tools.session, generator, task.id)
        unused = reservations.refund(reservation, cancelled)
    if plan and unused:
        unpublish(plan, outcomes, tools.registry)
    clear(state, tools)


def clear(state: TaskState, tools: Tools) -> None:
    """Nothing of the task stays on this host."""
    if tools.engine.remove(state.name, PATIENCE):
        state.forget()
    tools.logs.flush(now=True)
