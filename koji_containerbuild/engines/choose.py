"""Which engine the configuration asks for."""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.config import Config
from koji_containerbuild.engines.base import Engine
from koji_containerbuild.engines.local import LocalEngine
from koji_containerbuild.errors import ConfigError


def choose(config: Config, config_path: Path) -> Engine:
    """Raises ConfigError for an engine that is not known."""
    if config.builder.engine == "local":
        return LocalEngine(config.builder.work_dir / "jobs", config_path)
    raise ConfigError(
        f"There is no engine '{config.builder.engine}'.", do="Write engine = local in [builder]."
    )
