"""The configuration of a builder host: an INI file to a frozen Config. Read by entry files only.

Every key has a type and a default here; docs/operating.md explains them. An unknown section or key
is an error that names the nearest known one, since a misspelt limit is worse than none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from koji_containerbuild.config.cluster import ClusterConfig, wrong_of
from koji_containerbuild.config.ini import Positive, nearest, section, sections
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.rules.levels import Level
from koji_containerbuild.rules.signatures import key_ids

VARIABLE = "KOJI_CONTAINERBUILD_CONFIG"  # environment variable with the path of the file
DEFAULT_PATH = Path("/etc/koji-containerbuild/builder.conf")
CLUSTERS = "clusters"  # the engine that takes all sections [cluster NAME]


@dataclass(frozen=True)
class BuilderConfig:
    """[builder]: the host as a whole."""

    engine: str = "local"
    work_dir: Path = Path("/var/lib/koji-containerbuild")
    content_generator: str = "koji-containerbuild"
    task_weight: float = 0.5  # of a build, for kojid's load; a host's capacity is 2 or so
    allowed_targets: tuple[str, ...] = ()  # patterns as of a shell; empty: all


@dataclass(frozen=True)
class RegistryConfig:
    """[registry]: where images are pushed."""

    url: str = ""  # HOST[:PORT]
    insecure: bool = False  # plain http
    ca_file: str = ""  # bundle of CAs that registries are checked with; empty: the system's
    auth_file: str = ""  # docker's or podman's auth.json; empty: anonymous
    timeout: Positive = 60  # seconds, for one request


@dataclass(frozen=True)
class ParentsConfig:
    """[parents]: which images may stand after FROM."""

    default_registry: str = ""  # of a FROM that names none; empty: the candidate registry
    organization: str = ""  # put before a short name of the default registry
    allowed_registries: tuple[str, ...] = ()  # empty: only the default one
    insecure_registries: tuple[str, ...] = ()
    provenance: Level = "warn"  # of a parent that is no Koji build
    digest_mismatch: Level = "fail"  # of one that is not the image of the build that it names
    wait_seconds: int = 180  # for the Koji build of a parent that is still BUILDING


@dataclass(frozen=True)
class ReposConfig:
    """[repos]: where packages may come from during a build, and how they are fetched."""

    allowed_domains: tuple[str, ...] = ()  # of a user's .repo files; empty: any
    proxy: str = ""  # URL, for every repo that names none
    ca_bundle: str = ""  # absolute path on this host; empty: what the image trusts


@dataclass(frozen=True)
class NamingConfig:
    """[naming]: what builds are called, and labels that are made of others."""

    disttag: str = ""  # behind a counted release: text like .fc43, or `tag`: the build tag's
    component_suffix: str = ""  # that every component must end in; empty: no rule
    info_url: str = ""  # of the label `url`; {name}, {version} and so on are filled in
    vcs_url: bool = False  # whether images get the label vcs-url


@dataclass(frozen=True)
class PackagesConfig:
    """[packages]: the packages of an image, held against Koji's own record of RPMs."""

    differs_from_koji: Level = "warn"  # another RPM than the one that Koji has under that name
    unknown_to_koji: Level = "ignore"  # not built in this Koji
    foreign_signature: Level = "warn"  # signed with a key that Koji has no signature of it with
    may_differ: tuple[str, ...] = ()  # patterns of names that need not be the same on all arches


@dataclass(frozen=True)
class LookasideConfig:
    """[lookaside]: where files that `sources` names are."""

    url: str = ""  # with {namespace}, {name}, {filename}, {hashtype}, {hash}; empty: there is none


@dataclass(frozen=True)
class ArtifactsConfig:
    """[artifacts]: what fetch-artifacts-url.yaml may name."""

    allowed_domains: tuple[str, ...] = ()  # HOST[:PORT][/PATH]; empty: nothing


@dataclass(frozen=True)
class FilesConfig:
    """[files]: how files that are not in git are fetched."""

    cache: Path = Path("/var/lib/koji-containerbuild/files")
    cache_mib: int = 10240  # files that were not used for the longest time go first
    max_files: int = 1000  # of one build
    max_file_mib: int = 10240
    file_seconds: Positive = 3600  # for one file


@dataclass(frozen=True)
class MailConfig:
    """[mail]: who is told of the end of a build."""

    host: str = ""  # of the mail relay; empty: no mail
    port: Positive = 25
    tls: bool = False  # STARTTLS, and nothing without it
    from_address: str = ""
    to_submitter: bool = False
    to_owner: bool = False  # of the package, in the destination tag
    domain: str = ""  # behind the names of Koji's users
    additional: tuple[str, ...] = ()  # addresses that get every mail
    errors_to: tuple[str, ...] = ()  # addresses that get those of failed builds
    web_url: str = ""  # of koji web, for a link to the task


@dataclass(frozen=True)
class LimitsConfig:
    """[limits]: what a build may use."""

    default_build_seconds: Positive = 10800
    max_build_seconds: Positive = 21600
    image_size_mib: int = 0  # of all layers, uncompressed; 0: any


@dataclass(frozen=True)
class SignaturesConfig:
    """[signatures]: of the packages in finished images; [signing_keys] has the keys."""

    policy: Level = "ignore"


