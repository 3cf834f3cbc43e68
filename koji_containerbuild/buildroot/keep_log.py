"""The log of a build that failed in a cluster, kept beside where its image would be.

The cluster's own copy goes with the pod, and may have lost its beginning before. Of a build that
worked the log is in the report.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from koji_containerbuild.config import Config
from koji_containerbuild.contract.image import LOG_FILE, log_tag
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import ContainerBuildError
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.registry.artifact import ArtifactFile, push_artifact
from koji_containerbuild.rules.pullspec import Pullspec

PATIENCE = 20.0  # seconds: the user waits to hear why the build failed
SILENCE = 5  # seconds, of the registry


def keep_log(plan: BuildPlan, arch: str, log: Path, config: Config) -> str:
    """The digest of the artifact, or nothing: no registry can make a failure worse."""
    kept: list[str] = []

    def push() -> None:
        place = replace(config.registry, timeout=SILENCE)
        try:
            to = Pullspec.parse(plan.destination.repository)
            with open_registry(replace(config, registry=place)) as registry:
                files = [ArtifactFile(LOG_FILE, "text/plain+gzip", log)]
                tag = log_tag(plan.destination.arch_tag(arch))
                kept.append(push_artifact(registry, to, files, b"{}", tag))
        except (ContainerBuildError, OSError):
            return

    # A thread that is not waited for: nothing else ends a request that goes on and on.
    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    pushing.join(PATIENCE)
    return kept[0] if kept else ""
