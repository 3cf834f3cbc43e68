"""RPM packages and databases, real ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.rpms import install

SPEC = """
Name: {name}
Version: 1.0
Release: 2.fc43
{epoch}
Summary: x
License: MIT
BuildArch: noarch
%description
%files
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if not shutil.which("rpmbuild"):
        pytest.skip("rpmbuild is not installed")
    folder = tmp_path_factory.mktemp("rpms")
    for name, epoch in (("zlib-x", ""), ("app", "Epoch: 3")):
        spec = folder / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, epoch=epoch))
        define = ["-D", f"_topdir {folder}", "-D", "_rpmfilename %{NAME}.rpm"]
        subprocess.run(["rpmbuild", "-bb", *define, str(spec)], check=True, capture_output=True)
    return sorted((folder / "RPMS").glob("*.rpm"))


@pytest.fixture
def tree(tmp_path: Path, packages: list[Path]) -> Path:
    """A file tree with an RPM database in it."""
    database = tmp_path / "tree" / "usr/lib/sysimage/rpm"
    database.mkdir(parents=True)
    install(database, packages)
    return tmp_path / "tree"
