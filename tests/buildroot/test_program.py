"""The buildroot program: whatever is wrong, there is an outcome in the end."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.program import main
from koji_containerbuild.buildroot.programs import end_children, logged, output
from koji_containerbuild.buildroot.step import InstructionFailed, StageFailed, Steps
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.errors import BuildFailed, ConfigError, ServiceError
from tests.fakes.git import GitRepo
from tests.fakes.plans import PLAN

ROOT = Path(__file__).parents[2]


def words(folder: Path, *more: str) -> list[str]:
    return ["--plan", f"{folder}/plan.json", "--arch", "x86_64", "--outcome", f"{folder}/outcome.json",
            "--log", f"{folder}/log", *more]  # fmt: skip


def run(folder: Path, plan: str, *more: str) -> tuple[int, Outcome]:
    (folder / "plan.json").write_text(plan)
    command = [sys.executable, "-m", "koji_containerbuild.buildroot", *words(folder, *more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.stdout == (folder / "log").read_bytes()
    return done.returncode, Outcome.from_json((folder / "outcome.json").read_bytes())


@pytest.mark.parametrize("plan", ["", "{}", "[", '{"version": 2}', "\x00"])
def test_a_plan_that_cannot_be_read_is_an_outcome(tmp_path: Path, plan: str):
    status, outcome = run(tmp_path, plan)
    assert status == 1
    assert outcome.failure and outcome.failure.stage == "start"
    assert "start" in (tmp_path / "log").read_text()


def test_a_configuration_that_cannot_be_read_is_an_outcome(tmp_path: Path):
    status, outcome = run(tmp_path, PLAN.to_json(), "--config", f"{tmp_path}/none")
    assert status == 1
    assert outcome.failure and "Cannot read the configuration" in outcome.failure.cause


def configured(folder: Path) -> str:
    (folder / "conf").write_text(f"[buildroot]\nstorage = {folder}/store\ndriver = vfs\n")
    return str(folder / "conf")


def test_a_stage_that_fails_is_the_outcome_and_the_end_of_the_log(tmp_path: Path):
    plan = dataclasses.replace(PLAN, source=dataclasses.replace(PLAN.source, url="file:///none"))
    status, outcome = run(tmp_path, plan.to_json(), "--config", configured(tmp_path))
    assert status == 1
    assert outcome.failure and outcome.failure.stage == "fetch source"
    assert (
        (tmp_path / "log")
        .read_text()
        .splitlines()[-1]
        .startswith("Stage 'fetch source' failed: git")
    )


class Silent:
    """A git server that accepts and says nothing: a build that waits."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/x"

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *about: object) -> None:
        self._socket.close()


