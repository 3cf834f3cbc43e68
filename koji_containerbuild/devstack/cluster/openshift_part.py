"""Start the EMULATION of OpenShift's builds beside a cluster, as one more part of it."""

from __future__ import annotations

import socket
import sys
from functools import partial
from pathlib import Path

from koji_containerbuild.devstack import certs
from koji_containerbuild.devstack.cluster import access
from koji_containerbuild.devstack.cluster.cluster import OPENSHIFT, Cluster
from koji_containerbuild.devstack.cluster.openshift import SERVICE
from koji_containerbuild.devstack.cluster.openshift_objects import GROUP
from koji_containerbuild.devstack.places import require_free
from koji_containerbuild.devstack.process import Part, ensure
from koji_containerbuild.errors import ServiceError


def start(cluster: Cluster) -> None:
    """Have it running; returns when the apiserver passes requests on to it."""
    places = cluster.places
    port = _port(places.state / "openshift.port", cluster.node_ip)
    before = partial(require_free, port, OPENSHIFT, cluster.node_ip)
    ensure(_part(cluster, port), places.run, places.log, before=before)


def _part(cluster: Cluster, port: int) -> Part:
    places = cluster.places
    subject = f"/CN={SERVICE}"
    names = f"subjectAltName=DNS:{SERVICE}.kube-system.svc"
    pem = certs.signed(places.certs, "openshift", subject, names)
    options = {
        "listen": f"{cluster.node_ip}:{port}",
        "url": cluster.url,
        "ca": cluster.ca_file,
        "token-file": access.admin_token_file(places),
        "pem": pem,
        "state": places.state / "openshift.json",
    }
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    return Part(
        name=OPENSHIFT,
        argv=(sys.executable, "-m", "koji_containerbuild.devstack.cluster.openshift", *words),
        ready=lambda: _answers(cluster),
        reads=tuple(sorted(Path(__file__).parent.glob("openshift*.py"))),
        cwd=str(places.repo),
    )


def _answers(cluster: Cluster) -> bool:
    try:
        found = cluster.api.call("GET", f"/apis/{GROUP}")
        return bool(found["resources"])
    except ServiceError:
        return False


def _port(path: Path, address: str) -> int:
    """Chosen once."""
    if not path.exists():
        with socket.socket() as probe:
            probe.bind((address, 0))
            path.write_text(str(probe.getsockname()[1]))
    return int(path.read_text())
