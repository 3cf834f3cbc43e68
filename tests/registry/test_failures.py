"""When a registry fails: what is tried again, and what the person is told."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from koji_containerbuild.errors import BadRequest, NotFound, ServiceError
from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST, OCI_INDEX
from koji_containerbuild.rules.pullspec import Pullspec
from tests.fakes.registry import FakeRegistry, Fault
from tests.registry.conftest import client, free_port

INDEX = manifests.build_index([], OCI_INDEX)
DATA = b"0123456789abcdef" * 200_000


@pytest.fixture
def registry(fake: FakeRegistry, clock) -> Iterator[Registry]:
    with client(clock, fake.host) as chosen:
        yield chosen


@pytest.fixture
def spec(fake: FakeRegistry) -> Pullspec:
    return Pullspec(fake.host, "web", tag="1")


# -- what is tried again


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_passing_failure_is_not_noticed(fake, registry, spec, clock, status, method):
    fake.faults.append(Fault(method, "/manifests/", status=status, times=2))
    registry.put_manifest(spec, INDEX, OCI_INDEX)
    assert registry.manifest(spec).body == INDEX
    assert fake.count(method) == 3
    assert 0.25 <= clock.waits[0] <= 0.5 <= clock.waits[1] <= 1


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_an_upload_that_breaks_off_begins_again(fake, registry, spec, tmp_path: Path, method):
    fake.faults.append(Fault(method, "/blobs/"))
    path = tmp_path / "file"
    path.write_bytes(DATA)
    digest = registry.put_blob(spec, path)
    assert fake.blobs["web", digest] == DATA


def test_a_download_that_breaks_off_begins_again(fake, registry, spec, tmp_path: Path):
    digest = registry.put_blob(spec, DATA)
    fake.faults.append(Fault("GET", "/blobs/", cut_after=2_000_000))
    assert registry.blob_to_file(spec, digest, tmp_path / "out") == len(DATA)
    assert (tmp_path / "out").read_bytes() == DATA
    fake.faults.append(Fault("GET", "/blobs/", cut_after=2_000_000))
    assert registry.blob(spec, digest) == DATA


def test_a_manifest_that_breaks_off_is_asked_for_again(fake, registry, spec):
    registry.put_manifest(spec, INDEX, OCI_INDEX)
    fake.faults.append(Fault("GET", cut_after=10))
    assert registry.manifest(spec).body == INDEX


def test_a_copy_that_breaks_off_on_either_side_begins_again(fake, registry, spec, clock):
    digest = registry.put_blob(spec, DATA)
    with FakeRegistry() as other, client(clock, fake.host, other.host) as both:
        fake.faults.append(Fault("GET", "/blobs/", cut_after=2_000_000))
        other.faults.append(Fault("PUT"))
        both.copy_blob(spec, Pullspec(other.host, "web"), digest)
        assert other.blobs["web", digest] == DATA


def test_a_registry_that_says_when_is_asked_then(fake, registry, spec, clock):
    fake.faults.append(Fault("GET", status=503, headers={"Retry-After": "7"}))
    with pytest.raises(NotFound):
        registry.manifest(spec)
    assert clock.waits == [7]


def test_nobody_waits_for_a_registry_that_wants_an_hour(fake, registry, spec, clock):
    fake.faults.append(Fault("GET", status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ServiceError, match=r"too many requests \(429\), asked to read image"):
        registry.manifest(spec)
    assert clock.waits == []


def test_a_registry_that_stays_broken_is_given_up_within_half_a_minute(fake, registry, spec, clock):
    fake.faults.append(Fault("GET", status=503, times=99, headers={"Retry-After": "14"}))
    with pytest.raises(
        ServiceError, match=r"failed \(503\), asked to read image .*web:1\. Try again"
    ):
        registry.manifest(spec)
    assert clock.waits == [14, 14]


@pytest.mark.parametrize("status", [400, 403, 404, 501])
def test_an_answer_that_will_stay_the_same_is_not_asked_for_twice(
    fake, registry, spec, clock, status
):
    fake.faults.append(Fault("GET", status=status, times=99))
    with pytest.raises(ServiceError):
        registry.manifest(spec)
    assert fake.count("GET") == 1


# -- what is told


def test_a_registry_that_is_not_there_is_named(clock):
    host = f"127.0.0.1:{free_port()}"
    with client(clock, host) as registry, pytest.raises(ServiceError) as caught:
        registry.manifest(Pullspec(host, "web", tag="1"))
    assert caught.value.what == (
        f"The registry {host} could not be reached to read image {host}/web:1: Connection refused."
    )
    assert len(clock.waits) == 3


def test_a_registry_that_never_answers_is_given_up(clock):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = RegistrySettings(insecure=(host,), timeout=0.05)
        with Registry(settings, sleep=clock.sleep, clock=clock.now) as registry:
            with pytest.raises(ServiceError, match=f"{host} did not answer within 0.05 s, asked"):
                registry.manifest(Pullspec(host, "web"))


def test_bytes_that_are_not_those_of_the_digest_are_refused(fake, registry, spec, tmp_path: Path):
    digest = registry.put_manifest(spec, INDEX, OCI_INDEX)
    blob = registry.put_blob(spec, DATA)
    fake.faults.append(Fault("GET", garble=True, times=4))
    for read in (
        lambda: registry.manifest(spec),
        lambda: registry.manifest(spec.at_digest(digest)),
        lambda: registry.blob(spec, blob),
        lambda: registry.blob_to_file(spec, blob, tmp_path / "out"),
    ):
        with pytest.raises(ServiceError, match=rf"{fake.host} gave other bytes .*proxy"):
            read()
    assert not (tmp_path / "out").exists()


def test_garbled_bytes_are_not_copied(fake, registry, spec, clock):
    digest = registry.put_blob(spec, DATA)
    fake.faults.append(Fault("GET", garble=True))
    with FakeRegistry() as other, client(clock, fake.host, other.host) as both:
        with pytest.raises(ServiceError, match=rf"{fake.host} gave other bytes"):
            both.copy_blob(spec, Pullspec(other.host, "web"), digest)
        assert not other.blobs


def test_what_is_no_manifest_is_refused(fake, registry, spec):
    body = b'{"schemaVersion": 1}'
    digest = manifests.sha256(body)
    fake.manifests["web", digest] = (DOCKER_MANIFEST, body)  # served, whatever is accepted
    assert registry.manifest(spec.at_digest(digest)).media_type == DOCKER_MANIFEST
    fake.manifests["web", digest] = ("", body)
    with pytest.raises(
        ServiceError, match="with no manifest that we know. Look at it with `skopeo"
    ):
        registry.manifest(spec.at_digest(digest))


def test_a_reference_without_a_registry_is_refused(registry):
    with pytest.raises(BadRequest, match="'web:1' names no registry"):
        registry.manifest(Pullspec("", "web", tag="1"))


# -- signing in, which needs TLS


def auth_file(tmp_path: Path, host: str, text: str) -> str:
    path = tmp_path / "auth.json"
    code = base64.b64encode(text.encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": code}}}))
    return str(path)


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_the_password_of_the_auth_file_opens_the_registry(
    tls, certificate, clock, tmp_path, bearer
):
    with FakeRegistry("me:s3cret", bearer, tls) as fake:
        path = auth_file(tmp_path, fake.host, "me:s3cret")
        spec = Pullspec(fake.host, "web", tag="1")
        with client(clock, auth_file=path, ca_file=str(certificate)) as registry:
            digest = registry.put_blob(spec, DATA)
            assert registry.blob(spec, digest) == DATA
            registry.put_manifest(spec, INDEX, OCI_INDEX)
            before = len(fake.seen)
            assert registry.manifest(spec).body == INDEX
            assert len(fake.seen) == before + 1  # who is known is not asked again
            fake.tokens.clear()
            assert registry.tag(spec, "2") == manifests.sha256(INDEX)  # a token may run out


def test_many_threads_sign_in_at_once(tls, certificate, clock, tmp_path):
    with FakeRegistry("me:s3cret", tls=tls) as fake:
        path = auth_file(tmp_path, fake.host, "me:s3cret")
        settings = {"auth_file": path, "ca_file": str(certificate)}
        with client(clock, **settings) as registry, ThreadPoolExecutor(8) as pool:
            spec = Pullspec(fake.host, "web")
            digests = list(pool.map(lambda n: registry.put_blob(spec, b"%d" % n), range(24)))
        assert len(set(digests)) == 24


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_a_wrong_password_is_not_shown_and_its_place_is(tls, certificate, clock, tmp_path, bearer):
    with FakeRegistry("me:s3cret", bearer, tls) as fake:
        path = auth_file(tmp_path, fake.host, "me:wr0ng")
        with client(clock, auth_file=path, ca_file=str(certificate)) as registry:
            with pytest.raises(ServiceError) as caught:
                registry.put_blob(Pullspec(fake.host, "web"), b"x")
    assert f"The registry {fake.host} does not let us write" in caught.value.what
    assert f"The entry {fake.host} of {path} was used" in caught.value.do
    assert "wr0ng" not in str(caught.value)
    assert clock.waits == []


def test_without_a_password_one_is_told_where_to_put_it(tls, certificate, clock, tmp_path):
    with FakeRegistry("me:s3cret", tls=tls) as fake:
        spec = Pullspec(fake.host, "web")
        with client(clock, ca_file=str(certificate)) as registry:
            with pytest.raises(ServiceError, match=r"\(401\)\. Set auth_file in \[registry\]"):
                registry.manifest(spec)
        path = auth_file(tmp_path, "other.example.com", "a:b")
        with client(clock, ca_file=str(certificate), auth_file=path) as registry:
            with pytest.raises(ServiceError, match="no entry for it: podman login --authfile"):
                registry.manifest(spec)


def test_a_password_never_goes_over_plain_http(clock, tmp_path):
    with FakeRegistry("me:s3cret") as fake:
        path = auth_file(tmp_path, fake.host, "me:s3cret")
        with client(clock, fake.host, auth_file=path) as registry:
            with pytest.raises(ServiceError, match="wants a password .* over plain HTTP"):
                registry.manifest(Pullspec(fake.host, "web"))
        assert fake.authorizations == [""]


def test_the_netrc_of_whoever_runs_us_is_left_alone(fake, registry, spec, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with pytest.raises(NotFound):
        registry.manifest(spec)
    assert fake.authorizations == [""]


def test_a_certificate_of_an_unknown_ca_tells_of_ca_file(tls, clock):
    with FakeRegistry(tls=tls) as fake, client(clock) as registry:
        with pytest.raises(ServiceError, match=r"No secure connection .* ca_file in \[registry\]"):
            registry.manifest(Pullspec(fake.host, "web"))
    assert clock.waits == []


def test_a_registry_that_is_plain_http_tells_of_insecure(fake, clock):
    with client(clock) as registry:
        with pytest.raises(ServiceError, match=r"No secure connection .* insecure = true"):
            registry.manifest(Pullspec(fake.host, "web"))
