"""The machine or container that the image is built in, as Koji's build record will tell of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from koji_containerbuild import __version__
from koji_containerbuild.buildroot.programs import output
from koji_containerbuild.buildroot.stages.list_rpms import databases, query
from koji_containerbuild.buildroot.tools import Builder
from koji_containerbuild.contract.image import Buildroot, Rpm, Tool


def describe(builder: Builder) -> Buildroot:
    """Whatever is true of this place: nothing is made up where something is not known."""
    system = platform.uname()
    return Buildroot(
        host=system.node,
        os=_os(),
        arch=system.machine,
        container=_container(),
        tools=(Tool("koji-containerbuild", __version__), Tool("git", _git()), *builder.tools()),
        rpms=installed(Path("/")),
    )


def _container() -> str:
    """What the place is called that we run in: systemd's and podman's variable, then podman's file.

    Our own image sets the variable, since Kubernetes tells nothing.
    """
    kind = os.environ.get("container", "")
    return kind or ("oci" if Path("/run/.containerenv").exists() else "none")


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


def installed(root: Path) -> tuple[Rpm, ...]:
    """The packages of this place. Its database is trusted, and large: it is read where it is."""
    for database in databases(root):
        if rpms := query(database.parent):
            return rpms
    return ()
