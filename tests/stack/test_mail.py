"""Mail about builds of the real Koji, to a relay on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.fakes.mail_server import MailServer, mail_server
from tests.stack.builds import Builds, configured, wait_until

STATIC = "FROM scratch\n@LABELS@\nCOPY hello /\n"
FILES = {"hello": "hello\n"}


@pytest.fixture
def relay(stack: Stack) -> Iterator[MailServer]:
    with mail_server() as relay:
        lines = f"""[mail]
host = 127.0.0.1
port = {relay.port}
from_address = koji@example.com
to_submitter = true
to_owner = true
domain = example.com
errors_to = admin@example.com
web_url = {stack.addresses.web}"""
        with configured(stack, lines):
            yield relay


def test_submitter_and_owner_hear_of_a_build(stack: Stack, builds: Builds, relay: MailServer):
    made = builds.good(STATIC, FILES)
    letter = wait_until(lambda: relay.letters, 5)[0]
    assert letter.to == ["packager@example.com"]
    assert str(letter.message["Subject"]).startswith("Succeeded building image demo/t")
    assert f"Build: {made.nvr}\n" in letter.text
    assert f"Log: {stack.addresses.web}/taskinfo?taskID={made.task}\n" in letter.text


def test_a_failed_build_is_told_to_the_admins_too(builds: Builds, relay: MailServer):
    made = builds.build("FROM scratch\n@LABELS@\nCOPY nothing /\n", FILES)
    letter = wait_until(lambda: relay.letters, 5)[0]
    assert letter.to == ["packager@example.com", "admin@example.com"]
    assert made.fault.splitlines()[0] in letter.text.replace("\n    ", " ")


def test_a_cancelled_build_is_told_of(builds: Builds, relay: MailServer):
    asked = builds.start(builds.source("FROM demo/base:1\n@LABELS@\nRUN echo at it; sleep 600\n"))
    asked.wait_for(b"at it")
    builds.session.cancelTask(asked.task)
    letter = wait_until(lambda: relay.letters, 30)[0]
    assert str(letter.message["Subject"]).startswith("Canceled building image demo/t")
