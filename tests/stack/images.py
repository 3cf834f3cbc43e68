"""Read an image in a registry, with nothing of ours: what a stranger would find there."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def get(url: str, accept: str = "*/*") -> tuple[bytes, str]:
    """The body, and its media type."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers.get("Content-Type", "")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tags(registry: str, repository: str) -> list[str]:
    """All tags; none for a repository that is not there."""
    try:
        body, _ = get(f"http://{registry}/v2/{repository}/tags/list")
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return []
    return sorted(json.loads(body).get("tags") or ())


@dataclass(frozen=True)
class Image:
    """The image for amd64, and the index that led to it."""

    base: str  # URL of the repository
    index: dict[str, Any]
    index_type: str
    index_digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]

    @classmethod
    def pull(cls, spec: str) -> Image:
        """`spec`: host:port/repository@digest or :tag."""
        host, _, rest = spec.partition("/")
        repository, _, reference = rest.partition("@" if "@" in rest else ":")
        base = f"http://{host}/v2/{repository}"
        body, kind = get(f"{base}/manifests/{reference}", f"{LIST}, {MANIFEST}")
        index = json.loads(body)
        manifest = index
        if "manifests" in index:
            entry = index["manifests"][0]
            found, _ = get(f"{base}/manifests/{entry['digest']}", MANIFEST)
            assert digest_of(found) == entry["digest"]
            assert len(found) == entry["size"]
            manifest = json.loads(found)
        config, _ = get(f"{base}/blobs/{manifest['config']['digest']}")
        return cls(base, index, kind, digest_of(body), manifest, json.loads(config))

    @property
    def layers(self) -> list[str]:
        return [layer["digest"] for layer in self.manifest["layers"]]

    @property
    def labels(self) -> dict[str, str]:
        return self.config["config"].get("Labels") or {}

    @functools.cached_property
    def top(self) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        """The newest layer: path without leading slash → entry and content."""
        blob, _ = get(f"{self.base}/blobs/{self.layers[-1]}")
        plain = gzip.decompress(blob)
        assert digest_of(plain) == self.config["rootfs"]["diff_ids"][-1]
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            return {
                entry.name.removeprefix("./").strip("/"): (
                    entry,
                    (archive.extractfile(entry).read() if entry.isreg() else b""),  # type: ignore[union-attr]
                )
                for entry in archive
            }
