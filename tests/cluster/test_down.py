"""After `down` nothing of a cluster is left on the machine, however it was ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.devstack.cluster import node
from koji_containerbuild.devstack.cluster.cluster import Cluster, find_cluster_places
from koji_containerbuild.devstack.process import running
from tests.cluster.pods import Pods, script

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def second(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Another cluster, beside the one of the session."""
    made = Cluster(find_cluster_places(str(tmp_path_factory.mktemp("second") / "state")))
    made.up()
    yield made
    made.reset()


def routes(cluster: Cluster) -> list[str]:
    """To pods."""
    shown = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True)
    begin = cluster.node_ip.removesuffix("1")  # of a network with 24 bits
    return [line for line in shown.stdout.splitlines() if line.startswith(begin)]


def links(cluster: Cluster) -> list[Path]:
    """The interfaces to its pods. Who wants to know whether they are gone asks before."""
    return [Path("/sys/class/net") / line.split(" dev ")[1].split()[0] for line in routes(cluster)]


def left_of(cluster: Cluster) -> list[str]:
    """Mounts, control groups, addresses, routes and processes."""
    state = str(cluster.places.state)
    found = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if state in line
    ]
    found += [str(path) for path in node.cgroups(cluster.places) if path.exists()]
    addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True)
    found += [one for one in addresses.stdout.splitlines() if f" {cluster.node_ip}/" in one]
    found += routes(cluster)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_text(errors="replace")
                mounts = (entry / "mountinfo").read_text()
            except OSError:
                continue
            if state in words or state in mounts:
                found.append(f"{entry.name}: {words}")
    return found


def long_pod(cluster: Cluster, namespace: str) -> Pods:
    pods = Pods(cluster, namespace)
    pods.run("long", script("sleep 1000"))
    pods.running("long")
    return pods


def test_two_clusters_run_side_by_side(cluster: Cluster, second: Cluster, pods: Pods):
    second.up()
    others = long_pod(second, "beside")
    pods.run("hello", script("echo here"))
    assert pods.ended("hello")["exitCode"] == 0
    assert pods.log("hello") == b"here\n"
    assert others.get("long")["status"]["phase"] == "Running"
    assert cluster.node_ip != second.node_ip
    assert left_of(second) and links(second), "the test sees nothing, so it would find nothing"


def test_down_ends_pods_mounts_and_networks_and_after_up_the_pods_have_failed(second: Cluster):
    second.up()
    others = long_pod(second, "ended")
    interfaces = links(second)
    assert interfaces
    second.down()
    assert left_of(second) == []
    assert [each for each in interfaces if each.exists()] == []

    second.up()
    pods = Pods(second, "after")
    pods.run("hello", script("echo again"))
    assert pods.ended("hello")["exitCode"] == 0
    status = others.get("long")["status"]
    assert status["phase"] != "Running" or not status["containerStatuses"][0]["state"].get(
        "running"
    )


def test_what_kill_9_leaves_behind_is_ended_by_the_next_up_and_by_down(second: Cluster):
    second.up()
    long_pod(second, "killed")
    for part in second.status():
        record = running(second.places.run, part.name)
        assert record
        os.kill(record.pid, signal.SIGKILL)
    second.up()
    for part in second.status():
        record = running(second.places.run, part.name)
        assert record
        os.kill(record.pid, signal.SIGKILL)
    second.down()
    assert left_of(second) == []
