"""What is checked in the finished image, before anything of it is in the registry."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds, Built, wait_until
from tests.stack.hanging import processes
from tests.stack.images import tags
from tests.stack.test_cancel import assert_nothing_is_left, leavings

PLAIN = "FROM demo/base:1\n@LABELS@\n"
UNSIGNED = f"{PLAIN}COPY odd.rpm /tmp/\nRUN rpm -i --force-debian /tmp/odd.rpm && rm /tmp/odd.rpm\n"
SPEC = """\
Name: odd
Version: 1.0
Release: 1
Summary: A package that nobody has signed
License: MIT
BuildArch: noarch
%description
%files
"""
ISOLATIONS = ("oci", "chroot")


@contextmanager
def configured(stack: Stack, sections: str = "", *, isolation: str = "oci") -> Iterator[None]:
    """More in the configuration of the builder, which each task reads anew."""
    path = stack.places.builder_conf
    before = path.read_text()
    changed = before.replace("[buildroot]\n", f"[buildroot]\nisolation = {isolation}\n")
    try:
        path.write_text(f"{changed}{sections}")
        yield
    finally:
        path.write_text(before)


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Id of the key that the demo's packages are signed with."""
    (file,) = stack.places.state.glob("distro/RPM-GPG-KEY-*")
    show = ["gpg", "--batch", "--with-colons", "--show-keys", str(file)]
    told = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    return next(line.split(":")[4] for line in told.splitlines() if line.startswith("pub:")).lower()


@pytest.fixture(scope="module")
def odd_rpm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.spec").write_text(SPEC)
    define = ["-D", f"_topdir {folder}", "-D", "_rpmfilename odd.rpm"]
    command = ["rpmbuild", "-bb", *define, str(folder / "odd.spec")]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "RPMS/odd.rpm").read_bytes()


def signatures(policy: str, key: str) -> str:
    return f"[signatures]\npolicy = {policy}\n[signing_keys]\nf43-* = {key}\n"


def refused(
    stack: Stack, builds: Builds, dockerfile: str, files: dict[str, str | bytes], **opts: str
) -> Built:
    """A build that fails; nothing of it stays in the registry."""
    source = builds.source(dockerfile, files)
    built = builds.start(source, **opts).done()
    assert built.state == "FAILED"
    assert tags(stack.addresses.registry, f"demo/{source.name}") == []
    assert "Traceback" not in built.fault
    return built


def test_a_package_without_signature_is_named_and_the_image_refused(
    stack: Stack, builds: Builds, key: str, odd_rpm: bytes
):
    with configured(stack, signatures("fail", key)):
        built = refused(stack, builds, UNSIGNED, {"odd.rpm": odd_rpm})
        signed = builds.good(PLAIN)
    assert "Stage 'check signatures' failed for x86_64: 1 of " in built.fault
    assert "odd-1.0-1.noarch (not signed)." in built.fault
    assert key in built.fault
    assert signed.result
    assert not signed.result.get("user_warnings")


def test_with_the_policy_warn_the_task_says_it_and_the_build_is_made(
    stack: Stack, builds: Builds, key: str, odd_rpm: bytes
):
    with configured(stack, signatures("warn", key[-8:])):
        built = builds.good(UNSIGNED, {"odd.rpm": odd_rpm})
    assert built.result
    (warning,) = built.result["user_warnings"]
    assert warning.startswith("x86_64: 1 of ")
    assert "odd-1.0-1.noarch (not signed)" in warning
    assert "odd-1.0-1" in builds.output(built.task, "user_warnings.log").decode()


def test_packages_with_the_key_of_somebody_else_are_named_with_it(
    stack: Stack, builds: Builds, key: str
):
    with configured(stack, signatures("fail", "0123456789abcdef")):
        built = refused(stack, builds, PLAIN, {})
    assert f"dash-0.5.12-1.f43.x86_64 (key {key})" in built.fault


def test_a_target_without_keys_is_said_before_anything_is_built(stack: Stack, builds: Builds):
    with configured(stack, "[signatures]\npolicy = fail\n"):
        built = refused(stack, builds, PLAIN, {})
    assert "[signing_keys] has no keys for the target f43-container-candidate" in built.fault


