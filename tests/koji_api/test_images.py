"""What Koji knows of images: the right builds are found, and nothing in their `extra` is trusted."""

from __future__ import annotations

from typing import Any

import koji
import pytest

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api.images import (
    build_facts,
    named_builds,
    previous_build,
    unknown_packages,
)
from koji_containerbuild.rules.changes import Layer, Package
from tests.fakes.koji_session import STATES, FakeKojiSession

TAG = "f43-candidate"


@pytest.fixture
def hub() -> FakeKojiSession:
    hub = FakeKojiSession()
    hub.add_rpm("bash", "5.2")
    hub.add_rpm("tzdata", "1", arch="noarch")
    return hub


def output(arch: str = "x86_64", rpms: str = "bash-5.2", **docker: Any) -> dict[str, Any]:
    names = [word.rpartition("-") for word in rpms.split()]
    return {
        "type": "docker-image", "filename": "image.tar.gz",
        "components": [{"name": n, "version": v, "release": "1", "arch": "x86_64"} for n, _, v in names],
        "extra": {"image": {"arch": arch}, "docker": {
            "id": "sha256:c", "layer_sizes": [{"diff_id": "sha256:1", "size": 5}],
            "config": {"config": {"Labels": {"a": "b"}}, "rootfs": {"diff_ids": ["sha256:1"]}},
            **docker}},
    }  # fmt: skip


def test_the_facts_of_a_build(hub: FakeKojiSession):
    build = hub.add_build("web-1-1", [output(), output("s390x", rpms="")])
    facts = build_facts(hub, [build])[build]
    assert facts.name == "web-1-1"
    x86, s390 = facts.images
    assert (x86.arch, x86.labels, x86.layers) == ("x86_64", {"a": "b"}, (Layer("sha256:1", 5),))
    md5 = hub.rpms["bash", "5.2", "1", "x86_64"]["payloadhash"]
    assert x86.packages == (Package("bash", "x86_64", "5.2-1", md5),)
    assert s390.packages == ()
    assert x86.config_digest == "sha256:c"


def test_an_archive_that_is_no_container_image_is_no_image(hub: FakeKojiSession):
    disk = {**output(), "extra": {"image": {"arch": "x86_64"}}}
    build = hub.add_build("disk-1-1", [disk])
    assert build_facts(hub, [build]) == {}
    with pytest.raises(BadRequest, match="disk-1-1 has no container images"):
        named_builds(hub, ["disk-1-1", "disk-1-1"])


STRANGE = {
    "no layer sizes": {"layer_sizes": None},
    "layer sizes of another kind": {"layer_sizes": ["x", {"diff_id": 1, "size": "big"}, {}]},
    "no config": {"config": None},
    "no labels": {"config": {"config": {"Labels": None}, "rootfs": None}},
    "no id": {"id": None},
}


@pytest.mark.parametrize("docker", STRANGE.values(), ids=list(STRANGE))
def test_metadata_of_another_builder_is_read_as_far_as_it_goes(hub: FakeKojiSession, docker):
    build = hub.add_build("web-1-1", [output(**docker)])
    (image,) = build_facts(hub, [build])[build].images
    assert all(layer.size is None for layer in image.layers) or "layer_sizes" not in docker
    assert len(image.packages or ()) == 1


@pytest.mark.parametrize("config", [5, {"config": [1]}, {"config": {"Labels": [1]}}])
def test_metadata_that_is_nonsense_is_an_error_of_ours(hub: FakeKojiSession, config):
    build = hub.add_build("web-1-1", [output(config=config)])
    with pytest.raises(ServiceError, match="config of an image of x86_64"):
        build_facts(hub, [build])


def test_the_previous_build_is_the_one_that_was_tagged_last(hub: FakeKojiSession):
    one = hub.add_build("web-1-1", [output()])
    hub.add_build("web-1-2", [output()], TAG)
    hub.tags[one] = [TAG]  # later
    hub.add_build("web-2-1", [output()], "another-tag")
    hub.add_build("db-1-1", [output()], TAG)
    assert previous_build(hub, "web", TAG) == one


def test_with_none_in_the_tag_the_newest_complete_image_counts(hub: FakeKojiSession):
    hub.add_build("web-1-1", [output()])
    two = hub.add_build("web-1-2", [output()], "another-tag")
    hub.add_build("web-1-3", [output()])
    hub.builds["web-1-3"]["state"] = STATES["DELETED"]
    assert previous_build(hub, "web", TAG) == two
    assert previous_build(hub, "db", TAG) is None


def test_a_build_is_named_by_name_or_id(hub: FakeKojiSession):
    number = hub.add_build("web-1-1", [output()])
    assert [facts.name for facts in named_builds(hub, [str(number), "web-1-1"])] == ["web-1-1"] * 2
    with pytest.raises(BadRequest, match="There is no build web-1-2"):
        named_builds(hub, ["web-1-1", "web-1-2"])


@pytest.mark.parametrize("word", ["99999999999999999999", str(2**31), "9" * 5000, "web", "٣"])
def test_what_can_be_no_build_is_refused_before_koji_is_asked(hub: FakeKojiSession, word: str):
    """XML-RPC has no numbers beyond 64 bits, and the database none beyond 32."""
    hub.refuse["getBuild"] = [OverflowError("int exceeds XML-RPC limits")]
    with pytest.raises(BadRequest, match="is not a build name. Write it as NAME-VERSION-RELEASE"):
        named_builds(hub, [word])


def test_a_package_that_koji_does_not_have_is_told(hub: FakeKojiSession):
    md5 = hub.rpms["tzdata", "1", "1", "noarch"]["payloadhash"]
    known = Package("tzdata", "noarch", "1-1", md5)
    another_file = Package("tzdata", "noarch", "1-1", "x")
    foreign = Package("tzdata", "noarch", "3:2-1", "x")
    assert unknown_packages(hub, [known, another_file, foreign]) == {another_file, foreign}


@pytest.mark.parametrize("error", [koji.GenericError("no"), ConnectionError("reset")])
@pytest.mark.parametrize("call", ["getBuild", "listArchives", "listRPMs"])
def test_a_hub_that_fails_is_a_service_error(hub: FakeKojiSession, call, error):
    build = hub.add_build("web-1-1", [output()])
    hub.refuse[call] = [error]
    with pytest.raises(ServiceError, match="Koji did not"):
        build_facts(hub, [build])
