"""Koji's builder daemon: its configuration and its process."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from koji_containerbuild.devstack import koji_source
from koji_containerbuild.devstack.places import Places, Ports, addresses
from koji_containerbuild.devstack.process import Part

PLUGIN = "builder_containerbuild"
HOSTNAME = "builder1"
SLEEP_SECONDS = 0.2  # between two looks for work: a task waits 0.14 s on average, at 7 % CPU


def part(places: Places, ports: Ports, source: Path) -> Part:
    """Writes kojid.conf and builder.conf, too."""
    _write_conf(places, ports)
    return Part(
        name="kojid",
        argv=(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "koji_containerbuild.devstack.kojid_run",
            str(source),
            str(SLEEP_SECONDS),
            str(_ready_file(places)),
            "--fg",
            "--force-lock",
            "--config",
            str(places.conf / "kojid.conf"),
        ),
        env={
            "PYTHONPATH": koji_source.python_path(source, places.repo),
            "KOJI_CONTAINERBUILD_CONFIG": str(places.builder_conf),
        },
        ready=_ready_file(places).exists,
        reads=(
            places.conf / "kojid.conf",
            places.builder_conf,
            *_plugin_files(places.repo),
            *(Path(__file__).parent / name for name in ("kojid_run.py", "shims.py")),
        ),
    )


def before_start(places: Places) -> None:
    """So that what an earlier kojid left behind does not pass for the new one."""
    _ready_file(places).unlink(missing_ok=True)


def _ready_file(places: Places) -> Path:
    """Written by kojid_run when the main loop is at work."""
    return places.run / "kojid.ready"


def allowed_scms(ports: Ports) -> str:
    """Our git server and nobody else's; no `common` folder, no `make sources`.

    Koji splits an entry at colons (koji.daemon.SCM.assert_allowed_by_config), yet the host it
    compares has the port in it: so the colon is written as 'a character no host name has'.
    """
    return f"{ports.host}[!A-Za-z0-9.-]{ports.git}:/*:no:"


def _write_conf(places: Places, ports: Ports) -> None:
    for folder in (places.conf, places.state / "kojid", places.state / "mock"):
        folder.mkdir(parents=True, exist_ok=True)
    url = addresses(ports)
    plugins = PLUGIN if (places.repo / "builder" / f"{PLUGIN}.py").exists() else ""
    (places.conf / "kojid.conf").write_text(f"""\
[kojid]
server = {url.hub}
topurl = {url.files}
topdir = {places.topdir}
workdir = {places.state}/kojid
mockdir = {places.state}/mock
user = {HOSTNAME}
password = {HOSTNAME}
maxjobs = 20
minspace = 100
pluginpath = {places.repo}/builder
plugin = {plugins}
allowed_scms = {allowed_scms(ports)}
retry_interval = 2
max_retries = 30
offline_retry_interval = 2
""")
    places.builder_conf.write_text(_builder_conf(places, ports))


def clusters_conf(places: Places) -> Path:
    """Sections of builder.conf that say in which clusters images are built; not there: here."""
    return places.state / "clusters.conf"


def _builder_conf(places: Places, ports: Ports) -> str:
    clusters = clusters_conf(places)
    engine = "clusters" if clusters.exists() else "local"
    registry = addresses(ports).registry
    lookaside = addresses(ports).lookaside
    return f"""\
[builder]
engine = {engine}
work_dir = {places.state}/builder
content_generator = koji-containerbuild
[registry]
url = {registry}
insecure = true
[parents]
default_registry = {registry}
allowed_registries = {registry}
[lookaside]
url = {lookaside}/{{namespace}}/{{name}}/{{filename}}/{{hashtype}}/{{hash}}/{{filename}}
[artifacts]
allowed_domains = {lookaside.partition("://")[2]}
[files]
cache = {places.state}/files
[buildroot]
storage = {places.state}/containers
network = host
[labels]
vendor = Demo
{clusters.read_text() if clusters.exists() else ""}"""


def _plugin_files(repo: Path) -> Iterable[Path]:
    """All that the builder plugin may import: a task is a fork of kojid, with kojid's modules."""
    yield repo / "builder" / f"{PLUGIN}.py"
    for path in sorted((repo / "koji_containerbuild").rglob("*.py")):
        if "devstack" not in path.parts:
            yield path
