"""What a user reads of a failed instruction, out of buildah's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from koji_containerbuild.buildroot.buildah import (
    ALONE,
    PUSH_AGAIN,
    Buildah,
    WorkingContainer,
    _instruction_failed,
)
from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.config import BuildrootConfig, Config
from koji_containerbuild.errors import ConfigError, ServiceError


@pytest.mark.parametrize("end", ["", "\n"])
def test_output_without_a_last_newline_is_told_from_the_error(end: str):
    error = _instruction_failed(
        f"STEP 2/5: RUN printf x; false\nx{end}"
        'Error: building at STEP "RUN printf x; false": while running runtime: exit status 1\n',
        1,
    )
    assert error.what == "exit status 1."
    assert error.instruction == "RUN printf x; false"
    assert error.last_lines == "x"


def test_a_file_that_is_not_there_is_named_and_our_folders_are_not():
    error = _instruction_failed(
        "STEP 2/5: COPY missing /x\n"
        'Error: building at STEP "COPY missing /x": checking on sources under "/w": copier: stat: '
        '"/missing": no such file or directory\n',
        125,
    )
    assert error.instruction == "COPY missing /x"
    assert error.what == "There is no missing to copy."
    assert ".dockerignore" in error.do


def test_endless_output_is_cut():
    error = _instruction_failed("STEP 1/2: RUN x\n" + "x" * 9000 + "\nError: other\n", 1)
    assert len(error.last_lines) == 2000
    assert error.what == "other."


def test_a_builder_that_says_nothing_is_told_by_its_status():
    assert _instruction_failed("", 137).what == "exit status 137."


AWAY = "dial tcp 127.0.0.1:9: connect: connection refused"


class Pushes:
    """A buildah that fails to push a number of times, and then does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.log = folder / "log"
        self._folder = folder
        monkeypatch.setenv("PATH", f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")

    def push(self, failures: int, words: str) -> int:
        """How often it was tried."""
        program = self._folder / "buildah"
        program.write_text(
            f"#!/bin/sh\necho >> {self._folder}/tries\n"
            f"test $(wc -l < {self._folder}/tries) -gt {failures} && exit\n"
            f"echo 'Error: pushing image: {words}' >&2\nexit 125\n"
        )
        program.chmod(0o755)
        config = Config(buildroot=BuildrootConfig(runtime="runc"))
        builder = Buildah(config, self._folder, "x86_64", self.slept.append)
        console = Console(self.log, "x86_64")
        try:
            builder.push("localhost/x", "reg.example.com/web:1", console)
        finally:
            console.close()
        return len((self._folder / "tries").read_text().splitlines())


@pytest.fixture
def pushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushes:
    return Pushes(tmp_path, monkeypatch)


def test_a_registry_that_is_away_for_a_while_is_asked_again_and_the_log_says_so(pushes: Pushes):
    assert pushes.push(3, AWAY) == 4
    assert pushes.slept == [1, 2, 4]
    lines = pushes.log.read_text().splitlines()
    assert lines[0] == f"pushing image: {AWAY}. Pushing again in 1 s."
    assert len(lines) == 3


def test_a_registry_that_stays_away_is_an_error(pushes: Pushes):
    with pytest.raises(ServiceError, match="connection refused"):
        pushes.push(99, AWAY)
    assert tuple(pushes.slept) == PUSH_AGAIN


@pytest.mark.parametrize(
    "words",
    [
        "exists in reg.example.com/x: unauthorized: authentication required",
        "failed to read from destination repository x: 403 (Forbidden)",
        "denied: requested access to the resource is denied",
        "received unexpected HTTP status: 400 Bad Request",
    ],
)
def test_a_refusal_is_not_asked_for_twice(pushes: Pushes, words: str):
    with pytest.raises(ServiceError, match="Error: pushing image"):
        pushes.push(99, words)
    assert pushes.slept == []


def test_a_registry_that_has_too_much_to_do_is_asked_again(pushes: Pushes):
    assert pushes.push(1, "received unexpected HTTP status: 429 Too Many Requests") == 2


@pytest.mark.parametrize("there", [True, False], ids=["not permitted", "missing"])
def test_a_host_that_cannot_part_tests_from_its_network_is_not_the_mistake_of_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
):
    """Its exit status would be told as that of the test."""
    (tmp_path / "setpriv").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    if there:
        refusal = "#!/bin/sh\necho unshare failed: Operation not permitted >&2; exit 1\n"
        (tmp_path / "unshare").write_text(refusal)
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    container = WorkingContainer(tmp_path, (*ALONE, "buildah", "run"), {})
    with pytest.raises(
        ConfigError, match="tests need a network .* (not permitted|unshare)"
    ) as told:
        container.run(["true"], Console(tmp_path / "log", "x86_64"))
    assert "isolation = oci" in told.value.do
