"""Bring everything up: the page to read to know what a devstack consists of."""

from __future__ import annotations

import fcntl
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import koji

from koji_containerbuild.devstack import (
    base_build,
    base_image,
    certs,
    distro,
    example,
    git_server,
    hub,
    koji_source,
    kojid,
    machine,
    postgres,
    profile,
    registry,
    seed,
)
from koji_containerbuild.devstack.distro import Distro
from koji_containerbuild.devstack.git_server import GitServer
from koji_containerbuild.devstack.places import (
    Places,
    Ports,
    addresses,
    choose_ports,
    read_ports,
    require_free,
)
from koji_containerbuild.devstack.process import Part, ensure
from koji_containerbuild.errors import ConfigError

Say = Callable[[str], None]
PARTS: Mapping[str, signal.Signals] = {  # in the order they are started; how each is ended
    "postgres": signal.SIGINT,
    "registry": signal.SIGTERM,
    "git": signal.SIGTERM,
    "hub": signal.SIGTERM,
    "kojid": signal.SIGTERM,
}


def bring_up(
    places: Places,
    wanted: Mapping[str, int],
    *,
    host: str | None = None,
    say: Say,
    home_profile: bool,
) -> None:
    """From nothing, or from whatever runs already, to a Koji that builds."""
    machine.check()
    with timed("Koji's source", say), _alone(places):
        source = koji_source.fetch(places.cache)
    if read_ports(places) is None:
        postgres.forget(places)
    ports = choose_ports(places, wanted, host)
    with timed("PostgreSQL", say):
        postgres.prepare(places)
        database = postgres.part(places)
        gone = partial(postgres.wait_until_gone, places)
        ensure(database, places.run, places.log, before=gone)
        postgres.load_schema(places, source)
    with timed("registry", say):
        _ensure(places, registry.part(places, ports), ports.host, ports.registry)
    with timed("git", say):
        _ensure(places, git_server.part(places, ports), ports.host, ports.git)
        example.commit(GitServer(places.git, addresses(ports).git))
    with timed("hub and web", say):
        profile.write(places, ports, home=home_profile)
        hub.write_conf(places, ports, source)
        part = hub.part(places, ports, source)
        _ensure(places, part, ports.host, ports.hub, ports.hub_ssl)
    with timed("users, tags, target", say):
        seed.first_users(places)
        admin = seed.Admin(login(places, ports, seed.ADMIN), places)
        seed.seed(admin)
    with timed("kojid", say):
        daemon = kojid.part(places, ports, source)
        ensure(daemon, places.run, places.log, before=partial(kojid.before_start, places))
    with timed("rpms, base image", say):
        with _alone(places):
            rpms = _distribution(places)
        image = base_image.provide(rpms, addresses(ports).registry)
    with timed("builds into Koji", say):
        for paths in rpms.builds.values():
            admin.import_build(paths, seed.BUILD_TAG)
        base_build.import_once(admin, rpms, image)
    with timed("repo of the build tag", say):
        admin.fresh_repo()
    logout(admin.session)


def login(places: Places, ports: Ports, user: str) -> Any:
    """A session of this user, with a certificate over https. End it with logout()."""
    options = {"serverca": str(certs.authority(places.certs)), "retry_interval": 1}
    session = koji.ClientSession(addresses(ports).hub_ssl, options)
    session.ssl_login(str(certs.client(places.certs, user)), serverca=options["serverca"])
    return session


def logout(session: Any) -> None:
    """End the session at the hub, and close its connection, which Koji's client leaves open."""
    session.logout()
    session.rsession.close()


@contextmanager
def timed(what: str, say: Say) -> Iterator[None]:
    """Say what is done, and how long it took."""
    begin = time.monotonic()
    yield
    say(f"  {what:<24} {time.monotonic() - begin:6.2f} s")


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Another devstack may fill the same cache: it waits, or we do."""
    places.cache.mkdir(parents=True, exist_ok=True)
    with open(places.cache / "devstack.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _distribution(places: Places) -> Distro:
    """This devstack's own copy of the rpms and the base image."""
    home = places.state / "distro"
    if not home.is_dir():
        made = distro.build(places.cache)
        base_image.build(made)
        scratch = home.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(made.folder, scratch)
        scratch.rename(home)
    if not base_image.is_built(Distro(home)):
        raise ConfigError(
            f"The devstack in {places.state} was made by an older version.",
            do=f"Forget it: python -m koji_containerbuild.devstack reset --state {places.state}",
        )
    return Distro(home)


def _ensure(places: Places, part: Part, host: str, *ports: int) -> bool:
    before = partial(_require_free, part.name, host, ports)
    return ensure(part, places.run, places.log, before=before)


def _require_free(name: str, host: str, ports: tuple[int, ...]) -> None:
    for port in ports:
        require_free(port, name, host)
