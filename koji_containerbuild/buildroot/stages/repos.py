"""Give the build its yum repos without leaving a trace in the image.

Takes:   the Dockerfile, the repo files, the pinned parents of the arch
Gives:   a map from parent as written to the local image to build on
Touches: the image store: each parent gets one layer more, with the .repo files; stage `push`
         leaves that layer out
Fails:   when a parent cannot be pulled

Not a mount: a mount point stays in the layer as an empty file, hides what the Dockerfile itself
writes to the folder, and cannot be removed by it (docs/adr/0004).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from koji_containerbuild.buildroot.tools import Builder
from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.rules.repos import FOLDER
from koji_containerbuild.source.dockerfile import Dockerfile


def repos(
    dockerfile: Dockerfile,
    files: tuple[RepoFile, ...],
    pinned: Mapping[str, str],
    builder: Builder,
    work: Path,
) -> dict[str, str]:
    """Every parent gets them: one that runs nothing here may have ONBUILD triggers that do."""
    local = {parent: pinned[parent] for parent in dockerfile.parents}
    if not files:
        for image in local.values():
            builder.pull(image)
        return local
    folder = work / "repos"
    folder.mkdir()
    for file in files:
        (folder / file.name).write_text(file.text, encoding="utf-8")
    for parent in local:
        local[parent] = _name(pinned[parent], files)
        builder.with_files(pinned[parent], local[parent], folder, f"{FOLDER}/")
    return local


def _name(parent: str, files: tuple[RepoFile, ...]) -> str:
    """The same parent with the same repos has the same name, and is made once."""
    content = "\0".join([parent, *(part for f in files for part in (f.name, f.text))])
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return f"localhost/koji-containerbuild/with-repos:{digest}"
