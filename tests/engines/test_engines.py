"""What every engine promises: the same tests on all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.engines.base import Engine, Job, cancelling
from koji_containerbuild.engines.binfmt import emulated
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.local import LocalEngine
from koji_containerbuild.engines.openshift import OpenShiftEngine
from koji_containerbuild.errors import ServiceError
from tests.cluster.kubernetes_site import PROGRAM as REAL_PROGRAM
from tests.cluster.kubernetes_site import KubernetesSite
from tests.cluster.openshift_site import OpenShiftSite
from tests.fakes import buildroot_program
from tests.fakes.engine import FakeEngine, sent
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.openshift import FakeOpenShift
from tests.fakes.plans import PLAN

BEAT = 0.1
PROGRAM = (sys.executable, buildroot_program.__file__)
Kill = Callable[[str, str], None]


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


REAL = [
    pytest.param(f"{name} on a real cluster", marks=pytest.mark.cluster)
    for name in ("kubernetes", "openshift")
]


@pytest.fixture(params=["fake", "local", "kubernetes", "openshift", *REAL])
def make(
    request: pytest.FixtureRequest, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Engine]]:
    """An engine for each process of a builder: all are of the same place."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the stand-in program
    another, made = _maker(request, jobs), []

    def one() -> Engine:
        made.append(another())
        return made[-1]

    yield one
    for name in made[-1].names():
        made[-1].cancel(name)
        made[-1].remove(name, 5)
    for engine in made:
        if isinstance(engine, (KubernetesEngine, OpenShiftEngine)):
            engine.close()


def _maker(request: pytest.FixtureRequest, jobs: Path) -> Callable[[], Engine]:
    if request.param == "fake":
        shared = FakeEngine()
        return lambda: shared.in_another_process()
    if request.param == "local":
        return lambda: LocalEngine(jobs, Path("/none"), PROGRAM)
    if request.param == "openshift":
        openshift: FakeOpenShift = request.getfixturevalue("fake_openshift")
        return lambda: OpenShiftEngine("one", openshift.config())
    if request.param == "kubernetes on a real cluster":
        real: KubernetesSite = request.getfixturevalue("real_kubernetes")
        return lambda: KubernetesEngine("one", real.config(), REAL_PROGRAM)
    if request.param == "openshift on a real cluster":
        site: OpenShiftSite = request.getfixturevalue("real_openshift")
        return lambda: OpenShiftEngine("one", site.config())
    cluster: FakeKubernetes = request.getfixturevalue("fake_kubernetes")
    return lambda: KubernetesEngine("one", cluster.config(), PROGRAM)


@pytest.fixture
def engine(make: Callable[[], Engine]) -> Engine:
    return make()


@pytest.fixture
def kill(request: pytest.FixtureRequest, engine: Engine, jobs: Path) -> Kill:
    """End an arch of a job without giving it a say."""
    if isinstance(engine, FakeEngine):
        return engine.kill
    if "real_kubernetes" in request.fixturenames:
        real: KubernetesSite = request.getfixturevalue("real_kubernetes")
        return lambda name, arch: real.kill(arch)
    if isinstance(engine, KubernetesEngine):
        cluster: FakeKubernetes = request.getfixturevalue("fake_kubernetes")
        return lambda name, arch: cluster.node.kill(arch)
    if "real_openshift" in request.fixturenames:
        site: OpenShiftSite = request.getfixturevalue("real_openshift")
        return lambda name, arch: site.kill(arch)
    if isinstance(engine, OpenShiftEngine):
        openshift: FakeOpenShift = request.getfixturevalue("fake_openshift")
        return lambda name, arch: openshift.node.kill(arch)
    return lambda name, arch: os.kill(pid_of(jobs, name, arch), signal.SIGKILL)


def pid_of(jobs: Path, name: str, arch: str) -> int:
    return int((jobs / name / arch / "pid").read_text().split()[0])


def job(name: str = "kcb-1", **scripts: list[list[Any]]) -> Job:
    return Job(name, dataclasses.replace(PLAN, arches=tuple(scripts), userdata=scripts))


