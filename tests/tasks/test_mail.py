"""Mail about the end of a build, to a relay that works and to some that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import koji
import pytest
from koji.tasks import ServerRestart

from koji_containerbuild.config import Config, MailConfig, load
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.contract.tasks import TASK_LOG, BuildResult
from koji_containerbuild.errors import BadRequest, BuildCancelled, BuildFailed, ConfigError
from koji_containerbuild.tasks.mail import recipients, telling
from koji_containerbuild.tasks.tools import Task, Tools
from tests.fakes.koji_session import FakeKojiSession
from tests.fakes.mail_server import MailServer, mail_server
from tests.fakes.plans import PLAN

REQUEST = BuildRequest.read(
    "git+https://me@src.example.com/container/web#" + "a" * 40, "f43", {"git_branch": "f43"}
)
TASK = Task(7, 3, 4, "https://koji.example.com/kojihub")
RESULT = BuildResult(("reg/fedora/web:1.0-3", "reg/fedora/web@sha256:1"), ("12",), ("old key",))


class Site:
    def __init__(self, relay: MailServer) -> None:
        self.relay = relay
        self.hub = FakeKojiSession()
        self.hub.packages["web-container"]["owner_name"] = "owner"
        self.log = b""
        self.mail = MailConfig(
            host="127.0.0.1", port=relay.port, from_address="koji@example.com",
            to_submitter=True, to_owner=True, domain="example.com",
            additional=("list@example.com",), errors_to=("admin@example.com",),
            web_url="https://koji.example.com/koji/",
        )  # fmt: skip

    def write(self, name: str, data: bytes) -> None:
        assert name == TASK_LOG
        self.log += data

    def flush(self, now: bool = False) -> None:
        """Nothing to do."""

    def run(self, error: BaseException | None = None, planned: bool = True) -> None:
        """A build that ends so."""
        tools = SimpleNamespace(
            config=Config(mail=self.mail), session=self.hub, logs=self, clock=lambda: 1.7e9
        )
        with telling(lambda: REQUEST, TASK, cast(Tools, tools)) as told:
            told.plan = PLAN if planned else None
            if error:
                raise error
            told.result = RESULT

    def ends(self, error: BaseException, planned: bool = True) -> None:
        with pytest.raises(type(error)) as caught:
            self.run(error, planned)
        assert caught.value is error

    def task_is(self, state: str) -> None:
        self.hub.task_states[7] = koji.TASK_STATES[state]


@pytest.fixture
def site() -> Iterator[Site]:
    with mail_server() as relay:
        yield Site(relay)


def test_a_build_that_succeeded_is_told_of(site: Site):
    site.run()
    (letter,) = site.relay.letters
    assert letter.sender == "koji@example.com"
    assert letter.to == ["packager@example.com", "owner@example.com", "list@example.com"]
    assert letter.message["To"] == ", ".join(letter.to)
    assert letter.message["Subject"] == "Succeeded building image fedora/web"
    assert letter.message["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert letter.text.splitlines() == [
        "Image name: fedora/web",
        "Build: web-container-1.0-3",
        "Repositories: reg/fedora/web:1.0-3",
        "    reg/fedora/web@sha256:1",
        "Status: Succeeded",
        "Submitted by: packager",
        "Task id: 7",
        "Log: https://koji.example.com/koji/taskinfo?taskID=7",
        "Source url: https://src.example.com/container/web",
        "Source ref: " + "a" * 40,
        "Warnings: old key",
    ]


def test_a_build_that_failed_is_told_of_with_its_error_and_to_the_admins_too(site: Site):
    site.ends(BuildFailed("Stage 'build' failed.", do="Look at größe.log."))
    (letter,) = site.relay.letters
    assert letter.message["Subject"] == "Failed building image fedora/web"
    assert letter.to[-1] == "admin@example.com"
    assert letter.text.endswith("\nStage 'build' failed. Look at größe.log.\n")


def test_a_request_that_is_refused_is_known_by_its_repository(site: Site):
    site.ends(BadRequest("No."), planned=False)
    (letter,) = site.relay.letters
    assert letter.message["Subject"] == "Failed building image container/web"
    assert "owner@example.com" not in letter.to


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), BuildCancelled("Stop.")])
def test_a_cancelled_build_is_told_of_as_such(site: Site, error: BaseException):
    site.task_is("CANCELED")
    site.ends(error)
    (letter,) = site.relay.letters
    assert letter.message["Subject"] == "Canceled building image fedora/web"
    assert "admin@example.com" not in letter.to


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), ServerRestart()])
def test_a_build_that_goes_on_after_a_restart_of_kojid_is_no_news(site: Site, error: Any):
    site.ends(error)
    assert not site.relay.letters


def test_a_task_that_another_process_has_taken_is_not_ours_to_tell_of(site: Site):
    site.hub.refuse["getTaskInfo"] = [koji.AuthError("session expired")]
    site.ends(BuildFailed("x"))
    assert not site.relay.letters


def test_without_a_relay_nothing_is_sent_and_nobody_is_asked(site: Site):
    site.mail = MailConfig()
    site.hub.refuse["getTaskInfo"] = [AssertionError("asked")]
    site.run()
    site.ends(BuildFailed("x"))
    assert not site.relay.letters and not site.log


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_a_relay_that_refuses_fails_no_build(site: Site, command: str):
    site.relay.refuse = command
    site.run()
    assert (b"The mail was not sent: " in site.log) is (command != "EHLO")  # then comes HELO


def test_a_relay_that_is_not_there_fails_no_build(site: Site):
    site.mail = replace(site.mail, port=1)
    site.run()
    assert b"refused" in site.log
    site.ends(BuildFailed("x"))


def test_a_relay_that_cannot_do_tls_gets_nothing_when_tls_is_wanted(site: Site):
    site.mail = replace(site.mail, tls=True)
    site.run()
    assert not site.relay.letters and b"STARTTLS" in site.log


def test_a_cancelled_task_does_not_wait_for_a_slow_relay(site: Site):
    site.relay.slow = 2.5
    site.task_is("CANCELED")
    site.ends(KeyboardInterrupt())
    assert b"timed out" in site.log


def test_a_hub_that_does_not_answer_fails_no_build(site: Site):
    site.hub.refuse["getUser"] = [ConnectionError("reset")]
    site.run()
    assert b"Koji did not answer" in site.log


def test_a_bug_in_the_mail_fails_no_build(site: Site):
    site.hub.refuse["getUser"] = [KeyError("name")]
    site.run()
    assert b"The mail was not sent: 'name'" in site.log


def test_a_restart_of_kojid_is_not_taken_for_a_bug_in_the_mail(site: Site):
    site.hub.refuse["getUser"] = [ServerRestart()]
    with pytest.raises(ServerRestart):
        site.run()


def test_nothing_that_a_packager_writes_becomes_a_header(site: Site):
    evil = "x\r\nBcc: all@example.com\r\n\r\nbody\x00\ud800"
    site.ends(BuildFailed(evil))
    (letter,) = site.relay.letters
    assert letter.message["Bcc"] is None and "all@example.com" not in letter.to
    assert "Bcc: all@example.com" in letter.text and "\\ud800" not in letter.raw.decode()


def test_what_is_no_address_is_left_out_and_nobody_gets_two():
    config = MailConfig(
        to_submitter=True, to_owner=True, domain="example.com",
        additional=("a@example.com", "no one", "a@example.com", "b@example.com\r\nX: y"),
    )  # fmt: skip
    assert recipients(config, "Failed", "HTTP/web.x@EXAMPLE.COM", "a") == (
        "HTTP/web.x@EXAMPLE.COM",
        "a@example.com",
    )
    assert recipients(config, "Failed", "a b", "x>,<y") == ("a@example.com",)


@pytest.mark.parametrize(
    "lines, words",
    [("host = x", "from_address"), ("host = x\nfrom_address = a@b\nto_owner = true", "domain")],
)
def test_mail_that_could_not_be_sent_is_told_when_the_file_is_read(
    tmp_path: Path, lines: str, words: str
):
    path = tmp_path / "builder.conf"
    path.write_text(f"[mail]\n{lines}\n")
    with pytest.raises(ConfigError, match=words):
        load(path)
