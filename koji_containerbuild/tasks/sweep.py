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
from koji_containerbuild.tasks.state import left_over


def sweep(
    session: Session, hub: str, config: Config, engine: Engine, registry: Registry
) -> list[int]:
    """The tasks of that hub whose leavings were cleared away. Asks Koji once for each.

    The state is forgotten last: until then the next sweep does all of it again.
    """
    cleared = []
    for task_id, state in left_over(config.builder.work_dir / "tasks", hub):
        now = Lookups(session).task_state(task_id)
        if now is not None and now not in ENDED:
            continue  # it runs, or Koji will start it again
        engine.cancel(state.name)
        plan, reservation, unused = state.plan(), state.reservation(), False
        if reservation:
            reservations = Reservations(session, config.builder.content_generator, task_id)
            try:
                unused = reservations.refund(reservation, now == CANCELED)
            except ServiceError:
                continue  # the hub is asked again by the next sweep
        if not engine.remove(state.name, patience=0):
            continue  # it may still push
        if plan and (unused or (plan.scratch and now in (CANCELED, FAILED) and not state.result())):
            unpublish(plan, registry)
        state.forget()
        cleared.append(task_id)
    return cleared
