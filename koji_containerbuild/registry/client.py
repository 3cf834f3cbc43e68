"""A registry: manifests, blobs and tags, byte for byte, every digest checked.

    with Registry(RegistrySettings(auth_file="/etc/koji-containerbuild/auth.json")) as registry:
        manifest = registry.manifest(Pullspec.parse("quay.io/fedora/fedora:latest"))
        registry.tag(Pullspec.parse("reg.example.com/web@sha256:…"), "1.0-3")

Everything may be done twice, and is tried again by itself when a connection or the registry
fails (see `transport`). One Registry may be used by several threads.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from koji_containerbuild.errors import OddManifest, ServiceError
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.pullspec import DIGEST, Pullspec

if TYPE_CHECKING:
    from requests import Response

    from koji_containerbuild.registry.failures import Ask
    from koji_containerbuild.registry.transport import Repository, Transport

CHUNK = 1 << 20
HUGE = 64 << 30  # bytes; more than a disk should take of one blob
SMALL = 16 << 20  # bytes; no config and no manifest is larger, and more is not taken into memory


@dataclass(frozen=True)
class RegistrySettings:
    """How registries are reached."""

    insecure: tuple[str, ...] = ()  # `host` or `host:port`, as written in references: plain HTTP
    auth_file: str = ""  # path of a docker or podman auth.json
    ca_file: str = ""  # path of a CA bundle; empty: the system's
    timeout: float = 60.0  # seconds of silence


@dataclass(frozen=True)
class Manifest:
    """An image or an index, exactly as the registry holds it."""

    spec: Pullspec  # as asked
    digest: str
    media_type: str
    body: bytes = field(repr=False)

    @property
    def is_index(self) -> bool:
        return self.media_type in manifests.INDEX_TYPES

    @property
    def platforms(self) -> tuple[manifests.Platform, ...]:
        """Of an index. Raises ServiceError for an image."""
        return manifests.platforms(self.body)


class Registry:
    """All registries, in fact: each call's Pullspec says which. Close it, or use it in `with`.

    Every call raises ServiceError (naming the registry, what was asked and what to do), and
    NotFound when the registry says that the thing is not there.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._made_of = (settings, sleep, clock)

    # Loaded with the first word to a registry, since that costs 0.2 s.

    @cached_property
    def _transport(self) -> Transport:
        from koji_containerbuild.registry.transport import Transport

        return Transport(*self._made_of)

    @cached_property
    def _ask(self) -> type[Ask]:
        from koji_containerbuild.registry.failures import Ask

        return Ask

    @cached_property
    def _pieces(self) -> Callable[[Response, int], Iterator[bytes]]:
        from koji_containerbuild.registry.transport import pieces

        return pieces

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if "_transport" in vars(self):
            self._transport.close()

    def hello(self, spec: Pullspec) -> None:
        """Raises ServiceError unless a registry answers there; passwords do not matter yet."""
        ask = self._ask(spec, "read", "page /v2/")
        self._transport.run(ask, lambda repository: repository.hello())

    # -- manifests

    def manifest(self, spec: Pullspec) -> Manifest:
        """The manifest at a tag or digest: one request, whatever its type."""
        ask = self._ask(spec, "read", f"image {spec}")
        accept = {"Accept": ", ".join(manifests.ALL_TYPES)}
        answer = self._transport.request(ask, "get", f"manifests/{spec.reference}", headers=accept)
        body = answer.content
        said = answer.headers.get("Docker-Content-Digest", "")
        for expected in filter(None, (spec.digest, said)):
            _check(ask, expected, _digest(body, expected))
        kind = answer.headers.get("Content-Type", "")
        media_type = manifests.media_type_of(body, kind)
        if not media_type:
            raise OddManifest(
                f"The registry {spec.registry} answered for {spec} with no manifest that we know.",
                kind=kind[:100],
                do=f"Look at it with `skopeo inspect --raw docker://{spec}`.",
            )
        return Manifest(spec, spec.digest or said or _digest(body), media_type, body)

    def put_manifest(self, spec: Pullspec, body: bytes, media_type: str) -> str:
        """Push these bytes under the tag or digest of `spec`; return the digest."""
        digest = _digest(body, spec.digest)
        if spec.digest and spec.digest != digest:
            raise ValueError(f"these bytes are {digest}, not {spec.digest}")
        ask = self._ask(spec, "write", f"the manifest {spec}")
        path = f"manifests/{spec.reference}"
        headers = {"Content-Type": media_type}
        answer = self._transport.request(ask, "put", path, data=body, headers=headers)
        said = answer.headers.get("Docker-Content-Digest", digest)
        _check(ask, said, _digest(body, said))
        return digest

    def tag(self, spec: Pullspec, tag: str) -> str:
        """Give that very manifest the name `tag`; return its digest."""
        manifest = self.manifest(spec)
        return self.put_manifest(spec.at_tag(tag), manifest.body, manifest.media_type)

    def delete_manifest(self, spec: Pullspec) -> bool:
        """Delete by digest; False where the registry doesn't delete. Gone already is deleted."""
        if not spec.digest:
            raise ValueError(f"manifests are deleted by digest, not as {spec}")
        ask = self._ask(spec, "delete", f"the manifest {spec}")
        path = f"manifests/{spec.digest}"
        return self._transport.request(ask, "delete", path, also=(404, 405)).status_code != 405

    # -- blobs

    def config(self, spec: Pullspec, manifest: Manifest) -> bytes:
        """The config of an image, as bytes of JSON."""
        return self.blob(spec, manifests.config_digest(manifest.body))

    def blob(self, spec: Pullspec, digest: str, at_most: int = SMALL) -> bytes:
        """A small blob. Raises ServiceError when it is larger than `at_most` bytes."""
        ask = self._blob(spec, "read", digest)

        chunks = self._transport.run(
            ask, lambda repository: list(_pieces(repository, ask, digest, at_most))
        )
        return b"".join(chunks)

    def blob_to_file(self, spec: Pullspec, digest: str, path: Path, at_most: int = HUGE) -> int:
        """Write a blob to a file, in pieces; return the number of bytes.

        When it fails, what was written is removed.
        """
        ask = self._blob(spec, "read", digest)

        def operation(repository: Repository) -> int:
            with path.open("wb") as file:
                return sum(map(file.write, _pieces(repository, ask, digest, at_most)))

        try:
            return self._transport.run(ask, operation)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def has_blob(self, spec: Pullspec, digest: str) -> bool:
        """Whether the repository of `spec` holds the blob."""
        ask = self._blob(spec, "read", digest)
        return self._transport.request(ask, "head", f"blobs/{digest}", also=(404,)).ok

    def put_blob(self, spec: Pullspec, data: bytes | Path) -> str:
        """Push bytes or a file into the repository of `spec`, unless there; return the digest."""
        if isinstance(data, Path):
            ask = self._ask(spec, "write", f"the file {data.name} to {spec.name}")
            name = str(data)
            return self._transport.run(ask, lambda repository: repository.upload(filename=name))
        digest = _digest(data)
        ask = self._blob(spec, "write", digest)
        return self._transport.run(
            ask, lambda repository: repository.upload(data=data, digest=digest)
        )

    def try_upload(self, spec: Pullspec) -> None:
        """Raises ServiceError unless we may push there. The upload is given up again."""
        ask = self._ask(spec, "write", f"to {spec.name}")
        self._transport.run(ask, lambda repository: repository.begin_and_cancel())

    def mount_blob(self, spec: Pullspec, digest: str, from_repository: str) -> bool:
        """Take a blob over from another repository of the same registry; False when refused."""
        return self._transport.mount(self._blob(spec, "write", digest), digest, from_repository)

    def copy_blob(self, source: Pullspec, dest: Pullspec, digest: str) -> None:
        """Bring a blob from one repository to another, through this machine only if need be."""
        if source.name == dest.name or self.has_blob(dest, digest):
            return
        if source.registry == dest.registry and self.mount_blob(dest, digest, source.repository):
            return
        reading, path = self._blob(source, "read", digest), f"blobs/{digest}"
        writing = self._ask(dest, "write", f"the blob {digest} of {source.name} to {dest.name}")

        def operation(repository: Repository) -> None:
            with self._transport.request(reading, "get", path, stream=True) as answer:
                chunks = _verified(self._pieces(answer, CHUNK), reading, digest)
                size = int(answer.headers.get("Content-Length", 0))
                data = _Sized(size, chunks) if size else chunks
                repository.upload(data=data, digest=digest, check_exists=False)

        self._transport.run(writing, operation)

    def _blob(self, spec: Pullspec, verb: str, digest: str) -> Ask:
        ask = self._ask(spec, verb, f"blob {digest} of {spec.name}")
        _check_form(ask, digest)  # it comes from a manifest, and goes into a URL
        return ask


