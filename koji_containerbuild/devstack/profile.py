"""The client profiles `devstack` (user packager) and `devstack-admin` (user kojiadmin).

They log in with a client certificate, so every plain Koji client can use them. A client outside
our venv needs `koji_containerbuild` for the command-line plugin: PYTHONPATH=<repo>, or install it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from koji_containerbuild.devstack import certs
from koji_containerbuild.devstack.places import Places, Ports, addresses

USERS: Mapping[str, str] = {"devstack": "packager", "devstack-admin": "kojiadmin"}


def text(places: Places, ports: Ports) -> str:
    """Both profiles, as Koji's clients read them."""
    url = addresses(ports)
    return "\n".join(
        f"""\
[{name}]
server = {url.hub_ssl}
weburl = {url.web}
topurl = {url.files}
topdir = {places.topdir}
authtype = ssl
cert = {certs.client(places.certs, user)}
serverca = {certs.authority(places.certs)}
plugin_paths = {places.repo}/cli
poll_interval = 1
"""
        for name, user in USERS.items()
    )


def write(places: Places, ports: Ports, *, home: bool) -> Path:
    """Write the profiles; with `home` also to where `koji -p devstack` finds them."""
    places.koji_conf.parent.mkdir(parents=True, exist_ok=True)
    places.koji_conf.write_text(text(places, ports))
    if home:
        path = home_profile()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(places.koji_conf)
    return places.koji_conf


def forget(places: Places) -> None:
    """Remove the link in the home folder, if it is to this devstack."""
    path = home_profile()
    if path.is_symlink() and Path(os.readlink(path)) == places.koji_conf:
        path.unlink()


def home_profile() -> Path:
    """Where Koji's clients look by themselves."""
    return Path("~/.koji/config.d/devstack.conf").expanduser()
