"""The buildroot program: gathers the tools, follows the recipe, leaves an outcome behind."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from koji_containerbuild.buildroot.buildah import Buildah
from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.keep_log import keep_log
from koji_containerbuild.buildroot.programs import end_children
from koji_containerbuild.buildroot.recipe import build_arch
from koji_containerbuild.buildroot.step import StageFailed
from koji_containerbuild.buildroot.tools import Tools
from koji_containerbuild.config import Config, load
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.plan_text import ARCH, from_variables
from koji_containerbuild.errors import ContainerBuildError
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.source.fetch import FetchLimits
from koji_containerbuild.source.file_cache import FileCache

# Who may bring a plan in the environment may bring any variable, and one is enough to have a
# program load a library out of the source. So this is all that the programs we start get of it.
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
KEPT = {"container", *PROXIES, *map(str.upper, PROXIES)}
FIXED = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


class Ended(BaseException):
    """We are told to end (SIGTERM, SIGINT) or have no time left (SIGALRM)."""

    def __init__(self, number: int, seconds: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.out_of_time = number == signal.SIGALRM
        self.seconds = seconds  # that we had


def main(words: Sequence[str]) -> int:
    """Whatever happens, there is an outcome file in the end."""
    given = _parser().parse_args(words)
    os.umask(0o022)
    echo = None if given.detach else 1
    console = Console(given.log, given.arch, echo, framed=given.framed)
    outcome = _outcome(given.arch, console, lambda: _build(given, console))
    console.end()
    _leave(outcome, given.outcome)
    return 3 if outcome.cancelled else 1 if outcome.failure else 0


def _outcome(arch: str, console: Console, work: Callable[[], Outcome]) -> Outcome:
    """Of the work, however it ends; the end of the log says why it failed."""
    try:
        return work()
    except Ended as end:
        if not end.out_of_time:
            console.event("build", "failed", text="told to end")
            return Outcome(arch, failure=Failure("build", "Told to end."), cancelled=True)
        cause = f"The build took longer than its limit of {end.seconds} s."
        hint = "Make it quicker, or raise buildtime_limit in container.yaml."
        failure = Failure("build", cause, hint)
    except StageFailed as error:
        failure = error.failure
    except ContainerBuildError as error:
        failure = Failure("start", error.what, error.do)
    except Exception as error:  # noqa: BLE001 — the outcome is how it is told
        console.say(traceback.format_exc())
        failure = Failure("start", f"{type(error).__name__}: {error}", "This is a bug.")
    _explain(failure, console)
    return Outcome(arch, failure=failure)


def _leave(outcome: Outcome, path: Path) -> None:
    """All of it or nothing; but a file that is there is a mount, and those cannot be replaced."""
    if path.exists():
        path.write_text(outcome.to_json(), encoding="utf-8")
        return
    partial = path.with_suffix(".partial")
    partial.write_text(outcome.to_json(), encoding="utf-8")
    partial.replace(path)


def _build(given: argparse.Namespace, console: Console) -> Outcome:
    plan = BuildPlan.from_json(_plan(given))
    config = load(given.config) if given.config else Config()
    outcome = _outcome(given.arch, console, lambda: _follow(plan, config, given, console))
    if given.framed and outcome.failure and not outcome.cancelled:
        console.end()  # nobody is to wait for the registry,
        _leave(outcome, given.outcome)  # nor is the outcome lost to a kill meanwhile
        outcome = replace(outcome, log=keep_log(plan, given.arch, given.log, config))
    return outcome


def _plan(given: argparse.Namespace) -> bytes:
    if given.plan:
        text: bytes = given.plan.read_bytes()
        return text
    text = from_variables(os.environ)
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    os.environ.clear()
    os.environ.update({**kept, **FIXED})
    return text


def _follow(
    plan: BuildPlan, config: Config, given: argparse.Namespace, console: Console
) -> Outcome:
    """The recipe, with tools for it."""
    with (
        _signals(plan.limits.seconds, console),
        _folder() as work,
        open_registry(config) as registry,
    ):
        builder = Buildah(config, work, given.arch)
        limits = FetchLimits(
            config.files.max_file_mib,
            config.files.file_seconds,
            config.files.cache_mib,
            config.artifacts.allowed_domains,
        )
        files = FileCache(config.files.cache, limits, console.say)
        tools = Tools(builder, registry, console, work, files)
        with builder.using_store():
            return build_arch(plan, given.arch, tools, given.near)


@contextmanager
def _signals(seconds: int, console: Console) -> Iterator[None]:
    """A signal ends the build wherever it is, but not within a line of the log; a second one does
    not disturb the clean-up.
    """

    def end(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(each, signal.SIG_IGN)
        console.interrupt(Ended(number, seconds))

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(each, end)
    signal.alarm(seconds)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by `__main__`
        yield
    finally:
        signal.alarm(0)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(each, signal.SIG_IGN)


@contextmanager
def _folder() -> Iterator[Path]:
    name = tempfile.mkdtemp(prefix="koji-containerbuild-", dir="/var/tmp")
    try:
        yield Path(name)
    finally:
        end_children()
        shutil.rmtree(name, ignore_errors=True)


def _explain(failure: Failure, console: Console) -> None:
    """The end of the log says why, as the task's error will."""
    if failure.instruction:
        console.say(f"The instruction that failed: {failure.instruction}")
    console.say(f"Stage '{failure.stage}' failed: {failure.cause} {failure.hint}".strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m koji_containerbuild.buildroot",
        description="Build the image of one arch, as a plan says.",
    )
    plan = parser.add_mutually_exclusive_group(required=True)
    plan.add_argument("--plan", type=Path, help="what to build (plan.json)")
    plan.add_argument(
        "--plan-from-environment", action="store_true", help="the same, from the variable PLAN"
    )
    arch = os.environ.get(ARCH) or platform.machine()
    parser.add_argument("--arch", default=arch, help="for which arch of the plan")
    parser.add_argument("--outcome", type=Path, required=True, help="where the outcome goes")
    parser.add_argument("--log", type=Path, required=True, help="where the complete log goes")
    parser.add_argument("--config", type=Path, help="configuration of this place")
    parser.add_argument("--near", type=Path, help="a checkout that may have the commit")
    parser.add_argument(
        "--framed", action="store_true", help="standard output is one that a cluster cannot spoil"
    )
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    return parser
