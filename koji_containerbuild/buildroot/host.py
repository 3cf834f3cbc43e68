"""The machine or container that the image is built in, as Koji's build record will tell of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from koji_containerbuild import __version__
from koji_containerbuild.buildroot.programs import output
from koji_containerbuild.buildroot.stages.list_rpms import query
from koji_containerbuild.buildroot.tools import Builder
from koji_containerbuild.contract.image import Buildroot, Rpm, Tool


def describe(builder: Builder) -> Buildroot:
    """Whatever is true of this place: nothing is made up where something is not known."""
    system = platform.uname()
    return Buildroot(
        host=system.node,
        os=_os(),
        arch=system.machine,
        container="none" if not Path("/run/.containerenv").exists() else "oci",
        tools=(Tool("koji-containerbuild", __version__), Tool("git", _git()), *builder.tools()),
        rpms=_rpms(),
    )


def _os() -> str:
    """ID and VERSION_ID of os-release(5)."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.system()
    facts = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    return f"{facts.get('ID', 'linux')}-{facts.get('VERSION_ID', '')}".rstrip("-")


def _git() -> str:
    return output(["git", "--version"]).decode().split()[2]


def _rpms() -> tuple[Rpm, ...]:
    for place in ("/usr/lib/sysimage/rpm", "/var/lib/rpm"):
        if os.path.exists(f"{place}/rpmdb.sqlite"):
            return query(Path(place))
    return ()