@dataclass(frozen=True)
class BuildrootConfig:
    """[buildroot]: how the local engine builds."""

    storage: Path = Path("/var/lib/koji-containerbuild/containers")
    driver: str = "overlay"
    isolation: Literal["oci", "chroot"] = "oci"
    runtime: str = ""  # runc, crun …; empty: the first that works
    network: Literal["private", "host", "none"] = "private"  # of RUN
    min_free_mib: int = 4096  # below that, images that nobody uses are removed from the store


@dataclass(frozen=True)
class Config:
    """The whole file."""

    builder: BuilderConfig = field(default_factory=BuilderConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    parents: ParentsConfig = field(default_factory=ParentsConfig)
    repos: ReposConfig = field(default_factory=ReposConfig)
    naming: NamingConfig = field(default_factory=NamingConfig)
    packages: PackagesConfig = field(default_factory=PackagesConfig)
    lookaside: LookasideConfig = field(default_factory=LookasideConfig)
    artifacts: ArtifactsConfig = field(default_factory=ArtifactsConfig)
    files: FilesConfig = field(default_factory=FilesConfig)
    mail: MailConfig = field(default_factory=MailConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    buildroot: BuildrootConfig = field(default_factory=BuildrootConfig)
    signatures: SignaturesConfig = field(default_factory=SignaturesConfig)
    # Key ids by pattern of targets.
    signing_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)  # put on every image of the site
    equal_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # groups by any name

    clusters: Mapping[str, ClusterConfig] = field(default_factory=dict)  # by NAME, in order

    @property
    def parent_registry(self) -> str:
        """The registry of a FROM that names none."""
        return self.parents.default_registry or self.registry.url

    def is_insecure(self, host: str) -> bool:
        """Whether the registry `host` is spoken to without TLS."""
        return host in self.parents.insecure_registries or (
            self.registry.insecure and host == self.registry.url
        )


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file named by KOJI_CONTAINERBUILD_CONFIG, or the default one."""
    return Path(environment.get(VARIABLE) or DEFAULT_PATH)


def load(path: Path) -> Config:
    """Read the file. Raises ConfigError, naming file, section and key."""
    missing = f"Write it (see docs/operating.md), or set {VARIABLE}."
    hints = {name: hint for name, hint in get_type_hints(Config).items() if name != "clusters"}
    read: dict[str, Any] = {"clusters": {}}
    for name, given in sections(path, missing).items():
        if name == "labels":
            read[name] = given
        elif name == "signing_keys":
            read[name] = {key: _keys(key, text, path) for key, text in given.items()}
        elif name == "equal_labels":
            read[name] = {key: _group(key, text, path) for key, text in given.items()}
        elif name.startswith("cluster "):
            cluster = name[8:].strip()
            if cluster in read["clusters"]:
                raise ConfigError(f"{path}: there are two [cluster {cluster}].", do="Rename one.")
            read["clusters"][cluster] = section(ClusterConfig, given, path, name)
        elif name in hints:
            read[name] = section(hints[name], given, path, name)
        else:
            raise ConfigError(f"{path}: unknown section [{name}].", do=nearest(name, hints))
    config = Config(**read)
    _check_info_url(config.naming.info_url, path)
    _check_mail(config.mail, path)
    _check_limits(config.limits, path)
    _check_clusters(config, path)
    return config


def _group(key: str, text: str, path: Path) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if len(names) < 2:
        raise ConfigError(
            f"{path}: {key} in [equal_labels] is '{text}'.", do="Name two labels or more."
        )
    return names


def _keys(target: str, text: str, path: Path) -> tuple[str, ...]:
    try:
        return key_ids(text)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {target} in [signing_keys] has '{error}', which is no key id.",
            do="Write the last 16 digits of the key's fingerprint.",
        ) from error


def _check_info_url(url: str, path: Path) -> None:
    unknown = re.sub(r"\{(component|name|version|release)\}", "", url)
    if "{" in unknown or "}" in unknown:
        raise ConfigError(
            f"{path}: info_url in [naming] is '{url}'.",
            do="Only {component}, {name}, {version} and {release} are filled in.",
        )


def _check_mail(mail: MailConfig, path: Path) -> None:
    if mail.host and "@" not in mail.from_address:
        raise ConfigError(f"{path}: from_address in [mail] is no address.", do="Set it.")
    if mail.host and (mail.to_submitter or mail.to_owner) and not mail.domain:
        raise ConfigError(
            f"{path}: [mail] has no domain.", do="Set what stands behind USER@ in an address."
        )


def _check_limits(limits: LimitsConfig, path: Path) -> None:
    if limits.default_build_seconds > limits.max_build_seconds:
        raise ConfigError(
            f"{path}: default_build_seconds in [limits] is {limits.default_build_seconds}, more "
            f"than max_build_seconds, {limits.max_build_seconds}.",
            do="Every build would be refused: set both.",
        )


def _check_clusters(config: Config, path: Path) -> None:
    if config.builder.engine == CLUSTERS and not config.clusters:
        raise ConfigError(
            f"{path}: engine in [builder] is '{CLUSTERS}', and there is none.",
            do="Add a section [cluster NAME], or write engine = local.",
        )
    for name, cluster in config.clusters.items():
        wrong = wrong_of(name, cluster)
        if wrong:
            raise ConfigError(f"{path}: {wrong[0]} in [cluster {name}].", do=wrong[1])
