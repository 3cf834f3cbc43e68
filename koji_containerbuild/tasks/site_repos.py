"""The .repo files of a build as the site wants packages to be fetched: its proxy and its CAs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from koji_containerbuild.config import ReposConfig
from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.rules import repos as repo_rules

LARGEST_BUNDLE = 1024 * 1024  # characters: it is in every plan


def as_the_site_fetches(files: Sequence[RepoFile], site: ReposConfig) -> tuple[RepoFile, ...]:
    """The files with the site's proxy and CAs. Raises ConfigError."""
    if "@" in site.proxy:
        raise ConfigError(
            "proxy in [repos] holds a name or password, and would be public with the plan.",
            do="Use a proxy that asks for none.",
        )
    if not files:
        return ()
    settings = {"proxy": site.proxy}
    extra = []
    if site.ca_bundle:
        extra.append(RepoFile(repo_rules.CA_FILE, _certificates(Path(site.ca_bundle))))
        settings["sslcacert"] = f"{repo_rules.FOLDER}/{repo_rules.CA_FILE}"
    for key, value in settings.items():
        if value:
            texts = [repo_rules.with_setting(file.text, key, value) for file in files]
            files = [replace(file, text=text) for file, text in zip(files, texts)]
    return (*files, *extra)


def _certificates(bundle: Path) -> str:
    """The text of the bundle, which every build will see: certificates, and no key."""
    key = "ca_bundle in [repos]"
    if not bundle.is_absolute():
        raise ConfigError(f"{key} is '{bundle}'.", do="Write the whole path, from / on.")
    try:
        with bundle.open(encoding="utf-8") as file:
            text = file.read(LARGEST_BUNDLE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: cannot read {bundle}: {error}.") from error
    if len(text) > LARGEST_BUNDLE:
        raise ConfigError(f"{key}: {bundle} is larger than {LARGEST_BUNDLE} bytes.")
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise ConfigError(f"{key}: {bundle} is no file of certificates alone.")
    return text
