"""The one node: its view of the file system, containerd, kubelet; and how all of it is ended."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from koji_containerbuild.devstack.cluster import access, node_space, overlay
from koji_containerbuild.devstack.cluster.network import HOST, Network
from koji_containerbuild.devstack.places import Places
from koji_containerbuild.devstack.process import Part, run_program, running
from koji_containerbuild.errors import ServiceError

CGROUPS = Path("/sys/fs/cgroup")
SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"
END_SECONDS = 10.0
CONTROLLERS = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}  # what kubelet and runc use
CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "runc"
        SystemdCgroup = false
"""


def space(places: Places) -> Part:
    """Holds the node's mounts."""
    folder = places.state / "node"
    module = "koji_containerbuild.devstack.cluster.node_space"
    return Part(
        name="node",
        argv=("unshare", "--mount", sys.executable, "-m", module, str(folder)),
        env={"PYTHONPATH": str(places.repo)},
        ready=lambda: _mounted(places),
    )


def containerd(places: Places, network: Network) -> Part:
    """Runs the containers, with Debian's runc. crun refuses hybrid cgroups."""
    conf = places.conf / "containerd.toml"
    text = CONTAINERD.format(
        pause=PAUSE,
        cni=_write_cni(places, network).parent,
        registries=registries(places),
        snapshotter="overlayfs" if overlay.works_in(places.state) else "native",
    )
    conf.write_text(text)
    return Part(
        name="containerd",
        argv=(*inside(places), "containerd", "--config", str(conf)),
        ready=lambda: _containerd_answers(places),
        ready_seconds=60.0,
        reads=(conf,),
    )


def kubelet(places: Places, network: Network, programs: Path) -> Part:
    """The node's agent."""
    pem = access.kubelet(places, network)
    conf = _write_kubelet_conf(places, network, pem)
    kubeconfig = access.part_kubeconfig(places, network, pem)
    _make_cgroups(places)
    return Part(
        name="kubelet",
        argv=(
            *inside(places), str(programs / "kubelet"), f"--config={conf}",
            f"--kubeconfig={kubeconfig}", "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{SOCKET}",
            f"--hostname-override={access.NODE}", f"--node-ip={network.node_ip}",
            "--volume-plugin-dir=/var/lib/kubelet/volume-plugins",
        ),
        ready=lambda: True,  # the node's condition says more
        reads=(conf, kubeconfig),
    )  # fmt: skip


def inside(places: Places) -> tuple[str, ...]:
    """The words before a command that is to run with the node's view of the file system."""
    holder = running(places.run, "node")
    if holder is None:
        raise ServiceError("The node is not up.", do="Run `cluster up`.")
    return ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")


def registries(places: Places) -> Path:
    """containerd's folder of registries; read at each pull."""
    folder = places.conf / "registries"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cgroups(places: Places) -> list[Path]:
    """The node's own cgroup, which holds all pods: one folder per hierarchy, or one in all."""
    name = "kcb-" + hashlib.sha256(str(places.state).encode()).hexdigest()[:12]
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / name]
    tops = {path.resolve() for path in CGROUPS.iterdir() if path.is_dir()}
    return sorted(top / name for top in tops)


def end(places: Places) -> None:
    """Kill every process of the node, containers too; then its mounts and networks are gone."""
    deadline = time.monotonic() + END_SECONDS
    while pids := {*_in_cgroups(places), *_in_space(places)}:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise ServiceError(f"Processes of the node do not end: {sorted(pids)}.")
        time.sleep(0.02)
    for top in cgroups(places):
        for folder in sorted((*top.rglob("*/"), top), reverse=True):
            _remove_cgroup(folder, deadline)


def _make_cgroups(places: Places) -> None:
    if (CGROUPS / "cgroup.controllers").exists():
        try:
            _hand_down(CGROUPS)
        except OSError as error:
            raise ServiceError(
                f"Control groups cannot be handed down from {CGROUPS}: {error.strerror}.",
                do="In a container, give it the host's (--cgroupns=host), or use a machine.",
            ) from error
    for folder in cgroups(places):
        folder.mkdir(exist_ok=True)


def _hand_down(top: Path) -> None:
    """Version 2: what a group may control, its parent must hand down (kernel: cgroup-v2).

    A group that does so may hold no processes, but for the machine's first one. The first one of a
    container holds all of its processes: these move to a group beside ours, and stay there.
    """
    control = top / "cgroup.subtree_control"
    available = {*(top / "cgroup.controllers").read_text().split()} & CONTROLLERS
    wanted = sorted(available - {*control.read_text().split()})
    if not wanted:
        return
    words = " ".join(f"+{one}" for one in wanted)
    try:
        control.write_text(words)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        others = top / "kcb-others"
        others.mkdir(exist_ok=True)
        for pid in (top / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (others / "cgroup.procs").write_text(pid)
        control.write_text(words)


def _in_cgroups(places: Places) -> Iterator[int]:
    for top in cgroups(places):
        for path in top.rglob("cgroup.procs"):
            with suppress(OSError):
                yield from (int(line) for line in path.read_text().split())


def _in_space(places: Places) -> Iterator[int]:
    """Who sees our folder where containerd has its own: shims, and whoever holds the mounts."""
    probe = node_space.KEPT[0]
    ours = places.state / "node" / probe[1:]
    if not ours.is_dir():
        return
    wanted = ours.stat()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                seen = os.stat(f"{entry}/root{probe}")
                if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
                    yield int(entry.name)


def _remove_cgroup(folder: Path, deadline: float) -> None:
    """The kernel needs a moment after the last process of it."""
    while True:
        try:
            return folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ServiceError(f"Cannot remove {folder}: {error.strerror}.") from error
            time.sleep(0.05)


def _mounted(places: Places) -> bool:
    holder = running(places.run, "node")
    if holder is None:
        return False
    table = Path(f"/proc/{holder.pid}/mounts").read_text()
    return f" {node_space.FORGOTTEN[-1]} tmpfs" in table


def _containerd_answers(places: Places) -> bool:
    try:
        run_program([*inside(places), "ctr", "version"])
    except ServiceError:
        return False
    return True


def _write_cni(places: Places, network: Network) -> Path:
    """Pods and the machine reach each other, and nothing else: there is no masquerading."""
    ipam = {"type": "host-local", "subnet": network.pods, "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    document = {"cniVersion": "0.4.0", "name": "devstack", "plugins": [plugin]}
    path = places.conf / "cni" / "10-devstack.conflist"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _write_kubelet_conf(places: Places, network: Network, pem: Path) -> Path:
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node_ip,
        "port": network.kubelet,
        "healthzPort": network.kubelet_health,
        "healthzBindAddress": HOST,
        "tlsCertFile": str(pem),
        "tlsPrivateKeyFile": str(pem),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(access.authority(places))},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups(places)[0].name}",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "5s",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
    }
    path = places.conf / "kubelet.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
