"""Koji: does the hub know this host, and may it do what a build needs?

All but the login is asked as nobody in particular, since Koji gives a host one session, and kojid
has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Optional

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.config import CLUSTERS, Config
from koji_containerbuild.contract.options import DEFAULT_CHANNEL as CHANNEL
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.kojid_conf import KojidConf
from koji_containerbuild.koji_api.metadata import SOURCE_TYPE
from koji_containerbuild.koji_api.reserve import hub_version
from koji_containerbuild.koji_api.session import Session, asking

OLDEST = (1, 30)  # hub that the tests run on
MOST_TARGETS = 20  # that are looked at one by one
SILENT = 600  # seconds; kojid asks for work every 15
ARCHIVE = "docker-image.x86_64.tar.gz"  # a name as our archives have it


@dataclass(frozen=True)
class HubAnswers:
    """What the hub says to anybody."""

    version: tuple[int, int]
    methods: frozenset[str]
    user: Optional[Mapping[str, Any]]
    host: Optional[Mapping[str, Any]]
    channels: Mapping[str, Mapping[str, Any]]  # all, by name
    own_channels: frozenset[str]  # of the host
    generators: Mapping[str, Sequence[str]]  # users by generator
    build_types: frozenset[str]
    takes_archives: bool
    targets: Sequence[Mapping[str, Any]]
    heard: Optional[float] = None  # of the host: seconds since 1970; None: never


def check_hub(
    config: Config, conf: KojidConf, lacks: Callable[[str], str], name: str = ""
) -> Iterator[Fact]:
    """`lacks`: what is missing here to run programs of an arch, as of an engine; `name`: of the
    host in Koji; empty: as kojid.conf says it.
    """
    name = name or conf.name
    with conf.anonymous() as session:
        try:
            found = ask(session, name)
        except ServiceError as error:
            yield wrong(
                f"the hub {conf.server} answers",
                error.what,
                "Look at server and serverca in kojid.conf, and whether the hub is up.",
            )
            return
        yield from of_answers(found, config, name, conf.server)
        yield from login(conf, found.heard)
        yield from of_targets(found.targets, config, session, lacks)
    yield not_tried(
        "the hub's policies allow it",
        "Policies on channels and tags cannot be asked for. The first build shows it; "
        "`koji container-build --dry-run` shows as much as can be seen before.",
    )


def ask(session: Session, name: str) -> HubAnswers:
    """Raises ServiceError."""
    with asking("answer"):
        version = hub_version(session)
        methods = frozenset(session.system.listMethods())
        user = session.getUser(name)
        login = user["name"] if user else name
        with session.multicall(strict=True) as call:
            host = call.getHost(login)
            channels = call.listChannels()
            generators = call.listCGs()
            kinds = call.listBTypes()
            archive = call.getArchiveType(filename=ARCHIVE)
            targets = call.getBuildTargets()
        own, heard = [], None
        if host.result:
            own = session.listChannels(host.result["id"])
            heard = session.getLastHostUpdate(host.result["id"], ts=True)
    return HubAnswers(
        version=version,
        methods=methods,
        user=user,
        host=host.result,
        channels={each["name"]: each for each in channels.result},
        own_channels=frozenset(each["name"] for each in own),
        generators={key: value["users"] for key, value in generators.result.items()},
        build_types=frozenset(each["name"] for each in kinds.result),
        takes_archives=bool(archive.result),
        targets=targets.result,
        heard=heard,
    )


def of_answers(found: HubAnswers, config: Config, name: str, server: str) -> Iterator[Fact]:
    """What can be said without asking more."""
    version = ".".join(map(str, found.version))
    if found.version < OLDEST:
        yield wrong(
            f"the hub {server} answers", f"It is Koji {version}.", "Koji 1.30 or newer is needed."
        )
    else:
        yield ok(f"the hub {server} answers", f"Koji {version}")
    yield _either(
        "buildContainer" in found.methods,
        "the hub has our plugin",
        "It does not know the call buildContainer.",
        "Plugins = hub_containerbuild in hub.conf, then restart the hub's web server",
    )
    yield from _host(found, name)
    yield _generator(found, config.builder.content_generator, name)
    yield from _types(found, config)


def _host(found: HubAnswers, name: str) -> Iterator[Fact]:
    what = f"Koji knows the host {name}"
    if not found.host:
        yield wrong(what, "It does not.", f"koji add-host {name} x86_64\nor: check --host NAME")
        return
    name = found.host["name"]
    yield ok(what)
    yield _either(
        bool(found.host["enabled"]),
        "the host is enabled",
        "It gets no tasks.",
        f"koji enable-host {name}",
    )
    channel = found.channels.get(CHANNEL)
    what = f"the host takes tasks of the channel {CHANNEL}"
    add = f"koji add-host-to-channel {name} {CHANNEL}"
    if not channel:
        yield wrong(what, "There is no such channel.", f"koji add-channel {CHANNEL}\n{add}")
    elif not channel.get("enabled", True):
        yield wrong(what, "The channel is disabled.", f"koji enable-channel {CHANNEL}")
    else:
        yield _either(CHANNEL in found.own_channels, what, "It is not in it.", add)


def _generator(found: HubAnswers, generator: str, name: str) -> Fact:
    login = found.user["name"] if found.user else name
    new = "" if generator in found.generators else "--new "
    return _either(
        login in found.generators.get(generator, ()),
        f"the host's user may import as content generator {generator}",
        "It may not." if not new else "There is no such content generator with users.",
        f"koji grant-cg-access {new}{login} {generator}",
    )


def _types(found: HubAnswers, config: Config) -> Iterator[Fact]:
    yield _either(
        "image" in found.build_types,
        "Koji has builds of the type image",
        "There is no such build type.",
        "koji call addBType image",
    )
    yield _either(
        found.takes_archives,
        "Koji takes our archives",
        f"It knows no archive type for files like {ARCHIVE}.",
        "koji call addArchiveType tar 'Tar file' 'tar tar.gz tar.bz2 tar.xz tgz'",
    )
    if config.artifacts.allowed_domains:
        yield _either(
            SOURCE_TYPE in found.build_types,
            "Koji keeps the sources of artifacts",
            f"There is no build type {SOURCE_TYPE}.",
            f"koji call addBType {SOURCE_TYPE}",
        )


def login(conf: KojidConf, heard: Optional[float]) -> Iterator[Fact]:
    """Whether kojid can log in, and whether it has: one that was killed keeps its session.

    `heard`: when the hub last heard of the host, in seconds since 1970; None: never.
    """
    what = "kojid's credentials are good"
    try:
        at_work = conf.log_in()
    except ServiceError as error:
        mend = "Look at user and password, cert, or krb_principal and keytab in kojid.conf."
        yield wrong(what, error.what, mend)
        return
    yield ok(what)
    silent = time.time() - (heard or 0)
    yield _either(
        at_work and silent < SILENT,
        "kojid is at work",
        f"The hub has heard nothing of it for {silent // 60:.0f} minutes."
        if at_work and heard
        else "It is not logged in.",
        "systemctl start kojid\nor look in /var/log/kojid.log why it ended",
    )


def of_targets(
    targets: Sequence[Mapping[str, Any]],
    config: Config,
    session: Session,
    lacks: Callable[[str], str],
) -> Iterator[Fact]:
    """Those that the configuration names, if it names any; else that there is one."""
    patterns = config.builder.allowed_targets
    fitting = [
        target
        for target in targets
        if not patterns or any(fnmatchcase(target["name"], each) for each in patterns)
    ]
    what = "there are build targets" + (f" {' '.join(patterns)}" if patterns else "")
    if not fitting:
        yield wrong(
            what,
            "There is none.",
            "koji add-target NAME BUILD-TAG DESTINATION-TAG\nor correct allowed_targets",
        )
        return
    yield ok(what, f"{len(fitting)}")
    for target in fitting[:MOST_TARGETS] if patterns else []:
        yield _target(target, config, session, lacks)


def _target(
    target: Mapping[str, Any], config: Config, session: Session, lacks: Callable[[str], str]
) -> Fact:
    tag = target["build_tag_name"]
    what = f"the target {target['name']} can be built for"
    try:
        with asking(f"tell about the tag {tag}"), session.multicall(strict=True) as call:
            found = call.getBuildConfig(target["build_tag"])
            repo = call.getRepo(target["build_tag"])
    except ServiceError as error:
        return wrong(what, error.what, "Look whether the hub is up.")
    arches = (found.result or {}).get("arches") or ""
    if not arches:
        return wrong(what, f"The tag {tag} has no arches.", f"koji edit-tag {tag} --arches x86_64")
    if not repo.result:
        return wrong(what, f"The tag {tag} has no repo.", f"koji regen-repo {tag}")
    return _runs(what, tag, arches, config, lacks)


def _runs(what: str, tag: str, arches: str, config: Config, lacks: Callable[[str], str]) -> Fact:
    """Whether programs of all the tag's arches can be run."""
    if config.builder.engine == CLUSTERS:
        there = {arch for cluster in config.clusters.values() for arch in cluster.arches}
        if lacking := [arch for arch in arches.split() if arch not in there]:
            said = f"No cluster has {', '.join(lacking)}, which the tag {tag} has."
            return wrong(what, said, "Add it to arches of a section [cluster NAME]")
        return ok(what, arches)
    if missing := [found for found in map(lacks, arches.split()) if found]:
        said = f"Images that RUN something cannot: this host lacks {', '.join(missing)}."
        mend = f"dnf install qemu-user-static\nor take the arch from the tag: koji edit-tag {tag}"
        return wrong(what, said, f"{mend} --arches …")
    return ok(what, arches)


def _either(so: bool, what: str, said: str, mend: str) -> Fact:
    return ok(what) if so else wrong(what, said, mend)
