"""[cluster NAME] of the configuration: a cluster where builds run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Optional
from urllib.parse import urlsplit

from koji_containerbuild.config.ini import Positive


@dataclass(frozen=True)
class ClusterConfig:
    """[cluster NAME]: a Kubernetes or OpenShift where builds run. Any number of them."""

    engine: Literal["kubernetes", "openshift"] = "kubernetes"
    url: str = ""  # of its API: https://HOST:PORT
    ca_file: str = ""  # CA of the API; empty: the system's
    token_file: str = ""  # read again whenever it has changed
    cert_file: str = ""  # with key_file, in place of a token
    key_file: str = ""
    namespace: str = ""
    arches: tuple[str, ...] = ()  # that its nodes have, by Koji's names
    max_builds: int = 0  # images of one arch that are built at once; 0: any number
    drained: bool = False  # takes no new builds
    image: str = ""  # of the buildroot, for kubernetes; openshift has it in the BuildConfig
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    node_selector: tuple[str, ...] = ()  # LABEL=VALUE
    tolerations: tuple[str, ...] = ()  # KEY[=VALUE][:EFFECT]
    cpu: str = ""  # what a build is sure to get, as Kubernetes writes it: 500m, 2
    memory: str = ""  # the same: 2Gi
    memory_limit: str = ""  # what it is ended for exceeding; empty: the namespace's default
    service_account: str = ""  # of the pods; empty: the namespace's default
    registry_secret: str = ""  # name of a Secret with .dockerconfigjson; empty: no passwords
    config_map: str = ""  # name of a ConfigMap with builder.conf for the buildroot
    ca_config_map: str = ""  # name of a ConfigMap with CA certificates for registries: ca.crt
    start_seconds: Positive = 600  # until a pod that does not start is an error
    retries: int = 1  # of a build that the cluster has lost
    build_config: str = "koji-containerbuild-{arch}"  # for openshift: a BuildConfig for each arch


def wrong_of(name: str, cluster: ClusterConfig) -> Optional[tuple[str, str]]:
    """What is wrong with a section, and what to do; None: nothing."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        return f"'{name}' is no name", "Use small letters, digits, '.' and '-'."
    needed = ("url", "namespace", "arches", *_OF_ENGINE[cluster.engine])
    missing = [key for key in needed if not getattr(cluster, key)]
    if missing:
        return f"there is no {missing[0]}", "Set it."
    wrong = _wrong_access(cluster) or _without_effect(cluster)
    if wrong:
        return wrong
    if cluster.arches[1:] and "{arch}" not in cluster.build_config:
        return f"build_config is '{cluster.build_config}'", "Write {arch} where its names differ."
    for key, pattern, shape in _LISTS:
        for item in getattr(cluster, key):
            if not re.fullmatch(pattern, item):
                return f"{key} has '{item}'", f"Write {shape}."
    return None


def _wrong_access(cluster: ClusterConfig) -> Optional[tuple[str, str]]:
    if not cluster.url.startswith("https://"):
        return "url does not begin with https://", "Write https://HOST:PORT: we send a token there."
    if not _is_host(cluster.url):  # and is not cited: it may have a password
        return "url is not https://HOST:PORT", "Write no user, path or query."
    if bool(cluster.cert_file) != bool(cluster.key_file) or not (
        cluster.token_file or cluster.cert_file
    ):
        return "there is no credential", "Set token_file, or cert_file and key_file."
    return None


def _without_effect(cluster: ClusterConfig) -> Optional[tuple[str, str]]:
    for key in _NOT_FOR_OPENSHIFT if cluster.engine == "openshift" else ():
        if getattr(cluster, key) != getattr(ClusterConfig, key):
            return f"{key} has no effect with engine = openshift", "Set it in the BuildConfig."
    return None


def _is_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of no port, or of half an IPv6 address
        return False
    plain = parts.netloc == parts.netloc.strip() and "@" not in parts.netloc and port != 0
    return bool(plain and parts.hostname and parts.path in ("", "/")) and not (
        parts.query or parts.fragment
    )


_OF_ENGINE = {"kubernetes": ("image",), "openshift": ("build_config",)}
_NOT_FOR_OPENSHIFT = (
    *("image", "pull_policy", "node_selector", "tolerations", "cpu", "memory", "memory_limit"),
    *("service_account", "registry_secret", "config_map", "ca_config_map"),
)
_LISTS = (
    ("node_selector", r"[^=:]+=[^=:]*", "LABEL=VALUE"),
    (
        "tolerations",
        r"[^=:]+(=[^=:]*)?(:(NoSchedule|PreferNoSchedule|NoExecute))?",
        "KEY, KEY=VALUE or KEY=VALUE:EFFECT",
    ),
)
