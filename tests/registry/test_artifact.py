"""Artifacts: files go in and come out the same, whatever their size and whoever made them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.registry.artifact import (
    CONFIG_TYPE,
    TITLE,
    ArtifactFile,
    pull_artifact,
    push_artifact,
)
from koji_containerbuild.rules import manifests

RPMS = ArtifactFile("rpms.json", "application/json", b'[{"name": "bash"}]')
LINE = b"2026-01-01T00:00:00Z a line of the log of a build\n"


def test_files_come_back_as_they_were(registry, spec, tmp_path: Path):
    log = tmp_path / "log"
    log.write_bytes(LINE * 50_000)
    files = [
        RPMS,
        ArtifactFile("build.log", "text/plain+gzip", log),
        ArtifactFile("none", "x/y+gzip", b""),
    ]
    digest = push_artifact(registry, spec, files, b'{"arch": "x86_64"}', tag="report")
    assert registry.manifest(spec.at_tag("report")).digest == digest
    into = tmp_path / "into"
    into.mkdir()
    pulled = pull_artifact(registry, spec.at_digest(digest), into)
    assert pulled.config == b'{"arch": "x86_64"}'
    assert [(file.name, file.media_type) for file in pulled.files] == [
        ("rpms.json", "application/json"),
        ("build.log", "text/plain+gzip"),
        ("none", "x/y+gzip"),
    ]
    assert [file.path.read_bytes() for file in pulled.files] == [
        RPMS.content,
        log.read_bytes(),
        b"",
    ]
    assert sorted(path.name for path in into.iterdir()) == ["build.log", "none", "rpms.json"]


def test_an_artifact_needs_neither_tag_nor_files(registry, spec, tmp_path: Path):
    digest = push_artifact(registry, spec, [], b"{}")
    assert pull_artifact(registry, spec.at_digest(digest), tmp_path).files == ()


def test_the_registry_keeps_the_log_compressed(registry, spec):
    digest = push_artifact(
        registry, spec, [ArtifactFile("log", "text/plain+gzip", LINE * 1000)], b"{}"
    )
    layer = json.loads(registry.manifest(spec.at_digest(digest)).body)["layers"][0]
    stored = registry.blob(spec, layer["digest"])
    assert layer["size"] == len(stored) < len(LINE) * 100
    assert gzip.decompress(stored) == LINE * 1000


def test_the_same_files_give_the_same_artifact(registry, spec, tmp_path: Path):
    path = tmp_path / "another name"
    path.write_bytes(LINE)
    one = push_artifact(registry, spec, [ArtifactFile("log", "text/plain+gzip", LINE)], b"{}")
    assert (
        push_artifact(registry, spec, [ArtifactFile("log", "text/plain+gzip", path)], b"{}") == one
    )


def test_a_log_of_100_megabytes_never_is_in_memory(registry, spec, tmp_path: Path):
    log = tmp_path / "log"
    with log.open("wb") as file:
        for _ in range(100):
            file.write(LINE * ((1 << 20) // len(LINE)))
    tracemalloc.start()
    try:
        digest = push_artifact(registry, spec, [ArtifactFile("l", "text/plain+gzip", log)], b"{}")
        (tmp_path / "into").mkdir()
        pulled = pull_artifact(registry, spec.at_digest(digest), tmp_path / "into")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pulled.files[0].path.stat().st_size == log.stat().st_size
    assert peak < 8 << 20


@pytest.mark.parametrize("names", [["../x"], ["a/b"], [""], [".hidden"], ["a", "a"], ["a\n"]])
def test_names_that_are_not_bare_are_not_pushed(registry, spec, names):
    with pytest.raises(ValueError, match="bare and different names"):
        push_artifact(registry, spec, [ArtifactFile(name, "x/y", b"") for name in names], b"{}")


def forged(registry, spec, name, kind="x/y", data=b"evil", *, config_type=CONFIG_TYPE, size=None):
    """An artifact such as we would never push."""
    config = registry.put_blob(spec, b"{}")
    layer = {
        "mediaType": kind,
        "digest": registry.put_blob(spec, data),
        "size": len(data) if size is None else size,
        "annotations": {TITLE: name},
    }
    body = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": {"mediaType": config_type, "digest": config, "size": 2},
        "layers": [layer],
    }
    digest = registry.put_manifest(
        spec.at_tag("x"), json.dumps(body).encode(), manifests.OCI_MANIFEST
    )
    return spec.at_digest(digest)


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a/b", "..", "", "there", "link"])
def test_a_name_that_leads_elsewhere_writes_nothing(registry, spec, tmp_path: Path, name):
    into = tmp_path / "into"
    into.mkdir()
    (into / "there").write_bytes(b"mine")
    (into / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ServiceError, match="bad name"):
        pull_artifact(registry, forged(registry, spec, name), into)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into"]
    assert (into / "there").read_bytes() == b"mine"


def test_a_small_file_that_unpacks_to_a_huge_one_is_stopped(registry, spec, tmp_path: Path):
    bomb = forged(registry, spec, "log", "text/plain+gzip", gzip.compress(bytes(5 << 20)))
    with pytest.raises(ServiceError, match="log of .* is larger than 1048576 bytes"):
        pull_artifact(registry, bomb, tmp_path, largest=1 << 20)
    assert not list(tmp_path.iterdir())


def test_a_huge_file_is_not_fetched_even_if_it_says_it_is_small(registry, spec, tmp_path: Path):
    with pytest.raises(ServiceError, match="larger than 3 bytes"):
        pull_artifact(registry, forged(registry, spec, "a"), tmp_path, largest=3)
    with pytest.raises(ServiceError, match="larger than 3 bytes"):
        pull_artifact(registry, forged(registry, spec, "a", size=1), tmp_path, largest=3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(b"x" * 1000)[:-9]], ids=["other", "half"]
)
def test_a_broken_gzip_file_is_named_and_leaves_nothing(registry, spec, tmp_path: Path, data):
    with pytest.raises(ServiceError, match="log of .* is no gzip file"):
        pull_artifact(registry, forged(registry, spec, "log", "text/plain+gzip", data), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_image_is_not_taken_for_an_artifact(registry, spec, tmp_path: Path):
    image = forged(registry, spec, "a", config_type="application/vnd.oci.image.config.v1+json")
    with pytest.raises(ServiceError, match="is no artifact of a build, but application/vnd.oci"):
        pull_artifact(registry, image, tmp_path)
    with pytest.raises(ValueError, match="pulled by digest"):
        pull_artifact(registry, spec.at_tag("x"), tmp_path)
