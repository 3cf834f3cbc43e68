"""The local engine: the buildroot program as a process of this host.

The process leaves kojid's process tree at once. kojid ends the tree of a cancelled task one process
at a time, seconds each; the build is to end by itself, all of it, and to outlive a kojid that is
restarted. So a job is a folder: plan, log, process id, outcome. There is nothing else to remember.
"""

from __future__ import annotations

import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.codec import NotThisRecord
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.binfmt import emulated
from koji_containerbuild.errors import ServiceError

ALSO_RUNS = {"x86_64": ("i686",)}  # by the processor itself
PROGRAM = (sys.executable, "-m", "koji_containerbuild.buildroot")
BLOCK = 1024 * 1024  # bytes of log in one News


class LocalEngine:
    """Runs jobs below a folder of this host."""

    def __init__(
        self,
        jobs: Path,
        config: Path,
        program: Sequence[str] = PROGRAM,
        foreign: Callable[[], Collection[str]] = emulated,
    ) -> None:
        """`jobs`: where job folders are; `config`: the file that the buildroot program reads;
        `foreign`: arches whose programs run here though the processor has no idea of them.
        """
        self._program = program
        self._foreign = foreign
        self._jobs = jobs
        self._config = config

    @property
    def arches(self) -> Collection[str]:
        return (platform.machine(),)

    def lacks(self, arch: str, *, runs: bool) -> str:
        """Files can be copied into an image of any arch."""
        machine = platform.machine()
        native = {machine, *ALSO_RUNS.get(machine, ())}
        if not runs or arch in native or arch in self._foreign():
            return ""
        return f"an emulator for {arch} (qemu-user-static, registered with binfmt_misc)"

    def start(self, job: Job) -> Job:
        for arch in job.plan.arches:
            folder = self._jobs / job.name / arch
            if _goes_on(folder):
                continue
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "plan.json").write_text(job.plan.to_json(), encoding="utf-8")
            (folder / "log").touch()
            _write(folder / "pid", self._launch(folder, arch, job.near))
        return job

    def _launch(self, folder: Path, arch: str, near: Optional[Path]) -> str:
        command = [
            *self._program, "--detach", "--plan", "plan.json", "--arch", arch,
            "--outcome", "outcome.json", "--log", "log", "--config", str(self._config),
            *(["--near", str(near)] if near else []),
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode or not done.stdout.strip().isdigit():
            words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ServiceError(f"The buildroot program did not start: {words}")
        return _identity(int(done.stdout)) or done.stdout.decode().strip() + " 0"

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        watched = [_Watched(arch, self._jobs / job.name / arch) for arch in job.plan.arches]
        poller = select.poll()
        for each in watched:
            each.register(poller)
        try:
            while watched:
                for each in list(watched):
                    yield from self._news_of(each, watched, poller)
                yield News()
                if watched:
                    poller.poll(beat * 1000)
        finally:  # nobody may want to hear the end
            for each in watched:
                each.close(poller)

    def _news_of(
        self, each: _Watched, watched: list[_Watched], poller: select.poll
    ) -> Iterator[News]:
        ended = each.has_ended()  # asked before the last read, so that nothing is missed
        yield from each.new_log()
        if ended:
            watched.remove(each)
            each.close(poller)
            yield News(each.arch, outcome=each.outcome())

    def cancel(self, name: str) -> None:
        for pid_file in self._jobs.glob(f"{name}/*/pid"):
            pid = _alive(pid_file)
            if pid:
                _signal(pid, signal.SIGTERM)

    def remove(self, name: str, patience: float) -> bool:
        deadline = time.monotonic() + patience
        for pid_file in self._jobs.glob(f"{name}/*/pid"):
            if not _ends_by(deadline, pid_file):
                return False
        shutil.rmtree(self._jobs / name, ignore_errors=True)
        return True

    def names(self) -> Collection[str]:
        return [path.name for path in self._jobs.iterdir()] if self._jobs.is_dir() else []


class _Watched:
    """One arch of a job."""

    def __init__(self, arch: str, folder: Path) -> None:
        self.arch = arch
        self._folder = folder
        self._log = (folder / "log").open("rb")
        pid = _alive(folder / "pid")
        try:
            self._process = os.pidfd_open(pid) if pid else None
        except ProcessLookupError:
            self._process = None

    def register(self, poller: select.poll) -> None:
        if self._process is not None:
            poller.register(self._process, select.POLLIN)

    def close(self, poller: select.poll) -> None:
        self._log.close()
        if self._process is not None:
            poller.unregister(self._process)
            os.close(self._process)

    def has_ended(self) -> bool:
        return self._process is None or bool(select.select([self._process], [], [], 0)[0])

    def new_log(self) -> Iterator[News]:
        """What is there by now: who writes without end must not hold up the others."""
        end = os.fstat(self._log.fileno()).st_size
        while block := self._log.read(min(BLOCK, end - self._log.tell())):
            yield News(self.arch, block)

    def outcome(self) -> Outcome:
        """As the program left it; if it left none, that is the outcome."""
        try:
            return Outcome.from_json((self._folder / "outcome.json").read_bytes())
        except (OSError, NotThisRecord):
            failure = Failure(
                "build",
                "The buildroot program ended without a word.",
                "Was it killed, is the disk full, did the host run out of memory? "
                "See the kernel's log of the builder.",
            )
            return Outcome(self.arch, failure=failure)


def _goes_on(folder: Path) -> bool:
    """Whether there is a job to adopt: one that runs, or one that has ended by itself.

    One that ended with the host, or was told to end, is started anew.
    """
    if _alive(folder / "pid"):
        return True
    try:
        return not Outcome.from_json((folder / "outcome.json").read_bytes()).cancelled
    except (OSError, NotThisRecord):
        return False


def _identity(pid: int) -> str:
    """Process id and start time: a later process with the same id is another one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else f"{pid} {fields[19]}"  # Z: ended, and nobody asked how


def _alive(pid_file: Path) -> int:
    """The process that the file names if it still runs, else 0."""
    try:
        text = pid_file.read_text()
        pid = int(text.split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pid if _identity(pid) == text else 0


def _ends_by(deadline: float, pid_file: Path) -> bool:
    pid = _alive(pid_file)
    try:
        process = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        process = None
    if process is None:
        return True
    try:
        left = max(0.0, deadline - time.monotonic())
        return bool(select.select([process], [], [], left)[0])
    finally:
        os.close(process)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _write(path: Path, text: str) -> None:
    """All of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
