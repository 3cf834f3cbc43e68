"""What the check makes of registries."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import pytest

from koji_containerbuild.check.fact import Fact
from koji_containerbuild.check.registries import check_registries
from koji_containerbuild.config import Config, ParentsConfig, RegistryConfig
from koji_containerbuild.registry.client import Registry, RegistrySettings
from tests.fakes.registry import FakeRegistry, Fault


def facts(config: Config) -> dict[str, Fact]:
    settings = RegistrySettings(
        insecure=(config.registry.url, *config.parents.insecure_registries)
        if config.registry.insecure
        else (),
        auth_file=config.registry.auth_file,
        ca_file=config.registry.ca_file,
        timeout=5,
    )
    with Registry(settings, sleep=lambda seconds: None) as registry:
        return {fact.what: fact for fact in check_registries(config, registry, "scratch/check")}


def passwords(path: Path, host: str, text: str) -> str:
    code = base64.b64encode(text.encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": code}}}))
    path.chmod(0o600)
    return str(path)


def test_a_registry_that_takes_everything_is_all_right_and_keeps_nothing():
    with FakeRegistry() as fake:
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True)))
        assert {fact.state for fact in found.values()} == {"OK"}
        assert not fake.uploads and not fake.blobs and not fake.manifests
        assert fake.count("PATCH") == 1


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_a_right_password_over_tls_is_all_right(
    tls: ssl.SSLContext, certificate: Path, tmp_path: Path, bearer: bool
):
    with FakeRegistry("me:s3cret", bearer, tls) as fake:
        path = passwords(tmp_path / "auth.json", fake.host, "me:s3cret")
        there = RegistryConfig(fake.host, auth_file=path, ca_file=str(certificate))
        found = facts(Config(registry=there))
    assert {fact.state for fact in found.values()} == {"OK"}


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_a_wrong_password_is_wrong_for_pulling_and_pushing_and_not_shown(
    tls: ssl.SSLContext, certificate: Path, tmp_path: Path, bearer: bool
):
    with FakeRegistry("me:s3cret", bearer, tls) as fake:
        path = passwords(tmp_path / "auth.json", fake.host, "me:wr0ng")
        there = RegistryConfig(fake.host, auth_file=path, ca_file=str(certificate))
        found = facts(Config(registry=there))
    assert found[f"the registry {fake.host} answers"].state == "OK"
    for what in (f"images can be pulled from {fake.host}", f"images can be pushed to {fake.host}"):
        assert found[what].state == "WRONG"
        assert f"The entry {fake.host} of {path} was used" in found[what].mend
    assert "wr0ng" not in str(found)


def test_an_unknown_ca_is_named_once(tls: ssl.SSLContext):
    with FakeRegistry(tls=tls) as fake:
        found = facts(Config(registry=RegistryConfig(fake.host)))
        assert "ca_file" in found[f"the registry {fake.host} answers"].mend
        assert f"images can be pushed to {fake.host}" not in found


def test_a_registry_that_lets_us_read_alone_is_wrong_for_pushing():
    with FakeRegistry() as fake:
        fake.faults.append(Fault("POST", "/uploads/", status=403))
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True)))
    assert found[f"images can be pulled from {fake.host}"].state == "OK"
    assert "does not let us write" in found[f"images can be pushed to {fake.host}"].said


def test_an_upload_that_breaks_is_given_up_too():
    with FakeRegistry() as fake:
        fake.faults.append(Fault("PATCH", "/uploads/", status=413))
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True)))
        assert found[f"images can be pushed to {fake.host}"].state == "WRONG"
        assert not fake.uploads


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_that_cannot_be_told_to_give_an_upload_up_is_all_right(status: int):
    with FakeRegistry() as fake:
        fake.faults.append(Fault("DELETE", "/uploads/", status=status))
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True)))
    assert found[f"images can be pushed to {fake.host}"].state == "OK"


def test_what_is_no_registry_is_wrong():
    with FakeRegistry() as fake:
        fake.faults.append(Fault("GET", "/v2/", status=404))
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True)))
    assert found[f"the registry {fake.host} answers"].state == "WRONG"


def test_registries_of_parents_are_greeted_only():
    with FakeRegistry() as fake, FakeRegistry() as other:
        parents = ParentsConfig(allowed_registries=(other.host,), insecure_registries=(other.host,))
        found = facts(Config(registry=RegistryConfig(fake.host, insecure=True), parents=parents))
        assert found[f"the registry {other.host} answers"].state == "OK"
        assert other.seen == ["GET /v2/"]


def test_passwords_that_others_can_read_are_wrong(tmp_path: Path):
    with FakeRegistry() as fake:
        path = Path(passwords(tmp_path / "auth.json", "elsewhere.example.com", "me:s3cret"))
        path.chmod(0o644)
        there = RegistryConfig(fake.host, insecure=True, auth_file=str(path))
        found = facts(Config(registry=there))
    assert found["nobody else can read the passwords"].mend == f"chmod 600 {path}"
    missing = found[f"there is a password for {fake.host}"]
    assert missing.mend == f"podman login --authfile {path} {fake.host}"


def test_a_configuration_without_a_registry_is_wrong():
    assert [fact.state for fact in facts(Config()).values()] == ["WRONG"]