def ends(engine: Engine, of: Job) -> dict[str, Outcome]:
    return {news.arch: news.outcome for news in engine.follow(of, BEAT) if news.outcome}


def log(engine: Engine, of: Job) -> bytes:
    return b"".join(news.log for news in engine.follow(of, BEAT))


def begun(engine: Engine, of: Job) -> None:
    """It has said its first word: so it can be told to end."""
    for news in engine.follow(of, BEAT):
        if news.log:
            return


def test_the_outcome_arrives_though_nobody_read_the_log(engine: Engine):
    one = job(x86_64=[["fill", 1_000_000]])
    engine.start(one)
    assert ends(engine, one) == {
        "x86_64": Outcome("x86_64", "sha256:" + 64 * "1", "sha256:" + 64 * "2")
    }


def test_every_arch_has_its_own_log_and_one_outcome(engine: Engine):
    two = job(x86_64=[["say", "one\n"]], aarch64=[["say", "two\n"], ["fail", "No luck."]])
    engine.start(two)
    news = list(engine.follow(two, BEAT))
    assert {n.arch: n.log for n in news if n.log} == {"x86_64": b"one\n", "aarch64": b"two\n"}
    outcomes = [n.outcome for n in news if n.outcome]
    assert sorted(o.arch for o in outcomes) == ["aarch64", "x86_64"]
    assert [o.failure.cause for o in outcomes if o.failure] == ["No luck."]


def test_a_silent_arch_holds_nobody_up(engine: Engine, tmp_path: Path):
    two = job(x86_64=[["say", "hello"]], aarch64=[["wait", str(tmp_path / "go")]])
    engine.start(two)
    seen = []
    for news in engine.follow(two, BEAT):
        if news.outcome:
            seen.append(news.arch)
            (tmp_path / "go").touch()
    assert seen == ["x86_64", "aarch64"]


def test_an_arch_that_never_stops_talking_holds_nobody_up(engine: Engine, tmp_path: Path):
    two = job(x86_64=[["chatter"]], aarch64=[["say", "hello"]])
    engine.start(two)
    seen = []
    for news in engine.follow(two, BEAT):
        if news.outcome:
            seen.append(news.arch)
            engine.cancel("kcb-1")
    assert seen == ["aarch64", "x86_64"]


def test_while_nothing_happens_there_is_a_beat(engine: Engine, tmp_path: Path):
    one = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    engine.start(one)
    begun(engine, one)
    before = time.monotonic()
    beats = 0
    for news in engine.follow(one, BEAT):
        beats += not news.arch
        if beats == 4:
            (tmp_path / "go").touch()
    assert beats >= 4
    assert time.monotonic() - before < 10 * BEAT + 2


def test_a_cancelled_job_ends_as_cancelled(engine: Engine):
    one = job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    engine.start(one)
    begun(engine, one)
    engine.cancel("kcb-1")
    assert ends(engine, one)["x86_64"].cancelled


def test_cancelling_twice_too_late_or_something_unknown_is_no_error(engine: Engine):
    one = job(x86_64=[])
    engine.cancel("kcb-1")
    engine.start(one)
    assert ends(engine, one)
    engine.cancel("kcb-1")
    engine.cancel("kcb-1")
    assert not ends(engine, one)["x86_64"].cancelled


def test_a_job_of_that_name_is_adopted_not_started_again(engine: Engine, tmp_path: Path):
    marks = [["say", "started\n"], ["wait", str(tmp_path / "go")]]
    engine.start(job(x86_64=marks))
    engine.start(job(x86_64=marks))
    (tmp_path / "go").touch()
    assert log(engine, job(x86_64=marks)) == b"started\n"


def test_a_job_that_has_ended_is_adopted_too(engine: Engine):
    one = job(x86_64=[["say", "started\n"]])
    engine.start(one)
    ends(engine, one)
    engine.start(one)
    assert log(engine, one) == b"started\n"


def test_a_process_that_is_killed_is_a_failure_of_that_arch(engine: Engine, kill: Kill):
    one = job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    engine.start(one)
    begun(engine, one)
    kill("kcb-1", "x86_64")
    failure = ends(engine, one)["x86_64"].failure
    assert failure and failure.cause == "The buildroot program ended without a word."


