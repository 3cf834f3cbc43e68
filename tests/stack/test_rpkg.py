"""`rpkg container-build`, unmodified, from a clone of a dist-git repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Built, Source

CLIENT = Path(__file__).with_name("rpkg_client.py")
DOCKERFILE = "FROM demo/base:1\n@LABELS@\nRUN minidnf install hello\n"
BROKEN = "FROM demo/base:1\n@LABELS@\nRUN echo almost; exit 3\n"


@dataclass(frozen=True)
class Clone:
    """A packager's clone of one repository."""

    folder: Path
    command: tuple[str, ...]
    env: dict[str, str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`rpkg container-build WORDS` in the clone."""
        return subprocess.Popen(
            [*self.command, "container-build", *words],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass(frozen=True)
class Ended:
    """A run of rpkg that is over, and the task that it made."""

    status: int
    out: str
    err: str
    built: Built


def ended(program: subprocess.Popen[str], builds: Builds) -> Ended:
    out, err = program.communicate(timeout=180)
    found = re.search(r"Created task: (\d+)", out)
    assert found, out + err
    return Ended(program.returncode, out, err, Asked(builds, int(found[1])).done())


@pytest.fixture(scope="module")
def home(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with Koji's profile and rpkg's configuration."""
    home = tmp_path_factory.mktemp("home")
    profiles = home / ".koji" / "config.d"
    profiles.mkdir(parents=True)
    shutil.copy(stack.places.koji_conf, profiles)
    (home / "rpkg.conf").write_text(f"""\
[rpkg]
lookaside = http://127.0.0.1:9/repo/pkgs
lookasidehash = sha512
lookaside_cgi = http://127.0.0.1:9/repo/pkgs/upload.cgi
gitbaseurl = {stack.addresses.git}/%(repo)s.git
anongiturl = {stack.addresses.git}/%(repo)s.git
branchre = f\\d\\d$|rawhide$
kojiprofile = devstack
build_client = koji
distgit_namespaced = True
""")
    return home


def cloned(source: Source, home: Path) -> Clone:
    folder = home / source.name
    subprocess.run(["git", "clone", "-q", source.commit.url, str(folder)], check=True)
    command = (sys.executable, "-W", "ignore", str(CLIENT), "-C", str(home / "rpkg.conf"))
    env = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
    return Clone(folder, command, env)


@pytest.fixture(scope="module")
def runs(builds: Builds, home: Path) -> Iterator[dict[str, Ended]]:
    """All at once: rpkg asks for the task's state once a minute."""
    good, bad = cloned(builds.source(DOCKERFILE), home), cloned(builds.source(BROKEN), home)
    programs = {
        "build": good.start(),
        "scratch": good.start("--scratch"),
        "nowait": good.start("--scratch", "--nowait"),
        "failure": bad.start(),
    }
    yield {name: ended(program, builds) for name, program in programs.items()}


def test_a_build_is_waited_for_and_its_results_are_printed(runs: dict[str, Ended]):
    run = runs["build"]
    assert run.status == 0, run.out + run.err
    assert run.built.build and run.built.build["state"] == 1
    assert run.built.result
    for image in run.built.result["repositories"]:
        assert image in run.out
    assert run.built.nvr in run.out
    assert f"buildinfo?buildID={run.built.build['id']}" in run.out


def test_rpkg_sends_options_that_are_not_given_as_null(builds: Builds, runs: dict[str, Ended]):
    info = builds.session.getTaskInfo(runs["build"].built.task, request=True)
    source, target, opts = info["request"]
    assert target == "f43-container-candidate"
    assert source.startswith("git://") and "#" in source
    assert opts["release"] is None and opts["compose_ids"] in (None, [])
    assert opts["skip_build"] is False


def test_a_scratch_build_makes_no_koji_build(runs: dict[str, Ended]):
    run = runs["scratch"]
    assert run.status == 0, run.out + run.err
    assert run.built.result and run.built.result["koji_builds"] == []
    assert run.built.result["repositories"][0] in run.out


def test_nowait_ends_at_once_and_the_build_goes_on(runs: dict[str, Ended]):
    run = runs["nowait"]
    assert run.status == 0, run.out + run.err
    assert run.built.state == "CLOSED"
    assert "repositories" not in run.out


def test_a_build_that_fails_exits_with_1_and_says_why(runs: dict[str, Ended]):
    run = runs["failure"]
    assert run.status == 1, run.out + run.err
    said = run.out + run.err
    assert "RUN echo almost; exit 3" in said and "exit status 3" in said
