"""A small RPM distribution, honest in what matters: real rpms, a real key, real dependencies.

Built from the spec files in data/ by rpmbuild and signed, for x86_64 and aarch64. What is a program
on x86_64 is none on aarch64, for which there is no compiler here. It is done once per change of
what goes in: the result stays in the cache, named after a hash of the specs and of the machine's
tools. Each devstack takes a copy: what it has imported into Koji stays signed with the key that its
base image trusts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.devstack.places import DATA
from koji_containerbuild.devstack.process import run_program

SIGNER = "Demo Linux <demo@example.com>"
KEY_FILE = "RPM-GPG-KEY-demo"
BORN = "1763600000"  # build time and newest file time in every rpm
COPIED = ("rpm", "librpm9", "librpmio9", "libc6", "busybox-static", "dash")  # Debian packages
ARCHES = ("x86_64", "aarch64")
WITH_PROGRAMS = ("busybox", "dash", "rpm")  # specs of packages that are not the same on each arch
BASE_PACKAGES = ("demo-release", "busybox", "dash", "rpm", "minidnf")


@dataclass(frozen=True)
class Distro:
    """The signed rpms, source ones too, and the key."""

    folder: Path

    @property
    def key(self) -> Path:
        """The public half of the key."""
        return self.folder / KEY_FILE

    @property
    def builds(self) -> Mapping[str, Sequence[Path]]:
        """Name of the build (name-version-release) → its rpms."""
        found: dict[str, list[str]] = json.loads((self.folder / "builds.json").read_text())
        return {
            nvr: tuple(self.folder / "rpms" / name for name in names)
            for nvr, names in found.items()
        }

    def base_rpms(self, arch: str) -> Sequence[Path]:
        """The binary rpms that the base image of an arch consists of."""
        return [
            path
            for nvr, paths in self.builds.items()
            for path in paths
            if nvr.rsplit("-", 2)[0] in BASE_PACKAGES
            and path.name.endswith((f".{arch}.rpm", ".noarch.rpm"))
        ]


def build(cache: Path) -> Distro:
    """The distribution; built only if the cache has none like it."""
    folder = cache / f"distro-{_content_hash()}"
    if folder.is_dir():
        return Distro(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch, _key_ring() as home:
        work = Path(scratch)
        result = work / "result"
        (result / "rpms").mkdir(parents=True)
        sources = work / "sources"
        shutil.copytree(DATA / "sources", sources)
        public = run_program(["gpg", "--homedir", home, "--armor", "--export", SIGNER])
        for place in (result, sources):
            (place / KEY_FILE).write_text(public)
        rpms = _rpmbuild(work, sources)
        _sign(rpms, home)
        (result / "builds.json").write_text(json.dumps(_builds(rpms), indent=1) + "\n")
        for rpm in rpms:
            rpm.rename(result / "rpms" / rpm.name)
        result.rename(folder)
    return Distro(folder)


def _content_hash() -> str:
    """Of all that goes in: our data, this module, and the versions of what specs copy."""
    versions = run_program(["dpkg-query", "-W", *COPIED])
    digest = hashlib.sha256(versions.encode())
    recipes = [Path(__file__), Path(__file__).with_name("base_image.py")]
    for path in (*sorted(DATA.glob("specs/*")), *sorted(DATA.glob("sources/*")), *recipes):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _key_ring() -> Iterator[str]:
    """A new signing key. In /tmp, because the agent's socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="kcb-gpg-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        run_program([*gpg, "--quick-generate-key", SIGNER, "rsa2048", "sign", "never"])
        try:
            yield home
        finally:
            run_program(["gpgconf", "--homedir", home, "--kill", "all"])


def _rpmbuild(work: Path, sources: Path) -> list[Path]:
    """All specs in one run of rpmbuild, and one more for the packages of another arch."""
    defines = {
        "_topdir": str(work / "top"),
        "_sourcedir": str(sources),
        "_build_id_links": "none",
        "_buildhost": "builder.demo.example.com",
        "_source_payload": "w6.gzdio",
        "_binary_payload": "w6.gzdio",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "dist": ".f43",
        "vendor": "Demo Linux",
    }
    flags = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
    specs = [str(path) for path in sorted((DATA / "specs").glob("*.spec"))]
    born = {"SOURCE_DATE_EPOCH": BORN}
    run_program(["rpmbuild", "-ba", "--quiet", *flags, *specs], env=born)
    again = [path for path in specs if Path(path).stem in WITH_PROGRAMS]
    target = ["--target", "aarch64-linux"]
    run_program(["rpmbuild", "-bb", "--quiet", *target, *flags, *again], env=born)
    return sorted((work / "top").glob("*RPMS/**/*.rpm"))


def _sign(rpms: Sequence[Path], home: str) -> None:
    flags = ["--define", f"_gpg_name {SIGNER}", "--define", f"_gpg_path {home}"]
    program = ["--define", "__gpg /usr/bin/gpg"]
    run_program(["rpmsign", "--addsign", *flags, *program, *(str(path) for path in rpms)])


def _builds(rpms: Sequence[Path]) -> dict[str, list[str]]:
    """Which rpms were built from which source rpm."""
    query = ["rpm", "-qp", "--nosignature", "--qf", "%{SOURCERPM}\n"]
    origins = run_program([*query, *(str(path) for path in rpms)]).split()
    found: dict[str, list[str]] = {}
    for path, origin in zip(rpms, origins):
        source = path.name if origin == "(none)" else origin
        found.setdefault(source[: -len(".src.rpm")], []).append(path.name)
    return found
