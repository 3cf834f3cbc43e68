"""The buildroot program: whatever is wrong, there is an outcome in the end."""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.keep_log import keep_log
from koji_containerbuild.buildroot.program import FIXED, _parser, _plan, main
from koji_containerbuild.buildroot.programs import end_children, logged, output
from koji_containerbuild.buildroot.step import InstructionFailed, StageFailed, Steps
from koji_containerbuild.config import Config, RegistryConfig
from koji_containerbuild.contract.frames import Unframer
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.plan_text import VARIABLE, to_variable
from koji_containerbuild.errors import BuildFailed, ConfigError, NotFound, ServiceError
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.index import pull_log, unpublish
from tests.fakes.git import GitRepo
from tests.fakes.plans import PLAN
from tests.fakes.registry import FakeRegistry

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


def started(
    folder: Path, seconds: int, url: str, before: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """The program, where it waits for the source."""
    plan = dataclasses.replace(
        PLAN,
        source=dataclasses.replace(PLAN.source, url=url),
        limits=dataclasses.replace(PLAN.limits, seconds=seconds),
    )
    (folder / "plan.json").write_text(plan.to_json())
    command = [sys.executable, "-m", "koji_containerbuild.buildroot"]
    program = subprocess.Popen(
        [*before, *command, *words(folder, "--config", configured(folder))],
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


# -- in a container of a cluster


def test_framed_output_is_the_log_and_complete(tmp_path: Path):
    (tmp_path / "plan.json").write_text("{}")
    command = [sys.executable, "-m", "koji_containerbuild.buildroot", *words(tmp_path, "--framed")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    unframer = Unframer()
    read = unframer.feed(done.stdout)
    assert (done.returncode, unframer.complete, read.foreign) == (1, True, ())
    assert b"".join(p.data for p in read.pieces) == (tmp_path / "log").read_bytes() != b""


def test_an_outcome_file_that_is_there_is_written_in_place(tmp_path: Path):
    """A pod's is a mount: another file cannot take its place."""
    there = tmp_path / "outcome.json"
    there.write_text("x" * 10_000)
    before = there.stat().st_ino
    _, outcome = run(tmp_path, "{}")
    assert there.stat().st_ino == before
    assert outcome.failure and outcome.failure.stage == "start"


def in_environment(folder: Path, variables: Mapping[str, str]) -> Outcome:
    given = words(folder, "--plan-from-environment", "--config", configured(folder))[2:]
    command = [sys.executable, "-m", "koji_containerbuild.buildroot", *given]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, check=False, stdout=subprocess.DEVNULL
    )
    return Outcome.from_json((folder / "outcome.json").read_bytes())


def test_a_plan_comes_from_the_environment(tmp_path: Path):
    plan = dataclasses.replace(PLAN, source=dataclasses.replace(PLAN.source, url="file:///none"))
    outcome = in_environment(tmp_path, {VARIABLE: to_variable(plan.to_json())})
    assert outcome.failure and outcome.failure.stage == "fetch source"
    assert "PLAN is not set" in str(in_environment(tmp_path, {}).failure)


def test_the_arch_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch):
    given = ["--plan-from-environment", "--outcome", "o", "--log", "l"]
    assert _parser().parse_args(given).arch == platform.machine()
    monkeypatch.setenv("PLAN_ARCH", "s390x")
    assert _parser().parse_args(given).arch == "s390x"
    assert _parser().parse_args([*given, "--arch", "x86_64"]).arch == "x86_64"


def test_programs_that_are_started_see_neither_the_plan_nor_what_else_came_with_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """One variable would do to have them load a library out of the source."""
    hostile = {"LD_PRELOAD": "/evil.so", "PATH": "/evil", "HOME": "/evil", "GIT_SSH": "evil"}
    plan = {VARIABLE: to_variable("{}"), "PLAN_ARCH": "x86_64", "BUILD": "{}"}
    wanted = {"container": "oci", "https_proxy": "http://proxy.example.com:3128"}
    monkeypatch.setattr(os, "environ", {**hostile, **plan, **wanted})
    given = ["--plan-from-environment", "--outcome", "o", "--log", "l"]
    assert _plan(_parser().parse_args(given)) == b"{}"
    assert os.environ == {**wanted, **FIXED}


def test_the_log_of_a_failed_build_is_kept_in_the_registry(tmp_path: Path):
    log = tmp_path / "log"
    log.write_bytes(b"a\xffb\r\n" * 1000)
    with FakeRegistry() as server, open_registry(config_for(server.host)) as registry:
        plan = at_registry(server.host)
        digest = keep_log(plan, "x86_64", log, config_for(server.host))
        repository = Pullspec.parse(plan.destination.repository)
        outcome = Outcome("x86_64", failure=Failure("build", "No."), log=digest)
        assert pull_log(outcome, repository, registry, tmp_path).read_bytes() == log.read_bytes()
        unpublish(plan, registry)
        with pytest.raises(NotFound):
            registry.manifest(repository.at_digest(digest))


def test_a_registry_that_is_away_does_not_change_how_a_build_ends(tmp_path: Path, monkeypatch):
    (tmp_path / "log").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("koji_containerbuild.buildroot.keep_log.PATIENCE", 0.5)
        begin = time.monotonic()
        assert keep_log(at_registry(address), "x86_64", tmp_path / "log", config_for(address)) == ""
        assert time.monotonic() - begin < 4
    refusing = config_for(address)  # nobody listens any more
    assert keep_log(at_registry(address), "x86_64", tmp_path / "log", refusing) == ""


def test_an_outcome_is_there_before_the_log_is_kept(tmp_path: Path):
    """A registry that is silent must not cost the outcome of a pod that is ended meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "conf"
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        config.write_text(
            f"{Path(configured(tmp_path)).read_text()}[registry]\nurl = {address}\ninsecure = true\n"
        )
        source = dataclasses.replace(PLAN.source, url="file:///none")
        plan = dataclasses.replace(at_registry(address), source=source)
        (tmp_path / "plan.json").write_text(plan.to_json())
        command = [sys.executable, "-m", "koji_containerbuild.buildroot"]
        command += words(tmp_path, "--framed", "--config", str(config))
        program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert program.stdout
        with program.stdout as out:
            while not out.readline().endswith(b" =\n"):
                pass
        silent.accept()[0].close()  # the program is asking
        program.kill()
        program.wait()
    outcome = Outcome.from_json((tmp_path / "outcome.json").read_bytes())
    assert outcome.failure and outcome.failure.stage == "fetch source"


def config_for(address: str) -> Config:
    return Config(registry=RegistryConfig(url=address, insecure=True))


def at_registry(address: str) -> BuildPlan:
    to = dataclasses.replace(PLAN.destination, repository=f"{address}/fedora/web")
    return dataclasses.replace(PLAN, destination=to)


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="a process namespace needs root")


def first_process(folder: Path, url: str) -> tuple[subprocess.Popen[bytes], int]:
    """The program as process 1 of a container, where it waits for the source; its id out here."""
    program = started(folder, 600, url, before=("unshare", "--pid", "--fork", "--mount-proc"))
    return program, children(program.pid)[0]


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_root
def test_process_1_of_a_container_ends_as_cancelled_when_it_is_told_to(tmp_path: Path):
    with Silent() as server:
        program, first = first_process(tmp_path, server.url)
        os.kill(first, signal.SIGTERM)
        assert program.wait(30) == 3
    assert Outcome.from_json((tmp_path / "outcome.json").read_bytes()).cancelled
    assert not _alive(first)


@needs_root
def test_process_1_of_a_container_buries_the_dead(tmp_path: Path):
    with Silent() as server:
        program, first = first_process(tmp_path, server.url)
        orphan = ("nsenter", "--target", str(first), "--pid", "--mount", "sh", "-c",
                  "sh -c 'sleep 0.2' & exec true")  # fmt: skip
        subprocess.run(orphan, check=True)
        assert len(children(first)) == 2  # the program, and what it has inherited
        time.sleep(0.5)
        assert len(children(first)) == 1
        os.kill(first, signal.SIGTERM)
        program.wait(30)


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
