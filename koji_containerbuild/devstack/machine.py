"""What this machine must have: root, programs, Python modules. Says all that is missing at once."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from koji_containerbuild.errors import ConfigError

PROGRAMS = {  # program -> Debian package
    "git": "git",
    "openssl": "openssl",
    "gpg": "gnupg",
    "rpm": "rpm",
    "rpmbuild": "rpm",
    "rpmsign": "rpm",
    "createrepo_c": "createrepo-c",
    "docker-registry": "docker-registry",
    "buildah": "buildah",
    "skopeo": "skopeo",
    "runc": "runc",
    "dash": "dash",
}
FILES = {"/bin/busybox": "busybox-static", "/usr/bin/createrepo_c": "createrepo-c"}
CLUSTER_PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "dpkg-source": "dpkg-dev",
}
CLUSTER_FILES = {"/usr/lib/cni/ptp": "containernetworking-plugins", **FILES}
MODULES = {  # Python module -> how to get it
    "rpm": "apt-get install python3-rpm (and a venv of /usr/bin/python3 --system-site-packages)",
    "psycopg2": "pip install psycopg2-binary",
    "cheroot": "pip install cheroot",
    "Cheetah": "pip install CT3",
    "koji": "pip install --no-deps koji==1.36.1",
    "requests": "pip install requests",
    "dateutil": "pip install python-dateutil",
    "defusedxml": "pip install defusedxml",
    "six": "pip install six",
}


def check() -> None:
    """Raise ConfigError that names everything that is missing, and how to get it."""
    _require_root("it runs PostgreSQL as user postgres, and buildah")
    packages = set(_missing_packages(PROGRAMS, FILES))
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        packages.add("postgresql")
    _require(packages)
    modules = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if modules:
        raise ConfigError(
            f"Python modules are missing: {', '.join(modules)}.",
            do="Run: " + "; ".join(MODULES[name] for name in modules),
        )


def check_cluster() -> None:
    """The same for the cluster."""
    _require_root("its cluster makes mounts, networks and control groups")
    _require(set(_missing_packages(CLUSTER_PROGRAMS, CLUSTER_FILES)))


def postgres_bin() -> Path:
    """Debian's folder of the newest PostgreSQL server; it is not in PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        raise ConfigError(
            "There is no PostgreSQL server below /usr/lib/postgresql.",
            do="Run: apt-get install --no-install-recommends postgresql",
        )
    return max(found, key=lambda path: float(path.parent.name))


def _require_root(why: str) -> None:
    if os.geteuid() != 0:
        raise ConfigError(
            f"The devstack must be started by root: {why}.",
            do="Run it with sudo, or in a container or virtual machine of your own.",
        )


def _require(missing: set[str]) -> None:
    packages = sorted(missing)
    if packages:
        raise ConfigError(
            f"Programs are missing, of the Debian packages: {', '.join(packages)}.",
            do=f"Run: apt-get install --no-install-recommends {' '.join(packages)}",
        )


def _missing_packages(programs: Mapping[str, str], files: Mapping[str, str]) -> Iterable[str]:
    for program, package in programs.items():
        if shutil.which(program) is None:
            yield package
    for path, package in files.items():
        if not Path(path).exists():
            yield package