class _Sized:
    """Chunks of a known total: so the upload says its length, which every registry understands."""

    def __init__(self, size: int, chunks: Iterator[bytes]) -> None:
        self._size = size
        self._chunks = chunks

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _digest(body: bytes, like: str = "") -> str:
    """The digest of the bytes, by the algorithm of another digest."""
    algorithm = like.partition(":")[0] if DIGEST.fullmatch(like) else "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def _pieces(repository: Repository, ask: Ask, digest: str, at_most: int) -> Iterator[bytes]:
    """The blob, verified at its end; raises ServiceError beyond `at_most` bytes."""
    size = 0
    for chunk in _verified(repository.download(f"blobs/{digest}", CHUNK), ask, digest):
        size += len(chunk)
        if size > at_most:
            what = f"The {ask.thing} is larger than {at_most} bytes."
            raise ServiceError(what, do="Is it the right one?")
        yield chunk


def _verified(chunks: Iterable[bytes], ask: Ask, digest: str) -> Iterator[bytes]:
    """The same chunks; raises ServiceError at their end when they are not those of the digest."""
    algorithm = digest.partition(":")[0]
    hasher = hashlib.new(algorithm)
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    _check(ask, digest, f"{algorithm}:{hasher.hexdigest()}")


def _check(ask: Ask, expected: str, got: str) -> None:
    if expected != got:
        raise ServiceError(
            f"The registry {ask.spec.registry} gave other bytes than those of {expected}, "
            f"asked to {ask.verb} {ask.thing}: {got}.",
            do="Its storage, or a proxy before it, is broken: tell those who run it.",
        )


def _check_form(ask: Ask, digest: str) -> None:
    if not DIGEST.fullmatch(digest):
        raise ServiceError(
            f"'{digest[:100]}' is not a digest, wanted to {ask.verb} it in {ask.spec.name}.",
            do="The manifest that names it is broken: build or push the image again.",
        )
