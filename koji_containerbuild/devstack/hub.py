"""Koji's hub and web: their configuration, and the process that serves them."""

from __future__ import annotations

import json
import sys
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import requests

from koji_containerbuild.devstack import certs, koji_source
from koji_containerbuild.devstack.hub_server import Settings
from koji_containerbuild.devstack.places import Places, Ports, addresses
from koji_containerbuild.devstack.process import Part, log_tail
from koji_containerbuild.errors import ServiceError

PLUGIN = "hub_containerbuild"
CHANNELS_POLICY = """
[policy]
tag =
    all :: allow
channel =
    has req_channel :: req
    is_child_task :: parent
    all :: use default
package_list =
    has_perm admin :: allow
    has_perm tag :: allow
    all :: deny Only admins and holders of the tag permission may change package lists.
"""


def write_conf(places: Places, ports: Ports, source: Path) -> None:
    """hub.conf, web.conf and the settings of our server process."""
    places.conf.mkdir(parents=True, exist_ok=True)
    places.topdir.mkdir(parents=True, exist_ok=True)
    (places.conf / "hub.conf").write_text(_hub_conf(places, ports))
    (places.conf / "web.conf").write_text(_web_conf(ports, source))
    settings = Settings(
        source=str(source),
        topdir=str(places.topdir),
        lookaside=str(places.lookaside),
        hub_conf=str(places.conf / "hub.conf"),
        web_conf=str(places.conf / "web.conf"),
        host=ports.host,
        port=ports.hub,
        ssl_port=ports.hub_ssl,
        certificate=str(certs.server(places.certs, ports.host)),
        authority=str(certs.authority(places.certs)),
    )
    (places.conf / "server.json").write_text(json.dumps(asdict(settings), indent=1) + "\n")


def part(places: Places, ports: Ports, source: Path) -> Part:
    """The server process; anew when its configuration or the code of the hub plugin changes."""
    url = addresses(ports)
    return Part(
        name="hub",
        argv=(
            sys.executable,
            "-W",
            "ignore",  # Koji 1.30 uses what Python 3.11 calls deprecated
            "-m",
            "koji_containerbuild.devstack.hub_server",
            str(places.conf / "server.json"),
        ),
        env={"PYTHONPATH": koji_source.python_path(source, places.repo)},
        ready=lambda: _hub_answers(url.hub, places.log / "hub.log") and _web_answers(f"{url.web}/"),
        reads=(
            *(places.conf / name for name in ("hub.conf", "web.conf", "server.json")),
            *_plugin_files(places.repo),
            *(Path(__file__).parent / name for name in ("hub_server.py", "shims.py")),
        ),
    )


def _plugin_files(repo: Path) -> Iterable[Path]:
    """All that the hub plugin may import (docs/architecture.md)."""
    package = repo / "koji_containerbuild"
    yield repo / "hub" / f"{PLUGIN}.py"
    yield package / "errors.py"
    for folder in ("rules", "contract"):
        yield from sorted((package / folder).rglob("*.py"))


def _hub_conf(places: Places, ports: Ports) -> str:
    url = addresses(ports)
    plugins = PLUGIN if (places.repo / "hub" / f"{PLUGIN}.py").exists() else ""
    return f"""\
[hub]
DBName = koji
DBUser = koji
DBHost = {places.postgres}
KojiDir = {places.topdir}
CheckClientIP = False
LoginCreatesUser = Off
DNUsernameComponent = CN
KojiWebURL = {url.web}
EmailDomain = example.com
DisableNotifications = True
NotifyOnSuccess = False
PluginPath = {places.repo}/hub
Plugins = {plugins}
KojiTraceback = normal
LogLevel = WARNING
{CHANNELS_POLICY}"""


def _web_conf(ports: Ports, source: Path) -> str:
    url = addresses(ports)
    return f"""\
[web]
SiteName = koji
KojiHubURL = {url.hub}
KojiFilesURL = {url.files}
LoginTimeout = 72
LoginDisabled = True
Secret = of-no-use-since-login-is-disabled
LibPath = {source}/www/lib
LiteralFooter = True
KojiGreeting = Welcome to the koji-containerbuild devstack
Tasks = buildContainer buildSourceContainer
ToplevelTasks = buildContainer buildSourceContainer
"""


def _hub_answers(url: str, log: Path) -> bool:
    """Raises ServiceError where waiting would not help: a plugin cannot be loaded, say."""
    call = xmlrpc.client.dumps((), "getAPIVersion").encode()
    headers = {"Content-Type": "text/xml"}
    try:
        answer = requests.post(url, call, headers=headers, timeout=10)
        xmlrpc.client.loads(answer.content)
    except requests.RequestException:
        return False
    except xmlrpc.client.Fault as error:
        raise ServiceError(
            f"The hub answers, but with: {error.faultString}. The end of {log}:\n{log_tail(log)}",
            do="If it is the hub plugin, mend it and run `up` again.",
        ) from error
    return True


def _web_answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False