def started(folder: Path, seconds: int, url: str) -> subprocess.Popen[bytes]:
    """The program, where it waits for the source."""
    plan = dataclasses.replace(
        PLAN,
        source=dataclasses.replace(PLAN.source, url=url),
        limits=dataclasses.replace(PLAN.limits, seconds=seconds),
    )
    (folder / "plan.json").write_text(plan.to_json())
    command = [sys.executable, "-m", "koji_containerbuild.buildroot"]
    program = subprocess.Popen(
        [*command, *words(folder, "--config", configured(folder))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    while b"fetch source: started" not in _read(folder / "log"):
        assert program.poll() is None
        time.sleep(0.02)
    return program


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_told_to_end_ends_as_cancelled(tmp_path: Path, number: int):
    with Silent() as server:
        program = started(tmp_path, 600, server.url)
        program.send_signal(number)
        assert program.wait(30) == 3
    outcome = Outcome.from_json((tmp_path / "outcome.json").read_bytes())
    assert outcome.cancelled
    assert "told to end" in (tmp_path / "log").read_text()


def test_a_program_that_is_told_to_end_at_once_leaves_an_outcome_too(tmp_path: Path):
    (tmp_path / "plan.json").write_text(PLAN.to_json())
    command = [sys.executable, "-m", "koji_containerbuild.buildroot", "--detach"]
    command += words(tmp_path, "--config", configured(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    os.kill(int(done.stdout), signal.SIGTERM)
    for _ in range(1500):
        if (tmp_path / "outcome.json").exists():
            break
        time.sleep(0.02)
    assert Outcome.from_json((tmp_path / "outcome.json").read_bytes()).cancelled


def test_a_build_that_takes_too_long_fails_with_its_limit_named(tmp_path: Path):
    with Silent() as server:
        program = started(tmp_path, 2, server.url)
        assert program.wait(30) == 1
    failure = Outcome.from_json((tmp_path / "outcome.json").read_bytes()).failure
    assert failure and "longer than its limit of 2 s" in failure.cause
    assert "buildtime_limit" in failure.hint


def test_a_program_that_nobody_knows_of_is_ended():
    obeys = subprocess.Popen(["sleep", "60"])
    deaf = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sh", "-c", "trap '' TERM; sleep 1"])
    end_children()
    assert obeys.poll() is not None
    assert deaf.poll() is not None


# -- steps


@pytest.fixture
def console(tmp_path: Path):
    console = Console(tmp_path / "log", "x86_64")
    yield console
    console.close()


@pytest.mark.parametrize(
    "error, cause, hint",
    [
        (BuildFailed("No.", do="Mend it."), "No.", "Mend it."),
        (
            OSError(28, "No space left on device"),
            "[Errno 28] No space left on device.",
            "Look at the disk",
        ),
        (ValueError("what"), "ValueError: what", "This is a bug"),
        (InstructionFailed("exit status 1.", "RUN x", "lines"), "exit status 1.", ""),
    ],
)
def test_an_error_in_a_stage_names_the_stage(
    console: Console, error: Exception, cause: str, hint: str
):
    step = Steps(console)
    with pytest.raises(StageFailed) as caught, step("build"):
        raise error
    assert caught.value.failure.stage == "build"
    assert caught.value.failure.cause == cause
    assert caught.value.failure.hint.startswith(hint)
    assert caught.value.__cause__ is error
    assert "x86_64 build: failed" in console.path.read_text()
    assert step.timeline == ()


def test_being_told_to_end_is_no_failure_of_a_stage(console: Console):
    with pytest.raises(KeyboardInterrupt), Steps(console)("build"):
        raise KeyboardInterrupt


def test_a_stage_that_fails_within_another_keeps_its_name(console: Console):
    step = Steps(console)
    with pytest.raises(StageFailed) as caught, step("push"), step("list rpms"):
        raise ValueError
    assert caught.value.failure.stage == "list rpms"


# -- programs


def test_the_output_of_a_program_goes_to_the_log_as_it_is(console: Console):
    status, tail = logged(["sh", "-c", r"printf 'a\377b\n' ; echo err >&2; exit 3"], console)
    assert (status, tail) == (3, b"a\xffb\nerr\n")
    assert console.path.read_bytes() == b"a\xffb\nerr\n"


def test_a_program_that_fails_is_told_of_in_its_own_words():
    with pytest.raises(ServiceError, match="failed: it went wrong"):
        output(["sh", "-c", "echo it went wrong >&2; exit 1"])


def test_a_program_that_is_not_there_is_named():
    with pytest.raises((ConfigError, ServiceError), match="no-such-program"):
        output(["no-such-program"])


def test_a_program_that_prints_without_end_is_ended():
    with pytest.raises(ServiceError, match="yes printed more than 64 MiB"):
        output(["yes"])


def test_a_program_that_says_nothing_is_waited_for_as_long_as_we_say():
    with pytest.raises(ServiceError, match="sleep took more than 1 s"):
        output(["sleep", "60"], timeout=1)


def test_a_program_that_reads_hostile_data_gets_little_memory_and_none_of_our_rights():
    words = output(["sh", "-c", "ulimit -v; id -u; id -G"], hostile=True).split()
    own = os.getuid()
    assert words[:2] == [b"2097152", b"65534" if own == 0 else str(own).encode()]
    assert b"0" not in words[2:] or own
    with pytest.raises(ServiceError, match="^python3 failed: .*MemoryError"):
        output(["python3", "-c", "bytearray(3 * 2**30)"], hostile=True)
    with pytest.raises(ConfigError, match="The program no-such-program is missing"):
        output(["no-such-program"], hostile=True)


def test_an_interrupted_program_is_ended(console: Console, tmp_path: Path):
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            logged(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"], console)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pid = int((tmp_path / "pid").read_text())
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_call_without_a_plan_is_refused():
    with pytest.raises(SystemExit):
        main(["--arch", "x86_64"])


def test_a_source_on_this_machine_is_built_from(tmp_path: Path):
    """As far as the parents, which are not there."""
    repo = GitRepo(tmp_path / "origin")
    commit = repo.commit({"Dockerfile": "FROM fedora\n"})
    source = dataclasses.replace(PLAN.source, url=repo.url, commit=commit)
    _, outcome = run(
        tmp_path,
        dataclasses.replace(PLAN, source=source).to_json(),
        "--config",
        configured(tmp_path),
    )
    assert (
        outcome.failure and outcome.failure.cause == "The parent image fedora was never looked up."
    )
