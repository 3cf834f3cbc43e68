"""Put what was learned beside the image: the ArchImage record and the complete log.

Takes:   the record, the log file, the tag of the image
Gives:   the digest of the artifact
Touches: the registry
Fails:   when the registry refuses
"""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.contract.image import LOG_FILE, ArchImage, report_tag
from koji_containerbuild.registry.artifact import ArtifactFile, push_artifact
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.pullspec import Pullspec


def report(image: ArchImage, log: Path, to: Pullspec, registry: Registry) -> str:
    """The record is the artifact's config, the log its only file."""
    files = [ArtifactFile(LOG_FILE, "text/plain+gzip", log)]
    return push_artifact(registry, to, files, image.to_json().encode(), report_tag(to.tag))