def test_a_program_that_ends_without_a_word_is_a_failure(engine: Engine):
    one = job(x86_64=[["say", "x"], ["crash"]])
    engine.start(one)
    failure = ends(engine, one)["x86_64"].failure
    assert failure and "without a word" in failure.cause


def test_bytes_that_are_no_text_arrive_as_they_were(engine: Engine):
    one = job(x86_64=[["bytes", "ff00c328e282"], ["say", "\r\nno newline at the end"]])
    engine.start(one)
    assert log(engine, one) == bytes.fromhex("ff00c328e282") + b"\r\nno newline at the end"


def test_a_log_of_twenty_megabytes_arrives_complete(engine: Engine):
    size = 20 * 1024 * 1024 + 7
    one = job(x86_64=[["fill", size]])
    engine.start(one)
    whole = log(engine, one)
    assert len(whole) == size
    assert whole.startswith(buildroot_program.LINE * 2)
    assert set(whole.split(b"\n")[:-1]) == {buildroot_program.LINE[:-1]}


def test_a_second_reader_gets_everything_again(engine: Engine):
    """A task that is started again."""
    one = job(x86_64=[["say", "all of it\n"]])
    engine.start(one)
    assert log(engine, one) == log(engine, one) == b"all of it\n"


def test_a_job_that_another_process_has_started_is_followed_to_its_end(
    make: Callable[[], Engine], tmp_path: Path
):
    two = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]], aarch64=[["say", "y"]])
    two = sent(make().start(two))
    (tmp_path / "go").touch()
    engine = make()
    logs, outcomes = {"x86_64": b"", "aarch64": b""}, {}
    for news in engine.follow(two, BEAT):
        if news.log:
            logs[news.arch] += news.log
        if news.outcome:
            outcomes[news.arch] = news.outcome.report
    assert logs == {"x86_64": b"x", "aarch64": b"y"}
    assert outcomes == dict.fromkeys(("x86_64", "aarch64"), "sha256:" + 64 * "2")
    assert engine.remove("kcb-1", 20)
    assert not engine.names()


def test_who_follows_a_job_can_cancel_it_though_another_process_has_started_it(
    make: Callable[[], Engine],
):
    one = sent(make().start(job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])))
    engine = make()
    begun(engine, one)
    engine.cancel("kcb-1")
    assert ends(engine, one)["x86_64"].cancelled
    assert engine.remove("kcb-1", 20)


def test_a_removed_job_is_forgotten_and_its_name_free(engine: Engine):
    one = job(x86_64=[["say", "x"]])
    assert engine.remove("kcb-1", 0)
    engine.start(one)
    assert list(engine.names()) == ["kcb-1"]
    assert engine.remove("kcb-1", 20)
    assert engine.remove("kcb-1", 0)
    assert list(engine.names()) == []


def test_a_running_job_is_not_forgotten(engine: Engine):
    one = job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    engine.start(one)
    begun(engine, one)
    assert not engine.remove("kcb-1", 0)
    assert list(engine.names()) == ["kcb-1"]
    engine.cancel("kcb-1")
    assert engine.remove("kcb-1", 20)


