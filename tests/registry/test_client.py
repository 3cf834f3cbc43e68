"""The registry client, on the fake and (marked stack) on a real docker-registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koji_containerbuild.errors import NotFound, ServiceError
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Platform,
)
from koji_containerbuild.rules.pullspec import Pullspec
from tests.registry.conftest import client

NOBODY = "sha256:" + "0" * 64


def image(registry: Registry, spec: Pullspec, kind: str = DOCKER_MANIFEST, note: str = "") -> bytes:
    """Push the blobs of an image; return the bytes of its manifest, spaces and all."""
    config = registry.put_blob(spec, json.dumps({"architecture": "amd64", "note": note}).encode())
    layer = registry.put_blob(spec, b"a layer")
    document = {
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": 1,
            "digest": config,
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 7, "digest": layer}
        ],
    }
    if kind == DOCKER_MANIFEST:
        document["mediaType"] = kind
    return json.dumps(document, indent=3).encode()


@pytest.mark.parametrize("kind", [DOCKER_MANIFEST, OCI_MANIFEST])
def test_a_manifest_comes_back_byte_for_byte_with_its_type(registry, spec, kind):
    body = image(registry, spec, kind)
    digest = registry.put_manifest(spec.at_tag("1"), body, kind)
    assert digest == manifests.sha256(body)
    for asked in (spec.at_tag("1"), spec.at_digest(digest)):
        manifest = registry.manifest(asked)
        assert (manifest.spec, manifest.digest, manifest.media_type) == (asked, digest, kind)
        assert manifest.body == body
        assert not manifest.is_index


@pytest.mark.parametrize(
    ("kind", "child"), [(DOCKER_LIST, DOCKER_MANIFEST), (OCI_INDEX, OCI_MANIFEST)]
)
def test_an_index_comes_back_byte_for_byte_with_its_platforms(registry, spec, kind, child):
    body = image(registry, spec, child)
    digest = registry.put_manifest(spec.at_tag("one"), body, child)
    entry = Platform("s390x", "linux", "", digest, child, len(body))
    index = manifests.build_index([entry], kind)
    registry.put_manifest(spec.at_tag("all"), index, kind)
    manifest = registry.manifest(spec.at_tag("all"))
    assert manifest.body == index
    assert manifest.media_type == kind
    assert manifest.is_index
    assert manifest.platforms == (entry,)


def test_pushing_twice_gives_the_same_digest(registry, spec):
    body = image(registry, spec)
    first = registry.put_manifest(spec.at_tag("1"), body, DOCKER_MANIFEST)
    assert registry.put_manifest(spec.at_tag("1"), body, DOCKER_MANIFEST) == first
    assert registry.put_manifest(spec.at_digest(first), body, DOCKER_MANIFEST) == first


def test_a_manifest_is_not_pushed_under_a_digest_that_is_not_its_own(registry, spec):
    with pytest.raises(ValueError, match="these bytes are"):
        registry.put_manifest(spec.at_digest(NOBODY), b"{}", DOCKER_MANIFEST)


def test_a_tag_names_the_very_same_manifest_and_can_be_moved(registry, spec):
    one = registry.put_manifest(spec.at_tag("1"), image(registry, spec), DOCKER_MANIFEST)
    two = registry.put_manifest(spec.at_tag("2"), image(registry, spec, note="2"), DOCKER_MANIFEST)
    for digest in (one, two):
        assert registry.tag(spec.at_digest(digest), "latest") == digest
        assert registry.manifest(spec.at_tag("latest")).digest == digest


@pytest.mark.parametrize("reference", ["nothing", NOBODY])
def test_an_image_that_is_not_there_is_named(registry, spec, reference):
    asked = spec.at_digest(reference) if ":" in reference else spec.at_tag(reference)
    with pytest.raises(NotFound) as caught:
        registry.manifest(asked)
    assert f"The registry {spec.registry} has no image {asked}." in str(caught.value)


def test_the_config_of_an_image_is_read(registry, spec):
    registry.put_manifest(spec.at_tag("1"), image(registry, spec, note="x"), DOCKER_MANIFEST)
    manifest = registry.manifest(spec.at_tag("1"))
    assert json.loads(registry.config(spec, manifest))["note"] == "x"


@pytest.mark.parametrize(
    "data", [b"", b"small", b"0123456789abcdef" * 200_000], ids=["no", "few", "many"]
)
def test_a_blob_comes_back_from_bytes_and_from_a_file(registry, spec, tmp_path: Path, data):
    (tmp_path / "in").write_bytes(data)
    digest = registry.put_blob(spec, data)
    other = Pullspec(spec.registry, spec.repository + "2")
    assert registry.put_blob(other, tmp_path / "in") == digest == manifests.sha256(data)
    for where in (spec, other):
        assert registry.blob(where, digest) == data
        assert registry.blob_to_file(where, digest, tmp_path / "out") == len(data)
        assert (tmp_path / "out").read_bytes() == data


def test_a_blob_that_is_not_there_is_named_and_leaves_no_file(registry, spec, tmp_path: Path):
    assert not registry.has_blob(spec, NOBODY)
    with pytest.raises(NotFound, match=f"has no blob {NOBODY} of {spec.name}"):
        registry.blob(spec, NOBODY)
    with pytest.raises(NotFound):
        registry.blob_to_file(spec, NOBODY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_blob_larger_than_allowed_is_not_taken_into_memory(registry, spec):
    digest = registry.put_blob(spec, b"x" * 100)
    with pytest.raises(ServiceError, match="larger than 99 bytes"):
        registry.blob(spec, digest, at_most=99)


@pytest.mark.parametrize("digest", ["sha256:../../../other", "md5:00", ""])
def test_a_digest_that_is_none_is_never_asked_for(registry, spec, digest):
    with pytest.raises(ServiceError, match="is not a digest"):
        registry.blob(spec, digest)


def test_a_blob_is_mounted_from_another_repository(registry, spec):
    digest = registry.put_blob(spec, b"shared")
    other = Pullspec(spec.registry, spec.repository + "-other")
    assert registry.mount_blob(other, digest, spec.repository)
    assert registry.blob(other, digest) == b"shared"
    assert not registry.mount_blob(other, NOBODY, spec.repository)


def test_a_copy_within_a_registry_moves_no_bytes(fake, clock):
    source, dest = Pullspec(fake.host, "a"), Pullspec(fake.host, "b")
    with client(clock, fake.host) as registry:
        digest = registry.put_blob(source, b"data")
        registry.copy_blob(source, dest, digest)
        registry.copy_blob(source, dest, digest)
    assert fake.blobs["b", digest] == b"data"
    assert fake.count("GET", "/blobs/") == 0


def test_a_blob_is_copied_between_registries_once(registry, spec, fake, clock):
    data = b"0123456789abcdef" * 200_000
    digest = registry.put_blob(spec, data)
    dest = Pullspec(fake.host, "copied")
    with client(clock, spec.registry, fake.host) as both:
        both.copy_blob(spec, dest, digest)
        both.copy_blob(spec, dest, digest)
        assert fake.blobs["copied", digest] == data
        assert fake.count("PUT") == 1
        back = Pullspec(spec.registry, spec.repository + "-back")
        both.copy_blob(dest, back, digest)
        assert both.blob(back, digest) == data


def test_a_deleted_manifest_is_gone_and_deleting_it_again_is_no_error(registry, spec):
    digest = registry.put_manifest(spec.at_tag("1"), image(registry, spec), DOCKER_MANIFEST)
    assert registry.delete_manifest(spec.at_digest(digest))
    assert registry.delete_manifest(spec.at_digest(digest))
    with pytest.raises(NotFound):
        registry.manifest(spec.at_digest(digest))
    with pytest.raises(NotFound):
        registry.manifest(spec.at_tag("1"))
    with pytest.raises(ValueError, match="deleted by digest"):
        registry.delete_manifest(spec.at_tag("1"))


def test_a_registry_that_does_not_delete_says_so(host_without_deletes, clock):
    spec = Pullspec(host_without_deletes, "kept")
    with client(clock, host_without_deletes) as registry:
        digest = registry.put_manifest(spec.at_tag("1"), image(registry, spec), DOCKER_MANIFEST)
        assert not registry.delete_manifest(spec.at_digest(digest))
        assert registry.manifest(spec.at_tag("1")).digest == digest


def test_an_index_of_images_that_are_not_there_is_refused_in_the_registrys_words(registry, spec):
    entry = Platform("amd64", "linux", "", NOBODY, DOCKER_MANIFEST, 1)
    with pytest.raises(ServiceError, match=r"refused to write the manifest .*\(400: .*UNKNOWN"):
        registry.put_manifest(
            spec.at_tag("1"), manifests.build_index([entry], DOCKER_LIST), DOCKER_LIST
        )
