"""Give the build its yum repos without leaving a trace in the image.

Takes:   the Dockerfile, the repo files, the pinned parents
Gives:   a map from parent as written to the local image to build on
Touches: the image store: each parent whose stages run something gets one layer more, with the
         .repo files; stage `push` leaves that layer out
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
from koji_containerbuild.source.dockerfile import Dockerfile

FOLDER = "/etc/yum.repos.d/"


def repos(
    dockerfile: Dockerfile,
    files: tuple[RepoFile, ...],
    pinned: Mapping[str, str],
    builder: Builder,
    work: Path,
) -> dict[str, str]:
    """Parents of stages that run nothing are taken as they are."""
    folder = work / "repos"
    folder.mkdir()
    for file in files:
        (folder / file.name).write_text(file.text, encoding="utf-8")
    run_on = _run_on(dockerfile) if files else []
    local = {}
    for parent in dockerfile.parents:
        if parent in run_on:
            local[parent] = _name(pinned[parent], files)
            builder.with_files(pinned[parent], local[parent], folder, FOLDER)
        else:
            local[parent] = pinned[parent]
            builder.pull(pinned[parent])
    return local


def _run_on(dockerfile: Dockerfile) -> list[str]:
    """The parents below a RUN, directly or through other stages."""
    found: dict[str, None] = {}
    for stage in dockerfile.stages:
        runs, bottom = stage.runs, stage
        while bottom.on_stage is not None:
            bottom = dockerfile.stages[bottom.on_stage]
        if runs and bottom.parent:
            found[bottom.parent] = None
    return list(found)


def _name(parent: str, files: tuple[RepoFile, ...]) -> str:
    """The same parent with the same repos has the same name, and is made once."""
    content = "\0".join([parent, *(part for f in files for part in (f.name, f.text))])
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return f"localhost/koji-containerbuild/with-repos:{digest}"
