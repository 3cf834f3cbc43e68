"""What of the cluster is open to others of this machine, and what an emulation leaves behind."""

from __future__ import annotations

import pytest
import requests

from koji_containerbuild.devstack.cluster import access, openshift_part
from koji_containerbuild.devstack.cluster.cluster import OPENSHIFT, Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from koji_containerbuild.devstack.process import stop
from tests.cluster.pods import until

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("port", ["etcd", "etcd_peer"])
def test_etcd_answers_nobody_without_a_certificate(cluster: Cluster, port: str):
    """Who may write there is root on this machine."""
    url = f"https://127.0.0.1:{getattr(cluster.network, port)}/version"
    trusted = {"verify": str(cluster.ca_file), "timeout": 10}
    with requests.Session() as session:
        session.trust_env = False
        ours = str(access.client(cluster.places, "apiserver", (access.ADMINS,)))
        assert "etcdserver" in session.get(url, cert=ours, **trusted).json()
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.ConnectionError):
            session.get(url, **trusted)
        with pytest.raises(requests.ConnectionError):
            session.get(url.replace("https:", "http:"), timeout=10).raise_for_status()


def test_a_namespace_can_be_deleted_where_an_emulation_ran_once(cluster: Cluster):
    """As after `down` and `up`: an API that nobody answers for would hold it up."""
    openshift_part.start(cluster)
    stop(cluster.places.run, OPENSHIFT)
    cluster.up()
    made = "/api/v1/namespaces/after-the-emulation"
    cluster.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": made.split("/")[-1]}})
    cluster.api.call("DELETE", made)

    def gone() -> bool:
        try:
            cluster.api.call("GET", made)
        except Refused as error:
            return error.code == 404
        return False

    until("the namespace is gone", gone, 40)
