"""End every job whose task is over: whatever killed the task, its build does not stay behind."""

from __future__ import annotations

from koji_containerbuild.config import Config
from koji_containerbuild.engines.base import Engine
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.lookups import CANCELED, ENDED, FAILED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.tasks.index import unpublish
from koji_containerbuild.tasks.state import left_over, task_of


def sweep(
    session: Session, hub: str, config: Config, engine: Engine, registry: Registry
) -> list[int]:
    """The tasks of that hub whose leavings were cleared away.

    The state is forgotten last: until then the next sweep does all of it again.
    """
    cleared = _forgotten(session, hub, config, engine)
    for task_id, state in left_over(config.builder.work_dir / "tasks", hub):
        now = Lookups(session).task_state(task_id)
        if now is not None and now not in ENDED:
            continue  # it runs, or Koji will start it again
        if not _told(engine, state.name):
            continue  # the next sweep may reach its cluster
        plan, reservation, unused = state.plan(), state.reservation(), False
        if reservation:
            reservations = Reservations(session, config.builder.content_generator, task_id)
            try:
                unused = reservations.refund(reservation, now == CANCELED)
            except ServiceError:
                continue  # the hub is asked again by the next sweep
        if not _removed(engine, state.name):
            continue  # it may still push
        if plan and (unused or (plan.scratch and now in (CANCELED, FAILED) and not state.result())):
            unpublish(plan, registry)
        state.forget()
        cleared.append(task_id)
    return cleared


def _forgotten(session: Session, hub: str, config: Config, engine: Engine) -> list[int]:
    """The tasks of which nothing is left here but a job, somewhere in a cluster.

    Their builder has ended with all that it knew. A job whose task is not known to be over is let
    alone: another builder may have it.
    """
    here = {task_id for task_id, _ in left_over(config.builder.work_dir / "tasks", hub)}
    try:
        names = engine.names()
    except ServiceError:  # where nobody answers, nothing is done
        return []
    jobs = {task_of(name, hub): name for name in names}
    strangers = {task: name for task, name in jobs.items() if task is not None and task not in here}
    states = Lookups(session).task_states(list(strangers))
    return [
        task for task, name in strangers.items() if states[task] in ENDED and _ended(engine, name)
    ]


def _ended(engine: Engine, name: str) -> bool:
    """Told to end and removed. What one of several clusters cannot be told, the others may be."""
    told = _told(engine, name)
    return _removed(engine, name) and told


def _told(engine: Engine, name: str) -> bool:
    """Whether the job has been told to end."""
    try:
        engine.cancel(name)
    except ServiceError:
        return False
    return True


def _removed(engine: Engine, name: str) -> bool:
    try:
        return engine.remove(name, patience=0)
    except ServiceError:
        return False
