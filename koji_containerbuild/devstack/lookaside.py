"""The lookaside cache: files by checksum below one folder, served by the hub's own web server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lookaside:
    """Takes files as `fedpkg new-sources` gives them, and keeps them as Fedora's cache does."""

    folder: Path
    base_url: str

    def upload(self, repository: str, filename: str, content: bytes) -> str:
        """Put a file there for `container/hello`, say; its line for the file `sources`."""
        checksum = hashlib.sha512(content).hexdigest()
        self.publish(f"{repository}/{filename}/sha512/{checksum}/{filename}", content)
        return f"SHA512 ({filename}) = {checksum}\n"

    def publish(self, path: str, content: bytes) -> str:
        """Put a file below another path; its URL."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return f"{self.base_url}/{path}"
