"""What a RUN sees of the program that builds it: a real build that searches, with words planted."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from koji_containerbuild.contract.frames import Unframer
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.devstack.stack import Stack
from tests.fakes.git import GitRepo
from tests.fakes.plans import PLAN
from tests.stack.searching import NOTHING, PATTERN, WORD, files, found_in, searching_plan

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Searched:
    outcome: Outcome
    found: list[str]


def search(stack: Stack, folder: Path, isolation: str) -> Searched:
    """Build an image whose RUN searches, with the program that a pod would start."""
    secret = folder / WORD / "auth.json"
    secret.parent.mkdir()
    login = {"auths": {"images.example.com": {"auth": WORD}}}
    secret.write_text(json.dumps(login))
    secret.chmod(0o600)
    config = secret.parent / "builder.conf"
    registry = stack.addresses.registry
    config.write_text(
        f"[registry]\nurl = {registry}\ninsecure = true\nauth_file = {secret}\n"
        f"[buildroot]\nstorage = {folder}/store\nnetwork = host\nisolation = {isolation}\n"
    )
    (folder / "plan.json").write_text(plan(registry, folder, secret))
    given = {"plan": "plan.json", "outcome": "outcome.json", "log": "log", "config": config}
    done = subprocess.run(
        [sys.executable, "-m", "koji_containerbuild.buildroot", "--framed", "--arch", "x86_64",
         *(word for key, value in given.items() for word in (f"--{key}", str(value)))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "POD_SECRET": WORD},
        stdout=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    unframer = Unframer()
    log = b"".join(piece.data for piece in unframer.feed(done.stdout).pieces)
    assert unframer.complete and log == (folder / "log").read_bytes()
    return Searched(Outcome.from_json((folder / "outcome.json").read_bytes()), found_in(log))


def plan(registry: str, folder: Path, secret: Path) -> str:
    repo = GitRepo(folder / "git")
    commit = repo.commit(
        files(f"{registry}/demo/base:1", f"{secret.parent.parent}/{PATTERN}/auth.json")
    )
    source = dataclasses.replace(PLAN.source, url=repo.url, commit=commit)
    return searching_plan(registry, source).to_json()


def test_a_run_sees_neither_credentials_nor_environment_nor_processes_of_the_program(
    stack: Stack, tmp_path: Path
):
    searched = search(stack, tmp_path, "oci")
    assert searched.outcome.failure is None
    assert searched.found == NOTHING


def test_with_chroot_a_run_sees_the_processes_of_the_host(stack: Stack, tmp_path: Path):
    """As docs/security.md says; and so it is known that the search can find."""
    searched = search(stack, tmp_path, "chroot")
    assert searched.outcome.failure is None
    assert any(line.endswith("/cmdline") for line in searched.found)


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.getuid() != 0:
        pytest.skip("builds need root")
