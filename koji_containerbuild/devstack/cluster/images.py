"""Images without a build: an archive of one layer, as `docker save` writes it and ctr reads it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from koji_containerbuild.devstack.cluster.node import PAUSE
from koji_containerbuild.rules.manifests import goarch

BUSYBOX = Path("/bin/busybox")  # of Debian's busybox-static
TEST_IMAGE = "localhost/busybox:1"
COMMANDS: Mapping[str, list[str]] = {TEST_IMAGE: ["/bin/sh"], PAUSE: ["/bin/sleep", "2147483647"]}
FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "var/tmp")


def write_test_images(path: Path) -> None:
    """busybox, and what holds a pod's network (with the same layer)."""
    layer = _layer()
    digest = hashlib.sha256(layer).hexdigest()
    manifest = []
    with tarfile.open(path, "w") as archive:
        _add(archive, f"{digest}/layer.tar", layer)
        for reference, command in COMMANDS.items():
            config = json.dumps(
                {
                    "architecture": goarch(os.uname().machine),
                    "os": "linux",
                    "config": {"Cmd": command, "Env": ["PATH=/bin"]},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                }
            ).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, name, config)
            layers = [f"{digest}/layer.tar"]
            manifest.append({"Config": name, "RepoTags": [reference], "Layers": layers})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for name in FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            layer.addfile(folder)
        _add(layer, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
        for name in listed.stdout.split():
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                layer.addfile(link)
        _add(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _add(layer, "etc/group", b"root:x:0:\n")
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
