"""Pods reach a devstack that was told to listen on the node's address."""

from __future__ import annotations

import subprocess

import pytest

from koji_containerbuild.devstack.cluster.images import TEST_IMAGE
from koji_containerbuild.devstack.stack import Stack
from tests.cluster.pods import Pods, script, until

pytestmark = pytest.mark.cluster


def test_a_pod_runs_an_image_of_the_devstacks_registry(pods: Pods, stack_for_pods: Stack):
    image = f"{stack_for_pods.addresses.registry}/test/busybox:1"
    archive = pods.cluster.places.state / "test-images.tar"
    subprocess.run(
        ["skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}:{TEST_IMAGE}", f"docker://{image}"],
        check=True, capture_output=True,
    )  # fmt: skip
    pods.run("pulled", script("echo from the registry", image=image))
    assert pods.ended("pulled")["exitCode"] == 0
    assert pods.log("pulled") == b"from the registry\n"
    (status,) = pods.get("pulled")["status"]["containerStatuses"]
    assert status["imageID"].startswith(f"{stack_for_pods.addresses.registry}/test/busybox@sha256:")


def test_an_image_that_is_not_there_is_said_in_the_registrys_words(
    pods: Pods, stack_for_pods: Stack
):
    pods.run("missing", script("true", image=f"{stack_for_pods.addresses.registry}/test/none:1"))

    def waiting() -> str:
        for one in pods.get("missing")["status"].get("containerStatuses", ()):
            return str(one["state"].get("waiting", {}).get("message", ""))
        return ""

    assert "not found" in until("a message", lambda: "not found" in waiting() and waiting())


def test_a_pod_reaches_registry_files_and_git(pods: Pods, stack_for_pods: Stack):
    url = stack_for_pods.addresses
    host, port = url.git.rpartition("/")[2].split(":")
    pods.run(
        "asks",
        script(
            f"wget -q -O /dev/null http://{url.registry}/v2/ && wget -q -O /dev/null {url.files}/ && "
            f"nc -z {host} {port} && wget -q -O - {url.hub_ssl} --no-check-certificate; echo done"
        ),
    )
    pods.ended("asks")
    assert pods.log("asks").endswith(b"done\n")
    assert b"can't connect" not in pods.log("asks")


def test_the_hub_has_a_certificate_for_that_address(stack_for_pods: Stack):
    done = stack_for_pods.koji("hello")
    assert done.returncode == 0, done.stderr
    assert "Authenticated via client certificate" in done.stdout
    assert stack_for_pods.addresses.hub_ssl in done.stdout