def test_an_image_that_is_too_large_is_refused_with_both_numbers(stack: Stack, builds: Builds):
    with configured(stack, "[limits]\nimage_size_mib = 1\n"):
        built = refused(stack, builds, PLAIN, {})
    assert "Stage 'check size' failed for x86_64: The image has " in built.fault
    assert "the limit of the site is 1.0 MiB" in built.fault


TESTS = """\
test:
- test "$(id -u):$PWD:$GREETING" = 1000:/srv:hello
- echo test > /srv/written; ! test -e /etc/yum.repos.d/*.repo
- test -z "$(ls /sys/class/net | grep -v '^lo$')" || ! cat /proc/net/route | grep -q '[0-9]'
"""
TESTED = f"""\
{PLAIN}RUN mkdir -p /srv && chmod 777 /srv && echo x > /srv/x
ENV GREETING=hello
WORKDIR /srv
USER 1000
"""


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_commands_run_as_the_image_has_it_and_do_not_change_it(
    stack: Stack, builds: Builds, isolation: str
):
    with configured(stack, isolation=isolation):
        built = builds.good(TESTED, {"container.yaml": TESTS})
    log = builds.output(built.task, "x86_64.log").decode()
    assert "TEST 1/3: test " in log
    assert "x86_64 tests: done" in log
    top = builds.image(built).top
    assert "srv/x" in top
    assert "srv/written" not in top


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_command_that_fails_is_named_with_its_last_lines(
    stack: Stack, builds: Builds, isolation: str
):
    settings = "test: ['true', 'echo looking; echo nothing there >&2; exit 7', 'echo never']\n"
    with configured(stack, isolation=isolation):
        built = refused(stack, builds, PLAIN, {"container.yaml": settings})
    lines = built.fault.splitlines()
    assert lines[0] == ("Stage 'tests' failed for x86_64: Test 2 of 3 ended with exit status 7.")
    assert lines[1].startswith("Instruction: test: echo looking;")
    assert lines[2:5] == ["Its last lines:", "    looking", "    nothing there"]
    assert "never" not in builds.output(built.task, "x86_64.log").decode()


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_command_reaches_no_network_not_even_the_hosts_own(
    stack: Stack, builds: Builds, isolation: str
):
    registry = f"http://{stack.addresses.registry}/v2/"
    get = f"busybox wget -q -O /dev/null {registry}"
    with configured(stack, isolation=isolation):
        during = builds.build(f"{PLAIN}RUN {get}\n")
        built = refused(stack, builds, PLAIN, {"container.yaml": f"test: {get}\n"})
    assert during.state == "CLOSED", during.fault
    assert "Stage 'tests' failed" in built.fault


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_cancelled_build_takes_its_test_with_it(stack: Stack, builds: Builds, isolation: str):
    seconds = str(800000 + time.time_ns() % 100000)
    command = f"echo it hangs; sleep {seconds}; echo on"
    source = builds.source(PLAIN, {"container.yaml": f"test: '{command}'\n"})
    before = leavings(stack)
    with configured(stack, isolation=isolation):
        asked = builds.start(source)
        asked.wait_for(b"\nit hangs\n")
        assert processes(seconds)
        stack.session().cancelTask(asked.task)
        wait_until(lambda: not processes(seconds), 10)
    assert asked.done().state == "CANCELED"
    assert_nothing_is_left(stack, before)


def test_an_image_without_a_shell_says_so(stack: Stack, builds: Builds):
    built = refused(
        stack,
        builds,
        "FROM scratch\n@LABELS@\nCOPY x /\n",
        {"x": "x", "container.yaml": "test: x\n"},
    )
    assert "The image has no /bin/sh, so its tests cannot be run." in built.fault


def test_certificates_of_the_site_are_there_for_repos_and_gone_afterwards(
    stack: Stack, builds: Builds, tmp_path: Path
):
    bundle = tmp_path / "ca.pem"
    (authority,) = stack.places.certs.glob("ca*.crt")
    bundle.write_text(authority.read_text())
    look = "grep -q CERTIFICATE /etc/yum.repos.d/koji-containerbuild-ca.pem"
    with configured(stack, f"[repos]\nca_bundle = {bundle}\n"):
        built = builds.good(f"{PLAIN}RUN {look} && dnf -y install hello\n")
    assert not [name for name in builds.image(built).top if "koji-containerbuild" in name]
