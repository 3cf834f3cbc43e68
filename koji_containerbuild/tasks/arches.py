"""Can the engine build for these arches? Asked before a release number or a machine is taken.

Files can be copied into an image of any arch. Programs of an arch must run somewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from koji_containerbuild.contract.plan import Parent
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import goarch
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.running import first_run, needed_parents
from koji_containerbuild.tasks.resolve import SourceTree
from koji_containerbuild.tasks.tools import Place


def check_engine(
    tree: SourceTree, arches: Sequence[str], parents: Sequence[Parent], place: Place
) -> None:
    """Raises BadRequest, naming the arch, what would have to run there, and what is missing."""
    for arch in arches:
        if place.engine.lacks(arch, runs=True):
            runs = _what_runs(tree, arch, parents, place.registry)
            if missing := place.engine.lacks(arch, runs=bool(runs)):
                raise BadRequest(
                    f"The image cannot be built for {arch}: "
                    f"{f'{runs}, and ' if runs else ''}the builder lacks {missing}.",
                    do="Exclude the arch with 'platforms: not:' in container.yaml, or ask the "
                    "admin of the builder for what is missing.",
                )


def _what_runs(tree: SourceTree, arch: str, parents: Sequence[Parent], registry: Registry) -> str:
    """The first thing that runs a program of the image; empty: nothing does."""
    if first := first_run(tree.dockerfile):
        return f"line {first.line} of the Dockerfile is '{first.text}'"
    if tree.settings.tests:
        return f"container.yaml has the test '{tree.settings.tests[0]:.100}'"
    for parent in parents:
        if parent.written in needed_parents(tree.dockerfile):
            for trigger in _triggers(Pullspec.parse(parent.pinned), arch, registry):
                if re.match(r"\s*run\s", trigger, re.I):
                    return f"the parent image {parent.written} has 'ONBUILD {trigger:.100}'"
    return ""


def _triggers(spec: Pullspec, arch: str, registry: Registry) -> Sequence[str]:
    """The ONBUILD instructions of a parent."""
    manifest = registry.manifest(spec)
    if manifest.is_index:
        spec = spec.at_digest(
            next(p.digest for p in manifest.platforms if p.arch == goarch(arch) and p.os == "linux")
        )
        manifest = registry.manifest(spec)
    config = json.loads(registry.config(spec, manifest))
    return [str(line) for line in (config.get("config") or {}).get("OnBuild") or ()]
