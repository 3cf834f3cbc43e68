"""The command: python -m koji_containerbuild.devstack cluster up|demo|status|down|reset."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from koji_containerbuild.devstack import demo
from koji_containerbuild.devstack.cluster import openshift_part
from koji_containerbuild.devstack.cluster.cluster import Cluster, find_cluster_places
from koji_containerbuild.devstack.cluster.site import KojiSite, koji_beside
from koji_containerbuild.errors import ContainerBuildError

DOWN = 3  # exit code of `status`, as systemctl's

HELP = """\
A real Kubernetes 1.20 of one node on this machine, in a network of its own, 10.244.N.0/24, that
other machines do not reach. Needs root. Its programs are compiled from Debian's source package the
first time, which takes minutes, and kept in $KCB_CACHE (~/.cache/koji-containerbuild). What it
keeps else is in the state folder.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code."""
    arguments = _parser().parse_args(argv)
    cluster = Cluster(find_cluster_places(arguments.state))
    try:
        if arguments.command == "up":
            _up(cluster, arguments.openshift)
        elif arguments.command == "demo":
            _demo(cluster, "openshift" if arguments.openshift else "kubernetes")
        elif arguments.command == "status":
            return _status(cluster)
        elif arguments.command == "down":
            koji_beside(cluster).down()
            cluster.down()
        else:
            koji_beside(cluster).reset()
            cluster.reset()
    except ContainerBuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        cluster.close()
    return 0


def _up(cluster: Cluster, openshift: bool) -> None:
    begin = time.monotonic()
    print(f"Bringing up the cluster in {cluster.places.state}")
    cluster.up(say=_say)
    if openshift:
        openshift_part.start(cluster)
    print(f"Up after {time.monotonic() - begin:.1f} s.\n")
    print(_addresses(cluster))


def _demo(cluster: Cluster, engine: str) -> None:
    stack = koji_beside(cluster)
    print(f"Bringing up the cluster in {cluster.places.state}, a Koji in {stack.places.state}")
    KojiSite(stack, cluster).up(engine, say=_say)
    print(f"\nImages are built in the cluster, by the engine {engine}.")
    demo.show(stack, again="make demo-cluster")


def _status(cluster: Cluster) -> int:
    parts = cluster.status()
    for part in parts:
        print(f"{part.name:<24} {'runs, pid ' + str(part.pid) if part.pid else 'does not run'}")
    if not all(part.pid for part in parts):
        return DOWN
    print("\n" + _addresses(cluster))
    return 0


def _addresses(cluster: Cluster) -> str:
    return f"""\
apiserver   {cluster.url}
node        {cluster.node_ip}  (what pods call this machine: `devstack up --host {cluster.node_ip}`)
admin       export KUBECONFIG={cluster.kubeconfig}
logs        {cluster.places.log}/
"""


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m koji_containerbuild.devstack cluster", description=HELP
    )
    commands = parser.add_subparsers(dest="command", required=True)
    what = {
        "up": "start what does not run; safe to repeat",
        "demo": "up, with a Koji beside it, and build the worked example in the cluster",
        "status": f"what runs, and the addresses; exit code 0 if all is up, {DOWN} if not",
        "down": "end all parts and all pods, and the Koji beside it; what they know stays",
        "reset": "end all parts and delete the state folders (the cache stays)",
    }
    for name, help_text in what.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument(
            "--state",
            metavar="DIR",
            help="state folder; default: $KCB_CLUSTER_STATE, else ./.state-cluster",
        )
        if name in ("up", "demo"):
            command.add_argument(
                "--openshift",
                action="store_true",
                help="with an EMULATION of OpenShift's builds; it is no OpenShift",
            )
    return parser
