"""What builds name in a namespace: is it there, and has it what a build takes from it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.check.rights import rights
from koji_containerbuild.check.section import PATIENCE, Section, node_arch
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.engines.permissions import OF_ENGINE, TOO_MUCH
from koji_containerbuild.errors import ServiceError

Look = Callable[[Mapping[str, Any]], str]  # what is wrong with an object; empty: nothing


def named(section: Section, api: Api) -> Iterator[Fact]:
    """By a section of Kubernetes."""
    cluster = section.cluster
    if cluster.registry_secret:
        yield secret_there(section, api, cluster.registry_secret, has_key(".dockerconfigjson"))
    maps = ((cluster.config_map, "builder.conf"), (cluster.ca_config_map, "ca.crt"))
    for name, key in maps:
        if name:
            what = section.of(f"there is the ConfigMap {name}")
            mend = section.apply("60-buildroot-config.yaml")
            if key == "ca.crt":
                words = section.command(f"create configmap {name} --from-file ca.crt")
                mend = f"As an admin: {words}"
            yield _there(section, api, what, ("configmaps", name), has_key(key), mend)
    yield from account_there(section, api, cluster.service_account)


def secret_there(section: Section, api: Api, name: str, look: Look, mend: str = "") -> Fact:
    """`mend`: of one that is no password of a registry."""
    what = section.of(f"there is the Secret {name}")
    words = section.command(
        f"create secret generic {name} --type kubernetes.io/dockerconfigjson "
        "--from-file .dockerconfigjson=auth.json"
    )
    return _there(section, api, what, ("secrets", name), look, mend or f"As an admin: {words}")


def account_there(section: Section, api: Api, name: str) -> Iterator[Fact]:
    """As which builds run. Empty: the namespace's default, which there always is."""
    if name:
        what = section.of(f"there is the service account {name}")
        mend = section.apply("20-accounts.yaml")
        yield _there(section, api, what, ("serviceaccounts", name), _no_token, mend)
    yield _powerless(section, api, name or "default")


def _there(
    section: Section, api: Api, what: str, kind_and_name: tuple[str, str], look: Look, mend: str
) -> Fact:
    found = section.seen(api, what, *kind_and_name, mend)
    if isinstance(found, Fact):
        return found
    trouble = look(found)
    return wrong(what, trouble, mend) if trouble else ok(what)


def has_key(key: str) -> Look:
    """For _there."""

    def trouble(found: Mapping[str, Any]) -> str:
        return "" if key in (found.get("data") or {}) else f"It has no key {key}."

    return trouble


def _no_token(found: Mapping[str, Any]) -> str:
    mounted = found.get("automountServiceAccountToken") is not False
    return "automountServiceAccountToken is not false." if mounted else ""


def _powerless(section: Section, api: Api, account: str) -> Fact:
    namespace = section.cluster.namespace
    user = f"system:serviceaccount:{namespace}:{account}"
    what = section.of(f"the service account {account} has no permission")
    try:
        may = rights(api, namespace, (*OF_ENGINE[section.cluster.engine], *TOO_MUCH), user)
    except ServiceError:
        words = section.command(f"auth can-i --list --as {user}")
        return not_tried(what, f"The builder may not ask. As an admin: {words}")
    if not may:
        return ok(what)
    mend = f"As an admin: {section.command('get rolebindings -o wide')}, and take it out"
    return wrong(what, f"It may {', '.join(may)}.", mend)


def nodes(section: Section, api: Api, arch: str) -> Fact:
    """That a build of the arch can run on."""
    cluster = section.cluster
    what = section.of(f"it has nodes of {arch}")
    select = f"kubernetes.io/os=linux,kubernetes.io/arch={node_arch(arch)}"
    if cluster.engine == "kubernetes":  # else it is for the BuildConfig to say
        select = ",".join((select, *cluster.node_selector))
    try:
        answer = api.call(
            "GET", "/api/v1/nodes", None, {"labelSelector": select}, patience=PATIENCE
        )
    except ApiError as error:
        if error.status == 403:
            return section.hidden(what, f"{section.client} get nodes -l {select}")
        return wrong(what, error.what, "Look at the cluster.")
    found = answer.get("items") or ()
    usable = [each for each in found if _ready(each)]
    if usable:
        return ok(what, f"{len(usable)} of {len(found)} ready")
    said = f"There are {len(found)} with {select}, none of them ready."
    return wrong(
        what, said, f"Add nodes, or take {arch} out of arches in [cluster {section.name}]."
    )


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")
