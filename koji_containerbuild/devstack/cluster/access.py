"""Who may use the cluster: certificates, one static token for the admin, kubeconfig files."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from koji_containerbuild.devstack import certs
from koji_containerbuild.devstack.cluster.network import HOST, Network
from koji_containerbuild.devstack.places import Places

ADMINS = "system:masters"  # Kubernetes' own group that may do everything
NODE = "node1"
SERVICE_IP = "10.96.0.1"  # the first of the services' addresses, which the apiserver gives itself
SERVICES = "10.96.0.0/24"


def authority(places: Places) -> Path:
    """The certificate of who signs all others."""
    return certs.authority(places.certs)


def apiserver(places: Places, network: Network) -> Path:
    """Certificate and key, in one file, as all of these."""
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    addresses = [network.node_ip, HOST, SERVICE_IP]
    return _server(places, "kube-apiserver", "kube-apiserver", names, addresses)


def etcd(places: Places) -> Path:
    """For its listeners; it is its own peer, and a client of itself."""
    return _server(places, "etcd", "etcd", ["localhost"], [HOST])


def kubelet(places: Places, network: Network) -> Path:
    """For its own listener, and as a client of the apiserver."""
    subject = f"system:node:{NODE}"
    return _server(places, "kubelet", subject, [NODE], [network.node_ip], group="system:nodes")


def client(places: Places, user: str, groups: Sequence[str] = ()) -> Path:
    """A user of the cluster: its name and groups are what the certificate says."""
    subject = "".join(f"/O={one}" for one in groups) + f"/CN={user}"
    name = "client-" + "-".join((user, *groups)).replace(":", "-")
    return certs.signed(places.certs, name, subject, "extendedKeyUsage=clientAuth")


def service_account_key(places: Places) -> Path:
    """What signs the tokens of service accounts."""
    return certs.signed(
        places.certs, "service-accounts", "/CN=service-accounts", "keyUsage=digitalSignature"
    )


def admin_token_file(places: Places) -> Path:
    """The token of who may do everything; made once."""
    path = authority(places).with_name("admin.token")
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path


def token_file(places: Places) -> Path:
    """What the apiserver reads: token, user, user id, groups."""
    path = places.certs / "tokens.csv"
    path.touch(mode=0o600)
    token = admin_token_file(places).read_text()
    path.write_text(f'{token},admin,admin,"{ADMINS}"\n')
    return path


def part_kubeconfig(places: Places, network: Network, pem: Path) -> Path:
    """For a part that has a certificate."""
    user = {"client-certificate": str(pem), "client-key": str(pem)}
    return _kubeconfig(places.conf / f"{pem.stem}.kubeconfig", places, network, user)


def admin_kubeconfig(places: Places, network: Network) -> Path:
    """For people: KUBECONFIG=... kubectl get pods."""
    user = {"token": admin_token_file(places).read_text()}
    return _kubeconfig(places.state / "kubeconfig", places, network, user)


def _kubeconfig(path: Path, places: Places, network: Network, user: dict[str, str]) -> Path:
    cluster = {"server": network.url, "certificate-authority": str(authority(places))}
    context = {"cluster": "devstack", "user": "devstack", "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devstack", "cluster": cluster}],
        "users": [{"name": "devstack", "user": user}],
        "contexts": [{"name": "devstack", "context": context}],
        "current-context": "devstack",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")  # JSON is YAML, too
    return path


def _server(
    places: Places, name: str, user: str, names: list[str], addresses: list[str], group: str = ""
) -> Path:
    alternatives = [f"DNS:{one}" for one in names] + [f"IP:{one}" for one in addresses]
    extension = f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage=serverAuth,clientAuth"
    subject = (f"/O={group}" if group else "") + f"/CN={user}"
    return certs.signed(places.certs, name, subject, extension)