def test_two_jobs_do_not_disturb_each_other(engine: Engine):
    one = job("kcb-1", x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    other = job("kcb-10", x86_64=[["say", "y"], ["wait", "/no/such/file"]])
    engine.start(one)
    engine.start(other)
    begun(engine, one)
    begun(engine, other)
    engine.cancel("kcb-1")
    assert ends(engine, one)["x86_64"].cancelled
    assert not engine.remove("kcb-10", 0)


@pytest.mark.parametrize("error, ends_the_job", [(ValueError, True), (KeyboardInterrupt, False)])
def test_leaving_by_an_error_ends_the_job_but_being_told_to_end_does_not(
    engine: Engine, error: type[BaseException], ends_the_job: bool, tmp_path: Path
):
    one = job(x86_64=[["say", "x"], ["wait", str(tmp_path / "go")]])
    engine.start(one)
    with contextlib.suppress(error), cancelling(engine, one):
        begun(engine, one)
        raise error
    (tmp_path / "go").touch() if not ends_the_job else None
    assert ends(engine, one)["x86_64"].cancelled is ends_the_job


# -- the local engine alone


@pytest.mark.parametrize("machine, own", [("x86_64", ("x86_64", "i686")), ("s390x", ("s390x",))])
def test_programs_run_of_the_machines_own_arches(
    machine: str, own: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("platform.machine", lambda: machine)
    engine = LocalEngine(Path("/none"), Path("/none"), foreign=lambda: ())
    assert list(engine.arches) == [machine]
    assert not any(engine.lacks(arch, runs=True) for arch in own)
    assert engine.lacks("aarch64", runs=True) == (
        "an emulator for aarch64 (qemu-user-static, registered with binfmt_misc)"
    )


def test_files_can_be_copied_for_every_arch_and_an_emulator_runs_programs():
    engine = LocalEngine(Path("/none"), Path("/none"), foreign=lambda: ("riscv64",))
    assert not engine.lacks("riscv64", runs=True)
    assert not engine.lacks("ppc64le", runs=False)
    assert engine.lacks("ppc64le", runs=True)


def handler(folder: Path, name: str, state: str = "enabled", flags: str = "POCF") -> None:
    """As /proc/sys/fs/binfmt_misc shows it."""
    text = f"{state}\ninterpreter /usr/libexec/qemu\nflags: {flags}\noffset 0\nmagic 7f454c46\n"
    (folder / name).write_text(text)


def test_an_emulator_counts_when_it_is_enabled_and_works_in_a_container(tmp_path: Path):
    assert not emulated(tmp_path / "not-mounted")
    (tmp_path / "status").write_text("enabled\n")
    handler(tmp_path, "qemu-aarch64")
    handler(tmp_path, "qemu-arm", flags="F")
    handler(tmp_path, "qemu-s390x", state="disabled")
    handler(tmp_path, "qemu-ppc64le", flags="OC")  # its interpreter is not there in a container
    handler(tmp_path, "python3.11")
    assert sorted(emulated(tmp_path)) == ["aarch64", "armv7hl"]
    (tmp_path / "status").write_text("disabled\n")
    assert not emulated(tmp_path)


@pytest.fixture
def local(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return LocalEngine(jobs, Path("/none"), PROGRAM)


def test_the_job_is_not_in_our_process_tree_nor_our_session(local: LocalEngine, jobs: Path):
    one = job(x86_64=[["say", "x"], ["wait", "/no/such/file"]])
    local.start(one)
    begun(local, one)
    pid = pid_of(jobs, "kcb-1", "x86_64")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) != os.getpid()
    assert os.getsid(pid) == pid
    ancestors = [int(fields[1])]
    while ancestors[-1] > 1:
        stat = Path(f"/proc/{ancestors[-1]}/stat").read_text()
        ancestors.append(int(stat.rpartition(")")[2].split()[1]))
    assert os.getpid() not in ancestors
    local.cancel("kcb-1")
    assert local.remove("kcb-1", 20)


def test_a_later_process_of_the_same_id_is_not_touched(local: LocalEngine, jobs: Path):
    one = job(x86_64=[])
    local.start(one)
    assert ends(local, one)
    (jobs / "kcb-1" / "x86_64" / "pid").write_text(f"{os.getpid()} 1")
    local.cancel("kcb-1")  # would end us
    assert local.remove("kcb-1", 0)


@pytest.mark.parametrize("text", ["", "x", "1", "-1 -1", "99999999 5"])
def test_a_broken_pid_file_is_an_ended_job(local: LocalEngine, jobs: Path, text: str):
    one = job(x86_64=[])
    local.start(one)
    ends(local, one)
    (jobs / "kcb-1" / "x86_64" / "pid").write_text(text)
    local.cancel("kcb-1")
    assert not ends(local, one)["x86_64"].failure
    assert local.remove("kcb-1", 0)


def test_a_program_that_does_not_start_is_said_in_its_words(jobs: Path):
    engine = LocalEngine(jobs, Path("/none"), (*PROGRAM, "--refuse"))
    with pytest.raises(ServiceError, match="did not start: it will not do"):
        engine.start(job(x86_64=[]))
