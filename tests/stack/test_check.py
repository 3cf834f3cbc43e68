"""`koji-containerbuild check` on the builder of the devstack, and with one thing wrong at a time."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.__main__ import main
from koji_containerbuild.devstack.places import answers
from koji_containerbuild.devstack.process import stop
from koji_containerbuild.devstack.seed import CONTENT_GENERATOR, HOST, TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.registry.conftest import free_port
from tests.stack.builds import wait_until

# me:s3cret, as htpasswd -B writes it.
HTPASSWD = "me:$2b$04$gmRN9FAq5TaH27yTKgVNKOZwg0mY30FHotYqbiwGO5SO6jyj.AZaK\n"
REGISTRY = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {certificate}}}}}
"""

Facts = dict[str, dict[str, Any]]


@pytest.fixture
def check(stack: Stack, capsys: pytest.CaptureFixture[str]) -> Any:
    """The facts by their text, with other files in place of the devstack's."""

    def run(kojid_conf: Path = stack.places.conf / "kojid.conf", *more: str) -> Facts:
        config = ["--config", str(stack.places.builder_conf), "--kojid-conf", str(kojid_conf)]
        status = main(["check", "--json", *config, *more])
        facts = {fact["what"]: fact for fact in json.loads(capsys.readouterr().out)}
        assert status == any(fact["state"] == "WRONG" for fact in facts.values())
        return facts

    return run


def wrong(facts: Facts) -> list[str]:
    return [fact["mend"] for fact in facts.values() if fact["state"] == "WRONG"]


@contextmanager
def replaced(stack: Stack, before: str, after: str) -> Iterator[None]:
    """Another builder.conf."""
    path = stack.places.builder_conf
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    try:
        yield
    finally:
        path.write_text(text)


def test_nothing_is_wrong_with_the_builder_of_the_devstack(stack: Stack, check: Any):
    with replaced(stack, "[builder]", f"[builder]\nallowed_targets = {TARGET}"):
        facts = check()
    assert not wrong(facts)
    assert facts["kojid is at work"]["state"] == "OK"
    assert facts[f"the target {TARGET} can be built for"]["said"] == "x86_64"
    assert facts[f"images can be pushed to {stack.addresses.registry}"]["state"] == "OK"


def test_kojid_goes_on_working_while_its_credentials_are_tried(stack: Stack, check: Any):
    check()
    sessions = stack.admin.session.getHost(HOST)
    before = stack.admin.session.getLastHostUpdate(sessions["id"])
    wait_until(lambda: stack.admin.session.getLastHostUpdate(sessions["id"]) != before, 30)


def test_a_kojid_that_does_not_run(stack: Stack, check: Any):
    stop(stack.places.run, "kojid")
    try:
        facts = check()
    finally:
        stack.up()
    assert facts["kojid's credentials are good"]["state"] == "OK"
    assert facts["kojid is at work"]["said"] == "It is not logged in."
    assert wrong(facts) == [facts["kojid is at work"]["mend"]]


def test_a_host_without_access_to_the_content_generator(stack: Stack, check: Any):
    stack.admin.session.revokeCGAccess(HOST, CONTENT_GENERATOR)
    try:
        (mend,) = wrong(check())
    finally:
        stack.admin.allow_generator(HOST, CONTENT_GENERATOR)
    assert mend.startswith("koji grant-cg-access ")
    assert mend.endswith(f"{HOST} {CONTENT_GENERATOR}")


def test_the_command_that_the_check_names_mends_it(stack: Stack, check: Any):
    stack.admin.session.removeHostFromChannel(HOST, "container-binary")
    (mend,) = wrong(check())
    stack.koji(*mend.split()[1:], profile_name="devstack-admin", check=True)
    assert not wrong(check())


def test_a_wrong_password_of_kojid(stack: Stack, check: Any, tmp_path: Path):
    path = tmp_path / "kojid.conf"
    text = (stack.places.conf / "kojid.conf").read_text()
    path.write_text(text.replace(f"password = {HOST}", "password = wr0ng"))
    facts = check(path)
    (mend,) = wrong(facts)
    assert "kojid.conf" in mend
    assert "wr0ng" not in str(facts)


def test_a_host_that_koji_does_not_know(check: Any, stack: Stack):
    facts = check(stack.places.conf / "kojid.conf", "--host", "builder9")
    assert facts["Koji knows the host builder9"]["mend"].startswith("koji add-host builder9 ")


@contextmanager
def registry_with_password(folder: Path, certificate: Path) -> Iterator[str]:
    """A docker-registry with TLS, for me:s3cret alone."""
    port = free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    config = folder / "config.yml"
    config.write_text(REGISTRY.format(folder=folder, port=port, certificate=certificate))
    program = shutil.which("docker-registry")
    assert program
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), 20)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("password", ["s3cret", "wr0ng"])
def test_the_password_of_a_registry(
    stack: Stack, check: Any, tmp_path: Path, certificate: Path, password: str
):
    with registry_with_password(tmp_path, certificate) as host:
        code = base64.b64encode(f"me:{password}".encode()).decode()
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {host: {"auth": code}}}))
        path.chmod(0o600)
        parents = stack.addresses.registry
        before = f"url = {parents}\ninsecure = true\n[parents]"
        own = f"url = {host}\nca_file = {certificate}\nauth_file = {path}"
        with replaced(stack, before, f"{own}\n[parents]\ninsecure_registries = {parents}"):
            facts = check()
    pulled, pushed = (
        facts[f"images can be {what} {host}"] for what in ("pulled from", "pushed to")
    )
    right = password == "s3cret"
    assert pulled["state"] == pushed["state"] == ("OK" if right else "WRONG")
    assert len(wrong(facts)) == (0 if right else 2)
    assert not (tmp_path / "data/docker/registry/v2/blobs").exists()
