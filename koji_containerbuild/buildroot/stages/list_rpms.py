"""List the packages in the image, from the image's own RPM database.

Takes:   the file tree of the image
Gives:   one record per package, or that there is no database
Touches: a copy of the database in a temporary folder
Fails:   when there is a database that is too large, or that the host's rpm cannot read

The database is the image's, so not trusted: a copy is read by an rpm that runs as nobody.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

from koji_containerbuild.buildroot.programs import NOBODY, output
from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.contract.image import Rpm
from koji_containerbuild.errors import BuildFailed, ConfigError, ServiceError

MOST = 2 * 2**30  # bytes of a database; one of 1,000 packages has some 30 MiB
PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
BACKENDS = {"rpmdb.sqlite": "sqlite", "Packages.db": "ndb", "Packages": "bdb"}  # by file

_SIGNATURE = "%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{%|DSAHEADER?{%{DSAHEADER:pgpsig}}:{%|SIGPGP?{%{SIGPGP:pgpsig}}:{%|SIGGPG?{%{SIGGPG:pgpsig}}:{-}|}|}|}|"  # noqa: E501
FORMAT = (
    f"%{{NAME}}\t%{{VERSION}}\t%{{RELEASE}}\t%{{EPOCH}}\t%{{ARCH}}\t%{{SIGMD5}}\t{_SIGNATURE}\n"
)


def list_rpms(tree: Path) -> Optional[tuple[Rpm, ...]]:
    """Sorted by name; None for an image without an RPM database.

    Of two databases the first that has packages counts: the old place, where it is not a link to
    the new one, often has an empty one or the leavings of a parent.
    """
    found: Optional[tuple[Rpm, ...]] = None
    for database in databases(tree):
        found = _read(database, f"/{database.relative_to(tree)}")
        if found:
            break
    return found


def databases(tree: Path) -> Iterator[Path]:
    """The file of the RPM database in each place that has one."""
    for folder in filter(None, [inside(tree, place) for place in PLACES]):
        there = [folder / name for name in BACKENDS if _is_file(folder / name)]
        yield from there[:1]


def _read(database: Path, shown: str) -> tuple[Rpm, ...]:
    name = database.name
    if database.stat().st_size > MOST:  # a file with holes costs an image nothing
        raise BuildFailed(f"The RPM database {shown} of the image is larger than {MOST >> 20} MiB.")
    # Not in /tmp, which may be memory, nor in a folder of ours, where nobody may not go.
    with tempfile.TemporaryDirectory(prefix="koji-containerbuild-rpmdb-", dir="/var/tmp") as copied:
        copy = Path(copied)
        _copy(database.parent, (name, f"{name}-wal"), copy)
        try:
            rpms = query(copy)
        except ServiceError as error:
            raise ServiceError(
                f"The RPM database {shown} of the image cannot be read: {error.what}"
            ) from error
        # An rpm that knows nothing of this kind of database makes an empty one of its own.
        if any((copy / other).exists() for other in BACKENDS if other != name):
            backend = BACKENDS[name]
            raise ConfigError(
                f"The RPM database {shown} of the image is of the kind {backend}, which the rpm "
                f"of {os.uname().nodename} cannot read.",
                do=f"Install an rpm there that is built with {backend}, as Fedora's is.",
            )
        return rpms


def query(database: Path) -> tuple[Rpm, ...]:
    """The packages in an RPM database on this machine. Raises ServiceError."""
    query = ["rpm", "--dbpath", str(database), "-qa", "--qf", FORMAT]
    text = output(query, hostile=True).decode(errors="replace")
    rpms = [_rpm(line.split("\t")) for line in text.splitlines() if line.count("\t") >= 6]
    return tuple(sorted((rpm for rpm in rpms if not _is_key(rpm)), key=lambda rpm: rpm.nvra))


def _is_key(rpm: Rpm) -> bool:
    """A key that rpm trusts stands in its database like a package, but has no arch."""
    return rpm.name == "gpg-pubkey" and rpm.arch == "(none)"


def _rpm(fields: list[str]) -> Rpm:
    name, version, release, epoch, arch, sigmd5, signature = fields[:7]
    key = re.search(r"[Kk]ey (?:ID|[Ff]ingerprint):? ([0-9a-fA-F]{8,})", signature)
    return Rpm(
        name=name,
        version=version,
        release=release,
        epoch=int(epoch) if epoch.isdigit() else None,
        arch=arch,
        sigmd5=sigmd5.lower(),
        signature=key[1].lower()[-16:] if key else None,
    )


def _copy(folder: Path, names: Iterable[str], to: Path) -> None:
    """For an rpm that runs as nobody."""
    for name in names:
        if _is_file(folder / name):
            shutil.copyfile(folder / name, to / name)
            os.chmod(to / name, 0o644)
    if os.getuid() == 0:
        for path in (to, *to.iterdir()):
            os.chown(path, NOBODY, NOBODY)


def _is_file(path: Path) -> bool:
    """Not a link: it may lead out of the image."""
    return not path.is_symlink() and path.is_file()
