"""What the finished image must pass, out of the site's configuration and the image's settings."""

from __future__ import annotations

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import FAIL, IGNORE, WARN, Checks
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.rules.signatures import keys_of
from koji_containerbuild.source.settings import Settings

MIB = 1024 * 1024


def checks(target: str, settings: Settings, config: Config) -> Checks:
    """Raises ConfigError: a policy or key that is none, or a policy without keys for the target."""
    policy = config.signatures.policy
    if policy not in (IGNORE, WARN, FAIL):
        raise ConfigError(
            f"policy in [signatures] is '{policy}'.", do=f"Write {IGNORE}, {WARN} or {FAIL}."
        )
    try:
        keys = keys_of(target, config.signing_keys) if policy != IGNORE else ()
    except ValueError as error:
        raise ConfigError(
            f"[signing_keys] has '{error}' for the target {target}, which is no key id.",
            do="Write the last 16 digits of the key's fingerprint.",
        ) from error
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
