"""The registries as the configuration of this host reaches them."""

from __future__ import annotations

from koji_containerbuild.config import Config
from koji_containerbuild.registry.client import Registry, RegistrySettings


def open_registry(config: Config) -> Registry:
    """For the candidate registry and those of parents alike. Close it, or use it in `with`."""
    insecure = list(config.parents.insecure_registries)
    if config.registry.insecure:
        insecure.append(config.registry.url)
    return Registry(
        RegistrySettings(
            insecure=tuple(insecure),
            auth_file=config.registry.auth_file,
            ca_file=config.registry.ca_file,
            timeout=float(config.registry.timeout),
        )
    )
