"""The clusters: reachable, and is there all that a build needs?

It is asked with the builder's own credential, so what that may not read is not tried; the line then
has the words with which an administrator can look.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.check.images import image_there
from koji_containerbuild.check.rights import rights
from koji_containerbuild.config import Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.engines.openshift import Builds
from koji_containerbuild.engines.permissions import OF_ENGINE, TOO_MUCH
from koji_containerbuild.errors import ContainerBuildError, ServiceError
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import goarch

PATIENCE = 15.0  # seconds for an answer
MANIFESTS = "fedora-infra/{engine}/{file}"
_HISTORY = ("successfulBuildsHistoryLimit", "failedBuildsHistoryLimit")  # OpenShift's default is 5
LEAST_HISTORY = 100  # builds: more than end before a builder has looked


def check_clusters(config: Config, registry: Registry) -> Iterator[Fact]:
    """All sections, drained ones too: their builds are followed to the end."""
    for name, cluster in config.clusters.items():
        try:
            yield from _Cluster(name, cluster, registry).facts()
        except ServiceError as error:  # it went away meanwhile
            yield wrong(f"cluster {name}: it goes on answering", error.what, error.do)


@dataclass(frozen=True)
class _Cluster:
    name: str
    cluster: ClusterConfig
    registry: Registry

    def facts(self) -> Iterator[Fact]:
        try:
            api = Api(self.name, self.cluster)
        except ServiceError as error:
            yield wrong(self._of("its files can be read"), error.what, error.do)
            return
        try:
            yield from self._token()
            reached = self._reached(api)
            yield reached
            if reached.state != "OK":
                return
            known = self._known(api)
            yield known
            if known.state == "OK":
                yield from self._permissions(api)
                yield from self._objects(api)
        finally:
            api.close()

    def _of(self, text: str) -> str:
        return f"cluster {self.name}: {text}"

    def _token(self) -> Iterator[Fact]:
        secret = self.cluster.token_file or self.cluster.key_file
        what = self._of("nobody else can read the credential")
        try:
            mode = stat.S_IMODE(Path(secret).stat().st_mode)
        except OSError as error:
            yield wrong(what, f"{secret}: {error.strerror}.", self._get_token())
            return
        yield ok(what) if not mode & 0o077 else wrong(what, "Others can.", f"chmod 600 {secret}")

    def _get_token(self) -> str:
        where = self.cluster.token_file
        if not where:
            return "Look at cert_file and key_file."
        return (
            f"kubectl -n {self.cluster.namespace} get secret koji-builder-token "
            f"-o jsonpath='{{.data.token}}' | base64 -d > {where}"
        )

    def _reached(self, api: Api) -> Fact:
        """A cluster that does not know us answers, too."""
        what = self._of("it answers over TLS")
        try:
            found = api.call("GET", "/version", patience=PATIENCE)
        except ApiError as error:
            if error.status in (401, 403):
                return ok(what)
            return wrong(what, error.what, f"Look at url and ca_file in [cluster {self.name}].")
        except ServiceError as error:
            return wrong(what, error.what, self._get_token())
        return ok(what, str(found.get("gitVersion") or ""))

    def _known(self, api: Api) -> Fact:
        what = self._of("it knows the builder")
        try:
            rights(api, self.cluster.namespace, OF_ENGINE[self.cluster.engine][:1])
        except ServiceError as error:
            return wrong(what, error.what, self._get_token())
        return ok(what)

    def _permissions(self, api: Api) -> Iterator[Fact]:
        engine, namespace = self.cluster.engine, self.cluster.namespace
        path = MANIFESTS.format(engine=engine, file="30-role.yaml")
        for permission in OF_ENGINE[engine]:
            what = self._of(f"the builder may {permission}")
            allowed = rights(api, namespace, (permission,))
            missing = [
                verb for verb in permission.verbs if f"{verb} {permission.resource}" not in allowed
            ]
            if missing:
                said = f"It may not {', '.join(missing)}, which is to {permission.what_for}."
                yield wrong(what, said, f"kubectl apply -f {path}")
            else:
                yield ok(what)
        spare = rights(api, namespace, TOO_MUCH)
        what = self._of("the builder may not do what it has no use for")
        if spare:
            mend = f"Give it an account with the Role in {path} alone."
            yield wrong(what, f"It may {', '.join(spare)}.", mend)
        else:
            yield ok(what)

    # -- objects

    def _objects(self, api: Api) -> Iterator[Fact]:
        cluster = self.cluster
        if cluster.engine == "kubernetes":
            yield self._takes_jobs(api)
            yield from self._named(api)
            yield self._image(cluster.image, cluster.arches)
        else:
            for arch in cluster.arches:
                yield from self._build_config(arch)
        for arch in cluster.arches:
            yield self._nodes(api, arch)

    def _takes_jobs(self, api: Api) -> Fact:
        """A dry run: the cluster looks at it as at any other, and keeps nothing."""
        namespace = self.cluster.namespace
        what = self._of(f"the namespace {namespace} takes Jobs")
        try:
            path = api.path("batch/v1", "jobs")
            api.call("POST", path, _tiny_job(), {"dryRun": "All"}, patience=PATIENCE)
        except ApiError as error:
            if error.status == 403 and error.reason == "Forbidden" and "quota" not in error.what:
                return not_tried(
                    what, f"{error.what} As an admin: kubectl get namespace {namespace}"
                )
            return wrong(what, error.what, self._apply("10-namespace.yaml"))
        return ok(what, "by a dry run")

    def _named(self, api: Api) -> Iterator[Fact]:
        """What the section names in the namespace."""
        cluster = self.cluster
        objects = (
            ("serviceaccounts", cluster.service_account, self._account),
            ("secrets", cluster.registry_secret, _has(".dockerconfigjson")),
            ("configmaps", cluster.config_map, _has("builder.conf")),
            ("configmaps", cluster.ca_config_map, _has("ca.crt")),
        )
        for kind, name, look in objects:
            if not name:
                continue
            what = self._of(f"there is {_KINDS[kind]} {name}")
            found = self._seen(api, what, kind, name)
            if isinstance(found, Fact):
                yield found
                continue
            trouble = look(found)
            if trouble:
                yield wrong(what, trouble, self._apply(_FILES[kind]))
            else:
                yield ok(what)
        yield self._powerless(api)

    def _seen(self, api: Api, what: str, kind: str, name: str) -> Mapping[str, Any] | Fact:
        """The object, or what became of the question."""
        try:
            return api.call("GET", api.path("v1", kind, name), patience=PATIENCE)
        except ApiError as error:
            if error.status == 403:
                words = f"kubectl -n {self.cluster.namespace} get {kind} {name}"
                return not_tried(what, f"The builder may not look. As an admin: {words}")
            return wrong(what, error.what, self._apply(_FILES[kind]))

    @staticmethod
    def _account(found: Mapping[str, Any]) -> str:
        mounted = found.get("automountServiceAccountToken") is not False
        return "automountServiceAccountToken is not false." if mounted else ""

    def _powerless(self, api: Api) -> Fact:
        namespace, account = self.cluster.namespace, self.cluster.service_account or "default"
        user = f"system:serviceaccount:{namespace}:{account}"
        what = self._of(f"the service account {account} has no permission")
        try:
            may = rights(api, namespace, (*OF_ENGINE[self.cluster.engine], *TOO_MUCH), user)
        except ServiceError:
            words = f"kubectl auth can-i --list -n {namespace} --as {user}"
            return not_tried(what, f"The builder may not ask. As an admin: {words}")
        if not may:
            return ok(what)
        said = f"It may {', '.join(may)}."
        return wrong(
            what, said, f"kubectl -n {namespace} get rolebindings -o wide, and take it out"
        )

    def _build_config(self, arch: str) -> Iterator[Fact]:
        what = self._of(f"there is a BuildConfig for {arch}, as it should be")
        mend = self._apply("70-buildconfigs.yaml")
        builds = Builds(self.name, self.cluster)
        try:
            spec = builds.config_of(arch)["spec"]
        except ContainerBuildError as error:
            yield wrong(what, error.what, mend)
            return
        finally:
            builds.api.close()
        custom = (spec.get("strategy") or {}).get("customStrategy")
        limits = {name: spec.get(name, 5) for name in _HISTORY}
        if not custom:
            yield wrong(what, "Its strategy is not Custom.", mend)
        elif min(limits.values()) < LEAST_HISTORY:
            told = ", ".join(f"{name} {value}" for name, value in limits.items())
            yield wrong(
                what, f"Builds are deleted before anybody sees how they ended: {told}.", mend
            )
        else:
            yield ok(what)
            image = custom.get("from") or {}
            if image.get("kind") == "DockerImage":
                yield self._image(str(image.get("name")), (arch,))

    def _nodes(self, api: Api, arch: str) -> Fact:
        what = self._of(f"it has nodes of {arch}")
        select = f"kubernetes.io/os=linux,kubernetes.io/arch={goarch(arch)}"
        select = ",".join((select, *self.cluster.node_selector))
        try:
            answer = api.call("GET", "/api/v1/nodes", None, {"labelSelector": select})
        except ApiError as error:
            if error.status == 403:
                words = f"kubectl get nodes -l {select}"
                return not_tried(what, f"The builder may not look. As an admin: {words}")
            return wrong(what, error.what, "Look at the cluster.")
        nodes = answer.get("items") or ()
        usable = [each for each in nodes if _ready(each)]
        if usable:
            return ok(what, f"{len(usable)} of {len(nodes)} ready")
        said = f"There are {len(nodes)} with {select}, none of them ready."
        return wrong(
            what, said, f"Add nodes, or take {arch} out of arches in [cluster {self.name}]."
        )

    def _image(self, image: str, arches: Sequence[str]) -> Fact:
        what = self._of(f"the image of the buildroot is there: {image}")
        if self.cluster.pull_policy == "Never":
            return not_tried(what, "pull_policy is Never: its nodes have it, or not.")
        return image_there(what, image, arches, self.registry)

    def _apply(self, file: str) -> str:
        return f"kubectl apply -f {MANIFESTS.format(engine=self.cluster.engine, file=file)}"


_KINDS = {
    "serviceaccounts": "the service account",
    "secrets": "the Secret",
    "configmaps": "the ConfigMap",
}
_FILES = {
    "serviceaccounts": "20-accounts.yaml",
    "secrets": "registry-secret.yaml, made of registry-secret.yaml.example",
    "configmaps": "60-buildroot-config.yaml",
}


def _has(key: str) -> Callable[[Mapping[str, Any]], str]:
    def trouble(found: Mapping[str, Any]) -> str:
        return "" if key in (found.get("data") or {}) else f"It has no key {key}."

    return trouble


def _tiny_job() -> dict[str, Any]:
    container = {"name": "nothing", "image": "nothing", "command": ["true"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "koji-containerbuild-check-"},
        "spec": {"template": {"spec": pod}},
    }


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")
