"""The life of a buildContainer task, told from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import PLAN_FILE, BuildResult, arch_log
from koji_containerbuild.engines.base import Job, running
from koji_containerbuild.errors import BuildCancelled, BuildFailed, ServiceError
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.prepare import prepare
from koji_containerbuild.tasks.publish import publish
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.tools import Task, Tools

BEAT = 0.15  # seconds: how often the logs are looked after
CLEANUP = 2.0  # seconds that a cancelled build gets before kojid loses patience


def run_build(request: BuildRequest, task: Task, tools: Tools) -> BuildResult:
    """A task that is started again finds its plan, and its jobs still running."""
    state = TaskState.of(task, tools.config.builder.work_dir / "tasks")
    with cleaning_up(state, task, tools):
        known = state.plan()
        if known:
            job = Job(state.name, known)
        else:
            made = prepare(request, task, tools, state.save_reservation)
            state.save_plan(made.plan)
            tools.logs.put(PLAN_FILE, made.plan.to_json())
            job = Job(state.name, made.plan, made.near)
        outcomes: list[Outcome] = []
        try:
            with running(tools.engine, job):
                outcomes += follow(job, tools)
            return publish(job.plan, succeeded(outcomes, job.plan), task, tools, state)
        except Exception:
            unpublish(job.plan, outcomes, tools.registry)
            raise


def follow(job: Job, tools: Tools) -> Iterator[Outcome]:
    """Pass on what the build says; the first arch that fails stops the others."""
    lines = {arch: LineReader(arch) for arch in job.plan.arches}
    for news in tools.engine.follow(job, BEAT):
        if news.log:
            tools.logs.write(arch_log(news.arch), news.log)
            for event in lines[news.arch].events(news.log):
                tools.logs.relay(event)
        if news.outcome:
            if news.outcome.failure:
                tools.engine.cancel(job.name)
            yield news.outcome
        tools.logs.flush(now=bool(news.outcome))


class LineReader:
    """Finds the events in an arch's log. Nothing depends on their being found."""

    def __init__(self, arch: str) -> None:
        self._mark = f" {arch} ".encode()
        self._rest = b""

    def events(self, data: bytes) -> Iterator[Event]:
        """Of this piece of log; a line may be cut between two pieces."""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        self._rest = self._rest[-1000:]
        if not newline or self._mark not in whole:
            return
        for line in whole.split(b"\n"):
            if self._mark in line[:60]:
                event = Event.parse(line.decode(errors="replace"))
                if event:
                    yield event


def succeeded(outcomes: Sequence[Outcome], plan: BuildPlan) -> Sequence[Outcome]:
    """All of them, in the order of the plan. Raises BuildFailed naming every failure."""
    failed = [o for o in outcomes if o.failure and not o.cancelled]
    if failed:
        raise BuildFailed("\n".join(explain(o.arch, o.failure) for o in failed if o.failure))
    if any(outcome.cancelled for outcome in outcomes):
        raise BuildCancelled("The build was told to end.", do="Build again.")
    return sorted(outcomes, key=lambda outcome: plan.arches.index(outcome.arch))


def explain(arch: str, failure: Failure) -> str:
    """Stage, arch, cause, hint and where the log is, one below the other."""
    lines = [f"Stage '{failure.stage}' failed for {arch}: {failure.cause}"]
    if failure.instruction:
        lines.append(f"Instruction: {failure.instruction}")
    if failure.last_lines:
        lines += ["Its last lines:", *(f"    {line}" for line in failure.last_lines.splitlines())]
    if failure.hint:
        lines.append(f"Hint: {failure.hint}")
    return "\n".join([*lines, f"Log: {arch_log(arch)} of this task"])


def unpublish(plan: BuildPlan, outcomes: Sequence[Outcome], registry: Registry) -> None:
    """Take back what a failed build has pushed, where the registry lets us."""
    repository = Pullspec.parse(plan.destination.repository)
    for digest in [d for o in outcomes for d in (o.image, o.report) if d]:
        try:
            registry.delete_manifest(repository.at_digest(digest))
        except ServiceError:
            return  # the error that brought us here is the one to tell


@contextmanager
def cleaning_up(state: TaskState, task: Task, tools: Tools) -> Iterator[None]:
    """Whichever way the task ends, the release number is given back and nothing is left lying.

    Told to end, we ask Koji why. A cancelled task ends its build; a kojid that is restarted leaves
    it running, for the task that Koji starts again.
    """
    try:
        yield
    except Exception:
        _end(state, task, tools, cancelled=False)
        raise
    except BaseException:
        if Lookups(tools.session).task_state(task.id) == CANCELED:
            tools.engine.cancel(state.name)
            _end(state, task, tools, cancelled=True)
        raise
    _end(state, task, tools, cancelled=False)


def _end(state: TaskState, task: Task, tools: Tools, cancelled: bool) -> None:
    reservation = state.reservation()
    if reservation:
        generator = tools.config.builder.content_generator
        Reservations(tools.session, generator, task.id).refund(reservation, cancelled)
    tools.engine.remove(state.name)
    state.forget()
    tools.logs.flush(now=True)
