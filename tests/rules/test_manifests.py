"""Rules about manifests: nothing of an image is lost but the layer that was to go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Platform,
    build_index,
    platforms,
    without_layer,
)

HISTORY = [
    {"created_by": "base"},
    {"created_by": "LABEL a=b", "empty_layer": True},
    {"created_by": "RUN install"},
    {"created_by": "COPY help", "comment": "", "empty_layer": False},
    {"created_by": "CMD", "empty_layer": True},
]


def image(history: list[dict[str, Any]] | None = None, layers: int = 3) -> tuple[bytes, bytes]:
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {
            "Healthcheck": {"Test": ["CMD", "true"]},
            "OnBuild": ["RUN <&>"],
            "Shell": ["é"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:d{n}" for n in range(layers)]},
        "created": "2026-01-01T00:00:00Z",
    }
    if history is not None:
        config["history"] = history
    body = manifests.to_bytes(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "c", "size": len(body), "digest": manifests.sha256(body)},
        "layers": [{"mediaType": "l", "size": n, "digest": f"sha256:l{n}"} for n in range(layers)],
        "annotations": {"kept": "yes"},
    }
    return manifests.to_bytes(manifest), body


def test_a_layer_goes_from_manifest_diff_ids_and_history_alike():
    manifest, config = (json.loads(part) for part in without_layer(*image(HISTORY), 1))
    assert [layer["digest"] for layer in manifest["layers"]] == ["sha256:l0", "sha256:l2"]
    assert config["rootfs"]["diff_ids"] == ["sha256:d0", "sha256:d2"]
    assert [entry["created_by"] for entry in config["history"]] == [
        "base",
        "LABEL a=b",
        "COPY help",
        "CMD",
    ]


def test_everything_else_in_the_config_stays_as_it_was():
    old = json.loads(image(HISTORY)[1])
    new = json.loads(without_layer(*image(HISTORY), 2)[1])
    for key in ("rootfs", "history"):
        del old[key], new[key]
    assert new == old
    assert list(new) == list(old)
    assert new["config"]["Healthcheck"] == {"Test": ["CMD", "true"]}


def test_the_new_manifest_names_the_new_config():
    manifest, config = without_layer(*image(HISTORY), 0)
    named = json.loads(manifest)["config"]
    assert named == {"mediaType": "c", "size": len(config), "digest": manifests.sha256(config)}
    assert json.loads(manifest)["annotations"] == {"kept": "yes"}


def test_an_entry_that_says_empty_layer_false_counts_as_a_layer():
    config = json.loads(without_layer(*image(HISTORY), 2)[1])
    assert "COPY help" not in [entry["created_by"] for entry in config["history"]]


@pytest.mark.parametrize("history", [None, []])
def test_an_image_without_a_history_loses_its_layer_all_the_same(history):
    before = image(history)
    config = json.loads(without_layer(*before, 0)[1])
    assert config["rootfs"]["diff_ids"] == ["sha256:d1", "sha256:d2"]
    assert config.get("history") == history


@pytest.mark.parametrize("index", [-1, 3])
def test_a_layer_that_is_not_there_cannot_be_taken_out(index):
    with pytest.raises(IndexError):
        without_layer(*image(HISTORY), index)


def test_a_history_that_does_not_fit_the_layers_is_refused():
    with pytest.raises(ServiceError, match="history tells of 2 layers and the image has 3"):
        without_layer(*image(HISTORY[:3]), 0)


def test_a_config_of_another_image_is_refused():
    with pytest.raises(ServiceError, match="manifest has 3 layers and the config 2"):
        without_layer(image()[0], image(layers=2)[1], 0)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_whatever_the_history_the_rest_of_it_keeps_its_order(empties, data):
    layers = empties.count(False)
    if not layers:
        return
    history = [{"created_by": str(n), "empty_layer": empty} for n, empty in enumerate(empties)]
    index = data.draw(st.integers(0, layers - 1))
    gone = [entry for entry in history if not entry["empty_layer"]][index]
    after = without_layer(*image(history, layers), index)
    assert json.loads(after[1])["history"] == [entry for entry in history if entry is not gone]
    assert after == without_layer(*image(history, layers), index)


def entry(arch: str, kind: str = DOCKER_MANIFEST, variant: str = "") -> Platform:
    return Platform(arch, "linux", variant, "sha256:" + arch[0] * 64, kind, 527)


def test_an_index_is_the_same_whatever_the_order_its_images_came_in():
    entries = [entry("s390x"), entry("amd64"), entry("arm64")]
    body = build_index(entries, DOCKER_LIST)
    assert body == build_index(list(reversed(entries)), DOCKER_LIST)
    assert [platform.arch for platform in platforms(body)] == ["amd64", "arm64", "s390x"]
    assert json.loads(body)["mediaType"] == DOCKER_LIST
    assert json.loads(body)["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux"}


def test_an_index_keeps_variants_apart_and_refuses_a_platform_twice():
    entries = [entry("arm", variant="v7"), entry("arm", variant="v6")]
    assert [platform.variant for platform in platforms(build_index(entries, OCI_INDEX))] == [
        "v6",
        "v7",
    ]
    with pytest.raises(ValueError, match="each platform once"):
        build_index([entry("arm"), entry("arm")], OCI_INDEX)


def test_an_index_must_have_the_media_type_of_an_index():
    with pytest.raises(ValueError, match="not the media type of an index"):
        build_index([], OCI_MANIFEST)


def test_attestations_are_not_platforms():
    body = json.loads(build_index([entry("amd64")], OCI_INDEX))
    body["manifests"].append(
        {"digest": "sha256:0", "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}}
    )
    assert [platform.arch for platform in platforms(json.dumps(body).encode())] == ["amd64"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"manifests": [1]}', b'{"manifests": [{}]}'])
def test_what_is_no_index_is_refused_in_words(body):
    with pytest.raises(ServiceError, match="skopeo inspect"):
        platforms(body)


@pytest.mark.parametrize(
    ("body", "said", "kind"),
    [
        (b'{"schemaVersion":2,"manifests":[]}', "text/plain", OCI_INDEX),
        (b'{"mediaType":"%s"}' % DOCKER_LIST.encode(), "", DOCKER_LIST),
        (b'{"mediaType":"application/strange"}', "", ""),
        (b"not json", "application/json", ""),
    ],
)
def test_the_media_type_is_found_when_the_registry_does_not_tell(body, said, kind):
    assert manifests.media_type_of(body, said) == kind


def test_going_to_goarch_and_back_gives_the_same_arch():
    for arch in ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64"):
        assert manifests.koji_arch(manifests.goarch(arch)) == arch
