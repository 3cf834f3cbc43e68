"""End every job whose task is over: whatever killed the task, its build does not stay behind."""

from __future__ import annotations

from koji_containerbuild.config import Config
from koji_containerbuild.engines.base import Engine
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.lookups import CANCELED, ENDED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.tasks.state import left_over


def sweep(session: Session, hub: str, config: Config, engine: Engine) -> list[int]:
    """The tasks of that hub whose leavings were cleared away. Asks Koji once for each."""
    cleared = []
    for task_id, state in left_over(config.builder.work_dir / "tasks", hub):
        now = Lookups(session).task_state(task_id)
        if now is not None and now not in ENDED:
            continue  # it runs, or Koji will start it again
        engine.cancel(state.name)
        reservation = state.reservation()
        if reservation:
            generator = config.builder.content_generator
            try:
                Reservations(session, generator, task_id).refund(reservation, now == CANCELED)
            except ServiceError:
                continue  # the hub is asked again by the next sweep
        state.forget_reservation()
        if engine.remove(state.name, patience=0):
            state.forget()
            cleared.append(task_id)
    return cleared
