"""An image store that works, without buildah: it pulls, builds by three instructions, and pushes.

Of a Dockerfile it obeys FROM, LABEL, COPY --from of a given folder, RUN false (which fails) and
RUN write PATH; every image is one layer more than its parent, as with buildah.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.step import InstructionFailed
from koji_containerbuild.buildroot.tools import BuildJob
from koji_containerbuild.contract.image import Tool
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST, goarch, sha256, to_bytes
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.dockerfile import parse

LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EMPTY: dict[str, Any] = {
    "os": "linux",
    "config": {},
    "rootfs": {"type": "layers", "diff_ids": []},
    "history": [],
}


@dataclass
class Image:
    config: dict[str, Any]
    layers: list[bytes] = field(default_factory=list)  # tars, not compressed


def layer(files: dict[str, bytes], time: int) -> bytes:
    """A tar of these files."""
    with io.BytesIO() as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for name, data in sorted(files.items()):
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size, entry.mtime = len(data), time
                tar.addfile(entry, io.BytesIO(data))
        return raw.getvalue()


def _unpack(data: bytes, to: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            path = to / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar.extractfile(entry).read())  # type: ignore[union-attr]
            os.utime(path, (entry.mtime, entry.mtime))


def push(registry: Registry, to: Pullspec, image: Image, arch: str = "x86_64") -> str:
    """Image to registry; the digest of its manifest."""
    config = to_bytes({**image.config, "architecture": goarch(arch)})
    blobs = [gzip.compress(data, mtime=0) for data in image.layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                   "digest": registry.put_blob(to, config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": registry.put_blob(to, blob), "size": len(blob)} for blob in blobs],
    }  # fmt: skip
    return registry.put_manifest(to, to_bytes(manifest), DOCKER_MANIFEST)


@dataclass
class FakeContainer:
    """Its shell knows `test -e PATH`, `write PATH`, and `exit NUMBER`."""

    tree: Path

    def run(self, words: Sequence[str], console: Console) -> tuple[int, str]:
        shell, flag, command = words
        assert (shell, flag) == ("/bin/sh", "-c")
        verb, _, what = command.partition(" ")
        path = self.tree / what.rpartition(" ")[2].strip("/")
        status = 0
        if verb == "test":
            status = 0 if path.exists() else 1
        elif verb == "write":
            path.write_bytes(b"written by a test")
        else:
            status = int(what)
        console.write(f"ran {command}\n".encode())
        return status, f"ran {command}"


class FakeBuilder:
    def __init__(self, registry: Registry, arch: str = "x86_64") -> None:
        self.images: dict[str, Image] = {"scratch": Image(EMPTY)}
        self.built: list[str] = []  # texts of Dockerfiles
        self._registry = registry
        self.arch = arch

    def with_files(self, parent: str, name: str, files: Path, folder: str) -> None:
        if name not in self.images:
            self.pull(parent)
            inside = {f"{folder}{path.name}": path.read_bytes() for path in files.iterdir()}
            self.images[name] = self._on(self.images[parent], inside, 0, "files")

    def pull(self, image: str) -> None:
        if image in self.images:
            return
        spec = Pullspec.parse(image)
        assert spec.digest, "parents are pulled by digest"
        manifest = self._registry.manifest(spec)
        assert not manifest.is_index, "a store keeps one image by each name"
        config = json.loads(self._registry.config(spec, manifest))
        blobs = [one["digest"] for one in json.loads(manifest.body)["layers"]]
        tars = [gzip.decompress(self._registry.blob(spec, digest)) for digest in blobs]
        self.images[image] = Image(config, tars)

    def build(self, job: BuildJob, console: Console) -> None:
        text = job.dockerfile.read_text()
        self.built.append(text)
        dockerfile = parse(text.replace("COPY --from=koji-containerbuild", "#COPY"))
        final = dockerfile.final_parent or "scratch"
        files: dict[str, bytes] = {}
        for line in text.splitlines():
            console.write(f"STEP: {line}\n".encode())
            if line == "RUN false":
                raise InstructionFailed("exit status 1.", line, "it said no", do="Look at it.")
            if line.startswith("RUN write "):
                files[line.split()[2]] = b"written"
            if line.startswith("COPY --from="):
                files.update(self._copied(job, line))
        image = self._on(self.images[final], files, job.created, "build")
        image.config["config"] = {
            **image.config["config"],
            "Labels": {**(image.config["config"].get("Labels") or {}), **dockerfile.labels({})},
            "Hostname": "a1b2",
        }
        self.images[job.image] = image

    @staticmethod
    def _copied(job: BuildJob, line: str) -> dict[str, bytes]:
        _, context, source, to = line.split()
        folder = job.files[context.partition("=")[2]]
        path = folder / source.strip("/")
        paths = path.iterdir() if path.is_dir() else [path]
        return {f"{to.rstrip('/')}/{one.name}": one.read_bytes() for one in paths}

    @staticmethod
    def _on(parent: Image, files: dict[str, bytes], time: int, comment: str) -> Image:
        config, data = copy.deepcopy(parent.config), layer(files, time)
        config["rootfs"]["diff_ids"].append(sha256(data))
        config["history"].append({"created_by": "x", "comment": f"FROM {comment} localhost/x"})
        return Image(config, [*parent.layers, data])

    def labels(self, image: str) -> Mapping[str, str]:
        return self.images[image].config["config"]["Labels"]

    def layer_sizes(self, image: str) -> Sequence[int]:
        return [len(data) for data in self.images[image].layers]

    @contextmanager
    def container(self, image: str) -> Iterator[FakeContainer]:
        with tempfile.TemporaryDirectory() as name:
            for data in self.images[image].layers:
                _unpack(data, Path(name))
            yield FakeContainer(Path(name))

    def push(self, image: str, to: str, console: Console) -> None:
        push(self._registry, Pullspec.parse(to), self.images[image], self.arch)

    def remove(self, image: str) -> None:
        self.images.pop(image, None)

    def tools(self) -> Sequence[Tool]:
        return [Tool("fake-builder", "1.0")]
