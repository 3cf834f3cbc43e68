"""Packages of Debian 12, sources too, without touching the machine's own apt or dpkg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ConfigError

RELEASE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Packages:
    """A list of packages of its own, from the mirror that the machine uses.

    The machine's own list has no sources on most machines.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: dict[str, str] = {}  # of what was fetched: file names, with versions
        self._options: list[str] = []

    def update(self) -> None:
        """Fetch the list."""
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        mirror = _mirror()
        sources = self.folder / "sources.list"
        sources.write_text(
            "".join(f"{kind} [signed-by={KEYRING}] {mirror} {RELEASE} main\n"
                    for kind in ("deb", "deb-src"))
        )  # fmt: skip
        settings = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",  # user _apt cannot write below our folder
        }
        self._options = [
            word for item in settings.items() for word in ("-o", f"{item[0]}={item[1]}")
        ]
        self._apt(["update"], self.folder)

    def source(self, name: str, folder: Path) -> Path:
        """Fetch a source package; its .dsc."""
        folder.mkdir(parents=True, exist_ok=True)
        self._apt(["source", "--download-only", name], folder)
        found = next(folder.glob(f"{name}_*.dsc"))
        self.versions[name] = found.name
        return found

    def unpack(self, names: Iterable[str], root: Path) -> Path:
        """Fetch packages and unpack them below `root`; nothing is installed."""
        folder = self.folder / "packages"
        folder.mkdir(exist_ok=True)
        self._apt(["download", *names], folder)
        for path in sorted(folder.glob("*.deb")):
            run_program(["dpkg-deb", "-x", str(path), str(root)])
            self.versions[path.name.partition("_")[0]] = path.name
        return root

    def _apt(self, words: list[str], cwd: Path) -> None:
        run_program(["apt-get", "-qq", *self._options, *words], cwd=cwd)


def _mirror() -> str:
    """Where this machine has Debian's main archive from."""
    tail = f"/dists/{RELEASE}/InRelease'"
    for line in run_program(["apt-get", "update", "--print-uris"]).splitlines():
        address = line.split()[0]
        if address.endswith(tail):
            return address[1 : -len(tail)]
    raise ConfigError(
        f"This machine's apt knows no mirror of Debian's {RELEASE}.",
        do="The cluster's programs are compiled from Debian 12: run it there.",
    )
