"""List the packages in the image, from the image's own RPM database.

Takes:   the file tree of the image
Gives:   one record per package
Touches: a copy of the database in a temporary folder
Fails:   when there is a database that the host's rpm cannot read

The database is the image's, so not trusted: a copy is read by an rpm that runs as nobody.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from koji_containerbuild.buildroot.programs import NOBODY, output
from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.contract.image import Rpm

PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
FILES = ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")

_SIGNATURE = "%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{%|DSAHEADER?{%{DSAHEADER:pgpsig}}:{%|SIGPGP?{%{SIGPGP:pgpsig}}:{%|SIGGPG?{%{SIGGPG:pgpsig}}:{-}|}|}|}|"  # noqa: E501
FORMAT = (
    f"%{{NAME}}\t%{{VERSION}}\t%{{RELEASE}}\t%{{EPOCH}}\t%{{ARCH}}\t%{{SIGMD5}}\t{_SIGNATURE}\n"
)


def list_rpms(tree: Path) -> tuple[Rpm, ...]:
    """Sorted by name; none for an image without an RPM database."""
    with tempfile.TemporaryDirectory(prefix="rpmdb-") as folder:
        copy = Path(folder)
        found = any(_copy_database(tree, place, copy) for place in PLACES)
        return query(copy) if found else ()


def query(database: Path) -> tuple[Rpm, ...]:
    """The packages in an RPM database on this machine. Raises ServiceError."""
    query = ["rpm", "--dbpath", str(database), "-qa", "--qf", FORMAT]
    text = output(query, as_nobody=True).decode(errors="replace")
    rpms = [_rpm(line.split("\t")) for line in text.splitlines() if line.count("\t") >= 6]
    return tuple(sorted((r for r in rpms if r.name != "gpg-pubkey"), key=lambda r: r.nvra))


def _rpm(fields: list[str]) -> Rpm:
    name, version, release, epoch, arch, sigmd5, signature = fields[:7]
    key = re.search(r"[Kk]ey ID ([0-9a-fA-F]{8,})", signature)
    return Rpm(
        name=name,
        version=version,
        release=release,
        epoch=int(epoch) if epoch.isdigit() else None,
        arch=arch,
        sigmd5=sigmd5.lower(),
        signature=key[1].lower() if key else None,
    )


def _copy_database(tree: Path, place: str, to: Path) -> bool:
    folder = inside(tree, place)
    if folder is None or not folder.is_dir():
        return False
    found = False
    for name in FILES:
        source = folder / name
        if source.exists() and not source.is_symlink() and stat.S_ISREG(source.stat().st_mode):
            shutil.copyfile(source, to / name)
            os.chmod(to / name, 0o644)
            found = True
    if found and os.getuid() == 0:
        for path in (to, *to.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    return found
