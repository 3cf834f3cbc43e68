"""The registries: reachable, and do they let us pull and push?"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from koji_containerbuild.check.fact import Fact, ok, tried, wrong
from koji_containerbuild.config import Config
from koji_containerbuild.errors import ConfigError, NotFound
from koji_containerbuild.registry.auth import AuthFile
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.pullspec import Pullspec

TAG = "nothing"


def check_registries(config: Config, registry: Registry, repository: str) -> Iterator[Fact]:
    """The candidate registry with all rights that a build needs, and those of parents."""
    host = config.registry.url
    if not host:
        yield wrong("there is a registry to push to", "url is empty.", "Set url in [registry].")
        return
    yield from _passwords(config, host, repository)
    spec = Pullspec.parse(f"{host}/{repository}:{TAG}")
    reached = _reached(registry, spec, config)
    yield reached
    if reached.state == "OK":
        yield tried(f"images can be pulled from {host}", lambda: _pull(registry, spec), "")
        yield tried(
            f"images can be pushed to {host}",
            lambda: registry.try_upload(spec),
            "",
        )
    for other in _of_parents(config):
        yield _reached(registry, Pullspec.parse(f"{other}/{repository}:{TAG}"), config)


def _passwords(config: Config, host: str, repository: str) -> Iterator[Fact]:
    path = config.registry.auth_file
    what = "the file of passwords can be read"
    if not path:
        yield ok(what, "there is none: registries are asked without a password")
        return
    mend = f"podman login --authfile {path} {host}"
    try:
        found = AuthFile(path).find(host, repository)
    except ConfigError as error:
        yield wrong(what, error.what, error.do or mend)
        return
    yield ok(what, path)
    if stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
        yield wrong("nobody else can read the passwords", "Others can.", f"chmod 600 {path}")
    else:
        yield ok("nobody else can read the passwords")
    what = f"there is a password for {host}"
    yield ok(what, f"entry {found.entry}") if found else wrong(what, "There is none.", mend)


def _reached(registry: Registry, spec: Pullspec, config: Config) -> Fact:
    how = "plain HTTP" if config.is_insecure(spec.registry) else "TLS"

    def hello() -> str:
        registry.hello(spec)
        return f"over {how}"

    return tried(f"the registry {spec.registry} answers", hello, "")


def _pull(registry: Registry, spec: Pullspec) -> None:
    try:
        registry.manifest(spec)
    except NotFound:  # we may look, and nothing is there
        return


def _of_parents(config: Config) -> list[str]:
    named = (config.parents.default_registry, *config.parents.allowed_registries)
    return [host for host in dict.fromkeys(named) if host and host != config.registry.url]
