"""Which engine the configuration asks for."""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.config import CLUSTERS, Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.engines.api import PATIENCE
from koji_containerbuild.engines.base import Engine
from koji_containerbuild.engines.clusters import Clusters
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.local import LocalEngine
from koji_containerbuild.engines.openshift import OpenShiftEngine
from koji_containerbuild.engines.placement import ClusterEngine
from koji_containerbuild.errors import ConfigError


def choose(config: Config, config_path: Path) -> Engine:
    """Raises ConfigError for an engine that is not known."""
    if config.builder.engine == "local":
        return LocalEngine(config.builder.work_dir / "jobs", config_path)
    if config.builder.engine == CLUSTERS:
        patience = PATIENCE if len(config.clusters) == 1 else PATIENCE / 5  # there are others
        return Clusters([cluster(*each, patience) for each in config.clusters.items()])
    raise ConfigError(
        f"There is no engine '{config.builder.engine}'.",
        do=f"Write engine = local or {CLUSTERS} in [builder].",
    )


def cluster(name: str, section: ClusterConfig, patience: float) -> ClusterEngine:
    """The engine of one section [cluster NAME]. Raises ServiceError."""
    if section.engine == "openshift":
        return OpenShiftEngine(name, section, patience)
    return KubernetesEngine(name, section, patience=patience)
