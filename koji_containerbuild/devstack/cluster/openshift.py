"""EMULATION of OpenShift's build API and build controller, behind a real Kubernetes apiserver.

    python -m koji_containerbuild.devstack.cluster.openshift --listen ADDRESS:PORT --url URL
        --ca FILE --token-file FILE --pem FILE --state FILE

It is no OpenShift: it shows what our engine does with objects and answers like OpenShift's. The
apiserver passes on what comes for `build.openshift.io/v1` (an APIService), after it has found out
who asks and whether they may. Left out, besides what openshift_objects.py names: clones of Builds,
binary input, webhooks, image change triggers, pausing of a Build.
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from koji_containerbuild.devstack.cluster.openshift_api import Answer, BuildApi, Call
from koji_containerbuild.devstack.cluster.openshift_controller import (
    Controller,
    Pods,
    wait_for_start,
)
from koji_containerbuild.devstack.cluster.openshift_objects import (
    API_SERVICE,
    GROUP,
    Object,
    pod_name,
)
from koji_containerbuild.devstack.cluster.openshift_store import Store

SERVICE = "emulated-openshift-builds"  # in kube-system
FRONT = "apiserver"  # who may tell us who asks: the common name of the apiserver's certificate
START_SECONDS = 600.0  # that a reader of a log waits for the pod


def handler_of(api: BuildApi) -> type[BaseHTTPRequestHandler]:
    """Answers HTTP requests; who asks is in the headers that the apiserver in front sets."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _any(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size)
            if not _from_front(self.connection):
                self._send(Answer(401, {"kind": "Status", "code": 401, "status": "Failure"}))
                return
            url = urlsplit(self.path)
            try:
                body = json.loads(text) if text else {}
            except ValueError:
                self._send(Answer(400, {"kind": "Status", "code": 400, "status": "Failure"}))
                return
            call = Call(
                self.command, url.path, dict(parse_qsl(url.query)), body,
                self.headers.get("Content-Type") or "", self.headers.get("X-Remote-User") or "",
                tuple(self.headers.get_all("X-Remote-Group") or ()),
            )  # fmt: skip
            self._send(api.answer(call))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.code)
            if answer.lines is None:
                text = json.dumps(answer.body).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                return
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            for block in answer.lines:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """The apiserver keeps the log."""

    return Handler


def _from_front(connection: object) -> bool:
    """Without TLS (tests) everybody is the apiserver in front."""
    if not isinstance(connection, ssl.SSLSocket):
        return True
    certificate = connection.getpeercert() or {}
    subject = certificate.get("subject", ())
    return any(("commonName", FRONT) in part for part in subject)


def may_custom(pods: Pods, call: Call, namespace: str, name: str) -> bool:
    """Ask the cluster whether a user may `create` `builds/custom`, as OpenShift does."""
    wanted = {
        "namespace": namespace, "verb": "create", "group": GROUP.partition("/")[0],
        "resource": "builds", "subresource": "custom", "name": name,
    }  # fmt: skip
    spec = {"user": call.user, "groups": list(call.groups), "resourceAttributes": wanted}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    _, answer = pods.call("POST", path, review)
    return bool(answer.get("status", {}).get("allowed"))


def log_of(pods: Pods, build: Object, params: Mapping[str, str]) -> Iterator[bytes]:
    """The log of a Build's pod, once it has begun."""
    meta = build["metadata"]
    if not wait_for_start(pods, build, START_SECONDS):
        return
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{pod_name(build)}/log"
    yield from pods.stream(path, params)


def register(pods: Pods, address: str, port: int, ca: bytes) -> None:
    """Tell the apiserver that this group is answered at an address. Twice is no error."""
    where = {"namespace": "kube-system", "name": SERVICE}
    service = {"type": "ExternalName", "externalName": address, "ports": [{"port": port}]}
    version = {
        "group": GROUP.partition("/")[0], "version": GROUP.partition("/")[2],
        "service": {"name": SERVICE, "namespace": "kube-system", "port": port},
        "groupPriorityMinimum": 1000, "versionPriority": 15,
        "caBundle": base64.b64encode(ca).decode(),
    }  # fmt: skip
    objects: list[tuple[str, Object]] = [
        ("/api/v1/namespaces/kube-system/services",
         {"kind": "Service", "metadata": where, "spec": service}),
        ("/apis/apiregistration.k8s.io/v1/apiservices",
         {"kind": "APIService", "metadata": {"name": API_SERVICE}, "spec": version}),
    ]  # fmt: skip
    for path, wanted in objects:
        group = path.split("/")[2:4] if path.startswith("/apis") else ["v1"]
        wanted["apiVersion"] = "/".join(group)
        code, answer = pods.call("POST", path, wanted)
        if code == 409:
            place = f"{path}/{wanted['metadata']['name']}"
            _, found = pods.call("GET", place)
            spec = {**found["spec"], **wanted["spec"]}
            code, answer = pods.call("PUT", place, {**found, "spec": spec})
        if code not in (200, 201):
            raise SystemExit(f"The cluster does not take the {wanted['kind']}: {answer}")


def server(api: BuildApi, address: str, port: int, pem: Path, ca: Path) -> ThreadingHTTPServer:
    """Not serving yet. Asks for a certificate that `ca` has signed."""
    made = ThreadingHTTPServer((address, port), handler_of(api))
    made.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    made.socket = context.wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m koji_containerbuild.devstack.cluster.openshift"
    )
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT, which the apiserver reaches")
    parser.add_argument("--url", required=True, help="of the apiserver")
    for name in ("ca", "token-file", "pem", "state"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    address, _, port = given.listen.rpartition(":")
    pods = Pods(given.url, str(given.ca), given.token_file.read_text().strip())
    store = Store(given.state)
    api = BuildApi(
        store,
        lambda call, namespace, name: may_custom(pods, call, namespace, name),
        lambda build, params: log_of(pods, build, params),
    )
    listener = server(api, address, int(port), given.pem, given.ca)
    register(pods, address, int(port), given.ca.read_bytes())
    threading.Thread(target=Controller(store, pods).run, daemon=True).start()
    listener.serve_forever()


if __name__ == "__main__":
    main()
