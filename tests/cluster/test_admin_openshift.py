"""What fedora-infra/openshift makes of the emulated OpenShift, and what `check` says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.check.clusters import check_clusters
from koji_containerbuild.check.fact import Fact
from koji_containerbuild.config import Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster import openshift_part
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from koji_containerbuild.registry.client import Registry, RegistrySettings
from tests.cluster import admin

BUILDCONFIGS = f"/apis/build.openshift.io/v1/namespaces/{admin.NAMESPACE}/buildconfigs"


@pytest.fixture(scope="module")
def openshift(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with our objects, as they are in fedora-infra."""
    openshift_part.start(cluster)
    forget(cluster)
    admin.apply_all_of_openshift(cluster)
    yield cluster
    forget(cluster)


def forget(cluster: Cluster) -> None:
    """The emulation's objects do not go with their namespace."""
    for each in cluster.api.call("GET", BUILDCONFIGS)["items"]:
        cluster.api.call("DELETE", f"{BUILDCONFIGS}/{each['metadata']['name']}")
    admin.forget(cluster)


@pytest.fixture
def section(openshift: Cluster, tmp_path: Path) -> ClusterConfig:
    names = {"engine": "openshift", "build_config": "koji-containerbuild-{arch}"}
    arches = ("x86_64", "aarch64")
    return admin.section(openshift, tmp_path, arches=arches, **names)


def facts(section: ClusterConfig) -> dict[str, Fact]:
    with Registry(RegistrySettings()) as registry:
        found = list(check_clusters(Config(clusters={"one": section}), registry))
    return {fact.what.partition(": ")[2]: fact for fact in found}


def wrong(section: ClusterConfig) -> list[Fact]:
    """But the image: the registry of the BuildConfigs is an example."""
    of_image = "the image of the buildroot is there: registry.example.com/"
    return [
        fact
        for what, fact in facts(section).items()
        if fact.state == "WRONG" and not what.startswith(of_image)
    ]


def test_nothing_is_wrong_where_the_objects_are_applied_as_they_are(section: ClusterConfig):
    assert not wrong(section)
    found = facts(section)
    for arch in section.arches:
        assert found[f"there is a BuildConfig for {arch}, as it should be"].state == "OK"


def test_a_build_config_that_is_not_there_is_wrong(openshift: Cluster, section: ClusterConfig):
    path = f"{BUILDCONFIGS}/koji-containerbuild-aarch64"
    before = openshift.api.call("GET", path)
    openshift.api.call("DELETE", path)
    try:
        found = wrong(section)
    finally:
        del before["metadata"]["resourceVersion"]
        openshift.api.call("POST", BUILDCONFIGS, before)
    assert [fact.mend for fact in found] == [
        "As an admin, in the source tree: oc apply -f fedora-infra/openshift/70-buildconfigs.yaml"
    ]


def test_the_builder_may_not_change_a_build_config_nor_choose_an_image(openshift: Cluster):
    builder = openshift.api_of(admin.token(openshift))
    path = f"{BUILDCONFIGS}/koji-containerbuild-x86-64"
    merge = "application/merge-patch+json"
    with pytest.raises(Refused) as refused:
        builder.call("PATCH", path, {"spec": {"runPolicy": "Serial"}}, content_type=merge)
    assert refused.value.code == 403
    build = {"metadata": {"name": "mine"}, "spec": {"strategy": {"customStrategy": {}}}}
    with pytest.raises(Refused) as refused:
        builder.call("POST", BUILDCONFIGS.replace("buildconfigs", "builds"), build)
    assert refused.value.code == 403
