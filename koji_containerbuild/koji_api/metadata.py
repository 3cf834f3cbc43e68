"""The content generator metadata of a container build: what Koji will know of it.

The shape is that of Koji's documentation (content generator metadata, version 0) and of the old
system; names and orders in `extra` are read by Bodhi, Freshmaker and others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from koji_containerbuild import __version__
from koji_containerbuild.contract.image import ArchImage, ImageIndex, Rpm
from koji_containerbuild.contract.plan import BuildPlan, SourceFile
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.rules.userdata import NOT_IN_XML

ENGINE = "buildah"
SOURCE_TYPE = "remote-source-file"  # build type of the source code of fetched artifacts


@dataclass(frozen=True)
class OutputFile:
    """A file to upload, measured."""

    name: str
    size: int  # bytes
    md5: str
    arch: str  # noarch, or the arch of a builder's log


@dataclass(frozen=True)
class Facts:
    """All that the metadata is made of."""

    plan: BuildPlan
    generator: str
    submitter: str  # who imports: the host's own user
    job: str  # name of the job on its engine
    images: tuple[ArchImage, ...]
    index: ImageIndex
    archives: Mapping[str, OutputFile]  # by arch
    logs: tuple[OutputFile, ...]
    started: int  # seconds since 1970
    ended: int
    build_id: Optional[int] = None  # None: scratch
    unlinked: frozenset[Rpm] = frozenset()  # Koji has others under their names
    sources: Mapping[str, OutputFile] = field(default_factory=dict)  # of artifacts, by URL


def document(facts: Facts) -> dict[str, Any]:
    """The whole of metadata.json."""
    first = _buildroot_id(facts, facts.images[0])
    by_arch = {image.arch: _buildroot_id(facts, image) for image in facts.images}
    archives = [_archive(facts, image) for image in facts.images]
    logs = [_log(log, by_arch.get(log.arch, first)) for log in facts.logs]
    sources = [_source(facts, url, first) for url in facts.sources]
    whole = {
        "metadata_version": 0,
        "build": _build(facts),
        "buildroots": [_buildroot(facts, image) for image in facts.images],
        "output": archives + sources + logs,
    }
    cleaned: dict[str, Any] = clean(whole)
    return cleaned


def _build(facts: Facts) -> dict[str, Any]:
    plan = facts.plan
    build: dict[str, Any] = {
        "name": plan.nvr.name,
        "version": plan.nvr.version,
        "release": plan.nvr.release,
        "source": plan.source.recorded,
        "start_time": facts.started,
        "end_time": facts.ended,
        "extra": _extra(facts),
    }
    if plan.koji:
        build["owner"] = plan.koji.owner
    if facts.build_id is not None:
        build["build_id"] = facts.build_id
    return build


def _extra(facts: Facts) -> dict[str, Any]:
    plan = facts.plan
    extra: dict[str, Any] = {
        "submitter": facts.submitter,
        "osbs_build": {"kind": "container_build", "engine": ENGINE, "subtypes": []},
        "image": _image(facts),
    }
    if plan.koji:
        extra["container_koji_task_id"] = plan.koji.task_id
    if any(file.origin == "url" for file in plan.files):
        extra["typeinfo"] = {SOURCE_TYPE: _sources(plan)}
    if plan.userdata:
        extra["custom_user_metadata"] = dict(plan.userdata)
    return extra


def _image(facts: Facts) -> dict[str, Any]:
    plan, where = facts.plan, facts.plan.destination
    repository = Pullspec.parse(where.repository)
    tag = where.primary_tag or where.unique_tag
    return {
        "isolated": plan.isolated,
        "help": facts.images[0].help_file,
        **_parents(plan),
        **_trigger(plan),
        "media_types": sorted({facts.index.media_type, *(i.media_type for i in facts.images)}),
        "yum_repourls": [repo.url for repo in plan.repos if repo.url],
        "index": {
            "tags": [where.primary_tag] if where.primary_tag else [],
            "floating_tags": list(where.floating_tags),
            "unique_tags": [where.unique_tag],
            "pull": [str(repository.at_digest(facts.index.digest)), str(repository.at_tag(tag))],
            "digests": {facts.index.media_type: facts.index.digest},
        },
    }


def _parents(plan: BuildPlan) -> dict[str, Any]:
    """No parent_build_id where the last stage stands on scratch, or on what Koji does not know."""
    final = [parent.build.id for parent in plan.parents if parent.final and parent.build]
    builds = {
        parent.resolved: {"id": parent.build.id, "nvr": parent.build.nvr} if parent.build else None
        for parent in plan.parents
    }
    return {
        **({"parent_build_id": final[0]} if final else {}),
        "parent_images": list(plan.from_images) or ["scratch"],
        "parent_image_builds": builds,
    }


def _trigger(plan: BuildPlan) -> dict[str, Any]:
    """Of an automatic build: what it was made after."""
    task = plan.koji.triggered_after if plan.koji else None
    return {"autorebuild": True, "triggered_after_koji_task": task} if task else {}


def _buildroot_id(facts: Facts, image: ArchImage) -> str:
    return f"{facts.job}-{image.arch}"


def _buildroot(facts: Facts, image: ArchImage) -> dict[str, Any]:
    place = image.buildroot
    return {
        "id": _buildroot_id(facts, image),
        "host": {"os": place.os, "arch": place.arch},
        "content_generator": {"name": facts.generator, "version": __version__},
        "container": {"type": place.container, "arch": image.arch},
        "tools": [{"name": tool.name, "version": tool.version} for tool in place.tools],
        "components": components(place.rpms, facts.unlinked),
        "extra": {"osbs": {"build_id": facts.job, "builder_image_id": None, "host": place.host}},
    }


def _archive(facts: Facts, image: ArchImage) -> dict[str, Any]:
    file = facts.archives[image.arch]
    repository = Pullspec.parse(facts.plan.destination.repository)
    tag = facts.plan.destination.arch_tag(image.arch)
    return {
        **_file(file),
        "buildroot_id": _buildroot_id(facts, image),
        "arch": image.arch,
        "type": "docker-image",
        "components": components(image.rpms, facts.unlinked) + kojifiles(facts.plan),
        "extra": {
            "image": {"arch": image.arch},
            "docker": {
                "id": image.config_digest,
                "parent_id": image.parent_config_digest,
                "repositories": [
                    str(repository.at_tag(tag)),
                    str(repository.at_digest(image.digest)),
                ],
                "tags": [tag],
                "digests": {image.media_type: image.digest},
                "layer_sizes": [{"diff_id": la.diff_id, "size": la.size} for la in image.layers],
                "config": dict(image.config),
            },
        },
    }


def _sources(plan: BuildPlan) -> dict[str, Any]:
    """Which artifacts are made of which source."""
    made = [file for file in plan.files if file.origin == "url"]
    urls = dict.fromkeys(file.source.url for file in made if file.source)
    return {
        "remote_source_files": [{url: _made_of(url, plan)} for url in urls],
        "no_source": [_artifact(file) for file in made if not file.source],
    }


def _made_of(url: str, plan: BuildPlan) -> list[dict[str, Any]]:
    return [_artifact(file) for file in plan.files if file.source and file.source.url == url]


def _artifact(file: SourceFile) -> dict[str, Any]:
    url = file.download.url
    name = url.rpartition("/")[2]
    return {"url": url, "checksums": dict(file.download.checksums), "filename": name}


def _source(facts: Facts, url: str, buildroot_id: str) -> dict[str, Any]:
    """The archive with the source code of artifacts."""
    return {
        **_file(facts.sources[url]),
        "buildroot_id": buildroot_id,
        "arch": "noarch",
        "type": SOURCE_TYPE,
        "extra": {
            "source-url": url,
            "artifacts": _made_of(url, facts.plan),
            "typeinfo": {SOURCE_TYPE: {}},
        },
    }


def _log(file: OutputFile, buildroot_id: str) -> dict[str, Any]:
    return {**_file(file), "buildroot_id": buildroot_id, "arch": file.arch, "type": "log"}


def _file(file: OutputFile) -> dict[str, Any]:
    return {
        "filename": file.name,
        "filesize": file.size,
        "checksum_type": "md5",
        "checksum": file.md5,
    }


def components(rpms: Sequence[Rpm], unlinked: frozenset[Rpm]) -> list[dict[str, Any]]:
    """RPMs as components of an archive or a buildroot; not those that Koji would mistake."""
    return [
        {
            "type": "rpm",
            "name": rpm.name,
            "version": rpm.version,
            "release": rpm.release,
            "epoch": rpm.epoch,
            "arch": rpm.arch,
            "sigmd5": rpm.sigmd5,
            "signature": rpm.signature,
        }
        for rpm in rpms
        if rpm.has_checksum and rpm not in unlinked
    ]


def kojifiles(plan: BuildPlan) -> list[dict[str, Any]]:
    """Files of other Koji builds as components: so Koji keeps them as long as this build."""
    found = []
    for file in plan.files:
        if file.archive:
            ((kind, checksum),) = file.download.checksums.items()
            found.append(
                {
                    "type": "kojifile",
                    "archive_id": file.archive.id,
                    "nvr": file.archive.nvr,
                    "filename": file.archive.filename,
                    "filesize": file.download.size,
                    "checksum": checksum,
                    "checksum_type": kind,
                }
            )
    return found


def clean(value: Any) -> Any:
    r"""Make visible what XML cannot hold: Koji answers in XML, and a build that has such a
    character in its metadata could not be read any more.

    >>> clean({"label": ["bell \x07"]})
    {'label': ['bell \\x07']}
    """
    if isinstance(value, str):
        return NOT_IN_XML.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value
