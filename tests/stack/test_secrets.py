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
from koji_containerbuild.contract.plan import Destination, Parent
from koji_containerbuild.devstack.stack import Stack
from tests.fakes.git import GitRepo
from tests.fakes.plans import PLAN
from tests.stack.builds import unique_name
from tests.stack.images import Image

ROOT = Path(__file__).parents[2]
# The word is planted in the password file, in its path and in the program's environment. `[Y]`:
# the search is not to find itself.
WORD = "PLANTED-CANARY"
SEARCH = r"""
W=PLANTED-CANAR[Y]
echo "found: begin"
env | grep "$W" && echo "found: in the environment"
for P in /proc/[0-9]*; do
    grep -q "$W" $P/environ 2>/dev/null && echo "found: $P/environ"
    grep -q "$W" $P/cmdline 2>/dev/null && echo "found: $P/cmdline"
    cat $P/root$SECRET $P/cwd/auth.json 2>/dev/null | grep -q "$W" && echo "found: below $P"
done
grep -r -q "$W" /run /var/run /etc 2>/dev/null && echo "found: in the files"
cat $SECRET 2>/dev/null && echo "found: the file itself"
echo "found: end"
"""


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
    found = [line for line in log.decode().splitlines() if line.startswith("found: ")]
    return Searched(Outcome.from_json((folder / "outcome.json").read_bytes()), found)


def plan(registry: str, folder: Path, secret: Path) -> str:
    base = f"{registry}/demo/base"
    pinned = f"{base}@{Image.pull(f'{base}:1').index_digest}"
    repo = GitRepo(folder / "git")
    dockerfile = f"FROM {base}:1\nENV SECRET={secret.parent.parent}/PLANTED-CANAR?/auth.json\nCOPY search /\nRUN sh /search\n"
    labels = "".join(f"LABEL {key}={value}\n" for key, value in PLAN.labels.items())
    commit = repo.commit({"Dockerfile": dockerfile + labels, "search": SEARCH})
    return dataclasses.replace(
        PLAN,
        source=dataclasses.replace(PLAN.source, url=repo.url, commit=commit),
        parents=(Parent(f"{base}:1", f"{base}:1", pinned, final=True),),
        destination=Destination(f"{registry}/fedora/web", unique_name("search"), "", ()),
    ).to_json()


def test_a_run_sees_neither_credentials_nor_environment_nor_processes_of_the_program(
    stack: Stack, tmp_path: Path
):
    searched = search(stack, tmp_path, "oci")
    assert searched.outcome.failure is None
    assert searched.found == ["found: begin", "found: end"]


def test_with_chroot_a_run_sees_the_processes_of_the_host(stack: Stack, tmp_path: Path):
    """As docs/security.md says; and so it is known that the search can find."""
    searched = search(stack, tmp_path, "chroot")
    assert searched.outcome.failure is None
    assert any(line.endswith("/cmdline") for line in searched.found)


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.getuid() != 0:
        pytest.skip("builds need root")
