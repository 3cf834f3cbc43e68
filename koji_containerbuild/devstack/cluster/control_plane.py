"""The control plane: etcd, apiserver, controller-manager, scheduler."""

from __future__ import annotations

import json
from pathlib import Path

import requests

from koji_containerbuild.devstack.cluster import access
from koji_containerbuild.devstack.cluster.network import HOST, Network
from koji_containerbuild.devstack.places import Places, answers
from koji_containerbuild.devstack.process import Part

READY_SECONDS = 120.0  # the apiserver takes 4 s of a whole processor, much longer on a busy machine
ISSUER = "https://kubernetes.default.svc"
# Who asked for what, except the cluster's own parts: tests count requests.
OWN_PARTS = (
    "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler",
)  # fmt: skip
AUDIT_MIB = 1000  # then the log begins anew, and a test would miss what it counts
OWN_GROUPS = ("system:nodes", "system:serviceaccounts:kube-system")


def etcd(places: Places, network: Network) -> Part:
    """Where the cluster keeps its objects."""
    data = places.state / "etcd"
    client, peer = f"https://{HOST}:{network.etcd}", f"https://{HOST}:{network.etcd_peer}"
    pem, authority = str(access.etcd(places)), str(access.authority(places))
    return Part(
        name="etcd",
        argv=(
            "etcd", f"--data-dir={data}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--logger=zap", "--log-level=warn",
            # Who may write here is root on the machine: not every user of it may.
            "--client-cert-auth", f"--trusted-ca-file={authority}",
            f"--cert-file={pem}", f"--key-file={pem}",
            "--peer-client-cert-auth", f"--peer-trusted-ca-file={authority}",
            f"--peer-cert-file={pem}", f"--peer-key-file={pem}",
        ),
        ready=lambda: _healthy(f"{client}/health", authority, pem),
        ready_seconds=READY_SECONDS,
    )  # fmt: skip


def apiserver(places: Places, network: Network, programs: Path) -> Part:
    """The one listener that others use; the node's address, so pods reach it."""
    pem = str(access.apiserver(places, network))
    kubelet_client = str(access.client(places, "apiserver", (access.ADMINS,)))
    authority = access.authority(places)
    key = str(access.service_account_key(places))
    policy = _audit_policy(places)
    tokens = access.token_file(places)
    return Part(
        name="kube-apiserver",
        argv=(
            str(programs / "kube-apiserver"),
            f"--etcd-servers=https://{HOST}:{network.etcd}", f"--etcd-cafile={authority}",
            f"--etcd-certfile={kubelet_client}", f"--etcd-keyfile={kubelet_client}",
            f"--bind-address={network.node_ip}", f"--advertise-address={network.node_ip}",
            f"--secure-port={network.apiserver}",
            f"--tls-cert-file={pem}", f"--tls-private-key-file={pem}",
            f"--client-ca-file={authority}", f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--service-account-issuer={ISSUER}", f"--api-audiences={ISSUER}",
            f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}",
            f"--service-cluster-ip-range={access.SERVICES}", "--allow-privileged=true",
            f"--kubelet-client-certificate={kubelet_client}",
            f"--kubelet-client-key={kubelet_client}",
            f"--kubelet-certificate-authority={authority}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={authority}",
            "--requestheader-allowed-names=apiserver",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={kubelet_client}",
            f"--proxy-client-key-file={kubelet_client}",
            f"--audit-policy-file={policy}", f"--audit-log-path={audit_log(places)}",
            f"--audit-log-maxsize={AUDIT_MIB}", "--audit-log-maxbackup=1",
        ),
        ready=lambda: _healthy(f"{network.url}/readyz", str(authority)),
        ready_seconds=READY_SECONDS,
        reads=(policy, tokens),
    )  # fmt: skip


def controller_manager(places: Places, network: Network, programs: Path) -> Part:
    """Jobs, service accounts, garbage collection, the node's life."""
    key = access.service_account_key(places)
    authority = access.authority(places)
    options = (
        f"--service-account-private-key-file={key}", f"--root-ca-file={authority}",
        f"--cluster-signing-cert-file={authority}",
        f"--cluster-signing-key-file={authority.with_suffix('.key')}",
        "--use-service-account-credentials=true",
    )  # fmt: skip
    port = network.controller_manager
    return _controller(places, network, programs / "kube-controller-manager", port, options)


def scheduler(places: Places, network: Network, programs: Path) -> Part:
    """Gives pods a node."""
    return _controller(places, network, programs / "kube-scheduler", network.scheduler, ())


def audit_log(places: Places) -> Path:
    """One JSON object per answered request; deleted by `up` where no apiserver runs."""
    return places.log / "audit.log"


def _controller(
    places: Places, network: Network, program: Path, port: int, options: tuple[str, ...]
) -> Part:
    pem = access.client(places, f"system:{program.name}")
    conf = access.part_kubeconfig(places, network, pem)
    return Part(
        name=program.name,
        argv=(
            str(program), f"--kubeconfig={conf}", f"--authentication-kubeconfig={conf}",
            f"--authorization-kubeconfig={conf}", f"--bind-address={HOST}",
            f"--secure-port={port}", "--port=0", "--leader-elect=false",
            f"--cert-dir={places.certs / program.name}", *options,
        ),
        ready=lambda: answers(port),
        ready_seconds=READY_SECONDS,
    )  # fmt: skip


def _audit_policy(places: Places) -> Path:
    rules = [
        {"level": "None", "users": OWN_PARTS},
        {"level": "None", "userGroups": OWN_GROUPS},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/healthz*", "/livez*"]},
        {"level": "Metadata", "omitStages": ["RequestReceived"]},
    ]
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    path = places.conf / "audit-policy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _healthy(url: str, authority: str, client: str | None = None) -> bool:
    session = requests.Session()
    session.trust_env = False  # no proxy of the machine between us and ourselves
    try:
        return session.get(url, timeout=5, verify=authority, cert=client).ok
    except requests.RequestException:
        return False
    finally:
        session.close()
