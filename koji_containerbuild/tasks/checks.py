"""What the finished image must pass, out of the site's configuration and the image's settings."""

from __future__ import annotations

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Checks
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.rules.levels import IGNORE
from koji_containerbuild.rules.signatures import keys_of
from koji_containerbuild.source.settings import Settings

MIB = 1024 * 1024


def checks(target: str, settings: Settings, config: Config) -> Checks:
    """Raises ConfigError for a policy without keys for the target."""
    policy = config.signatures.policy
    keys = keys_of(target, config.signing_keys) if policy != IGNORE else ()
    if policy != IGNORE and not keys:
        raise ConfigError(
            f"policy in [signatures] is '{policy}', and [signing_keys] has no keys for the target "
            f"{target}.",
            do=f"Add a line '{target} = KEY-ID' to [signing_keys].",
        )
    return Checks(
        tests=settings.tests,
        max_size=config.limits.image_size_mib * MIB,
        signatures=policy,
        keys=keys,
    )
