"""Files beside an image, kept by the registry: package lists, logs, one OCI artifact per build.

An artifact is an OCI image manifest whose config has our own media type and whose layers are the
files, named by their title annotation. `subject` is not used: docker-registry 2.8 lists no
referrers, so who wants the artifact must know its digest. Large files pass through the disk, never
through memory; one whose media type ends in `+gzip` is compressed on the way in and
uncompressed on the way out.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.registry.client import CHUNK, Registry
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.pullspec import Pullspec

CONFIG_TYPE = "application/vnd.koji.containerbuild.report.v1+json"
TITLE = "org.opencontainers.image.title"
LARGEST = 2 << 30  # bytes of one file, uncompressed: what a broken build may put on our disk
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")


@dataclass(frozen=True)
class ArtifactFile:
    """A file to push. Its name is a bare name: no folders."""

    name: str
    media_type: str  # ending in +gzip: compressed in the registry
    content: bytes | Path


@dataclass(frozen=True)
class PulledFile:
    """A file as it was pushed, now at `path`."""

    name: str
    media_type: str
    path: Path


@dataclass(frozen=True)
class Pulled:
    """A whole artifact."""

    config: bytes
    files: tuple[PulledFile, ...]


def push_artifact(
    registry: Registry,
    spec: Pullspec,
    files: Sequence[ArtifactFile],
    config: bytes,
    tag: str | None = None,
) -> str:
    """Push files into the repository of `spec`; return the artifact's digest.

    The same files give the same digest. Raises ValueError for names that are not bare and unique.
    """
    names = [file.name for file in files]
    if len(set(names)) != len(names) or not all(map(NAME.fullmatch, names)):
        raise ValueError(f"the files of an artifact need bare and different names, not {names}")
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        layers = [_push_file(registry, spec, file, Path(folder) / file.name) for file in files]
    body = manifests.to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": manifests.OCI_MANIFEST,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": registry.put_blob(spec, config),
                "size": len(config),
            },
            "layers": layers,
        }
    )
    to = spec.at_tag(tag) if tag else spec.at_digest(manifests.sha256(body))
    return registry.put_manifest(to, body, manifests.OCI_MANIFEST)


def _push_file(
    registry: Registry, spec: Pullspec, file: ArtifactFile, space: Path
) -> dict[str, Any]:
    content = file.content
    if file.media_type.endswith("+gzip"):
        _compress(content, space)
        content = space
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    digest = registry.put_blob(spec, content)
    space.unlink(missing_ok=True)
    return {
        "mediaType": file.media_type,
        "digest": digest,
        "size": size,
        "annotations": {TITLE: file.name},
    }


def _compress(content: bytes | Path, to: Path) -> None:
    """With neither name nor time in the header: the same content gives the same bytes."""
    with to.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        if isinstance(content, bytes):
            packed.write(content)
            return
        with content.open("rb") as file:
            shutil.copyfileobj(file, packed, CHUNK)


def pull_artifact(registry: Registry, spec: Pullspec, into: Path, largest: int = LARGEST) -> Pulled:
    """Pull an artifact by digest: its config, and its files into the folder `into`.

    Every byte is checked against its digest. The names come from whoever pushed, so one that is
    not a bare name, or is there already, raises ServiceError, as does a file over `largest` bytes.
    """
    if not spec.digest:
        raise ValueError(f"artifacts are pulled by digest, not as {spec}")
    manifest = registry.manifest(spec)
    try:
        document = json.loads(manifest.body)
        kind = document["config"]["mediaType"]
        layers = [
            (one["annotations"][TITLE], one["mediaType"], one["digest"], int(one["size"]))
            for one in document["layers"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{spec} is no artifact of a build.", do=_WRONG) from error
    if kind != CONFIG_TYPE:
        raise ServiceError(f"{spec} is no artifact of a build, but {kind}.", do=_WRONG)
    _check_names(spec, [name for name, *_ in layers], into)
    if any(size > largest for *_, size in layers):
        raise ServiceError(f"A file of {spec} is larger than {largest} bytes.", do=_LARGE)
    files = []
    for name, media_type, digest, _ in layers:
        _pull_file(registry, spec, (media_type, digest), into / name, largest)
        files.append(PulledFile(name, media_type, into / name))
    return Pulled(registry.config(spec, manifest), tuple(files))


def _check_names(spec: Pullspec, names: list[Any], into: Path) -> None:
    there = set(os.listdir(into))
    for name in names:
        bare = isinstance(name, str) and NAME.fullmatch(name)
        if not bare or names.count(name) > 1 or name in there:
            what = f"The artifact {spec} has a file of the bad name {name!r}."
            raise ServiceError(what, do=_WRONG)


def _pull_file(
    registry: Registry, spec: Pullspec, what: tuple[str, str], path: Path, largest: int
) -> None:
    media_type, digest = what
    if not media_type.endswith("+gzip"):
        registry.blob_to_file(spec, digest, path, largest)
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        packed = Path(folder) / "packed"
        registry.blob_to_file(spec, digest, packed, largest)
        try:
            _uncompress(packed, path, largest, f"{path.name} of {spec}")
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, (gzip.BadGzipFile, EOFError, zlib.error)):
                what_is = f"{path.name} of {spec} is no gzip file."
                raise ServiceError(what_is, do=_WRONG) from error
            raise


def _uncompress(packed: Path, path: Path, largest: int, name: str) -> None:
    written = 0
    with gzip.open(packed, "rb") as source, path.open("xb") as target:
        while data := source.read(CHUNK):
            written += target.write(data)
            if written > largest:
                raise ServiceError(f"{name} is larger than {largest} bytes.", do=_LARGE)


_WRONG = "It was not pushed by this system: look at it with `skopeo inspect --raw docker://IMAGE`."
_LARGE = "Did the build write without end? Look at its log in the cluster."
