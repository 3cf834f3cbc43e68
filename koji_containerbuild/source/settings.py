"""The settings of an image: container.yaml beside the Dockerfile."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from koji_containerbuild.errors import BadRequest

FILE = "container.yaml"
MISSPELT = ("container.yml", "Container.yaml", "Container.yml")
# Keys of the old system. Each either changes what is built, so that ignoring it would be wrong,
# or is harmless to ignore, so that a warning will do.
NOT_YET = (
    "compose",
    "flatpak",
    "operator_manifests",
    "remote_source",
    "remote_sources",
    "set_release_env",
)
IGNORED = ("autorebuild", "go", "image_build_method", "remote_sources_version", "version")
KNOWN = ("platforms", "tags", "buildtime_limit")
# What PyYAML also raises: for the 30th of February, `!!float ''`, `!!timestamp x`, endless nesting.
_YAML_SLIPS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Settings:
    """What container.yaml says; the defaults are those of an empty file."""

    tags: tuple[str, ...] = ()  # floating tags; empty: latest and the version
    only: tuple[str, ...] = ()  # arches to keep; empty: all
    exclude: tuple[str, ...] = ()  # arches to drop
    build_seconds: int = 0  # 0: the site's default
    warnings: tuple[str, ...] = field(default=())


def read(text: str) -> Settings:
    """Raises BadRequest, naming the key or the line."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadRequest(f"{FILE} is not YAML: {' '.join(str(error).split())}.") from error
    except _YAML_SLIPS as error:
        raise BadRequest(f"{FILE} cannot be read: {error}.", do="Put dates in quotes.") from error
    if value is None:
        return Settings()
    if not isinstance(value, dict):
        raise BadRequest(f"{FILE} is not a map.", do="Write it as 'key: value' lines.")
    for key in value:
        _check_key(key)
    platforms = _mapping(value.get("platforms"))
    return Settings(
        tags=_texts("tags", value.get("tags")),
        only=_texts("platforms.only", platforms.get("only")),
        exclude=_texts("platforms.not", platforms.get("not")),
        build_seconds=_seconds(value.get("buildtime_limit")),
        warnings=tuple(f"{FILE}: '{k}' has no effect any more." for k in IGNORED if k in value),
    )


def _check_key(key: Any) -> None:
    if key in NOT_YET:
        raise BadRequest(f"{FILE}: '{key}' is not supported yet.", do="Remove the key.")
    if key not in KNOWN + IGNORED:
        close = difflib.get_close_matches(str(key), KNOWN + NOT_YET + IGNORED, 1)
        do = f"Did you mean '{close[0]}'?" if close else f"The keys are: {', '.join(KNOWN)}."
        raise BadRequest(f"{FILE}: unknown key '{key}'.", do=do)


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    unknown = (
        sorted(map(str, set(value) - {"only", "not"})) if isinstance(value, dict) else ["platforms"]
    )
    if unknown:
        raise BadRequest(
            f"{FILE}: platforms holds '{unknown[0]}'.", do="Write 'only:' or 'not:' below it."
        )
    return dict(value)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise BadRequest(
            f"{FILE}: '{key}' is not a list of texts.", do="Put numbers in quotes: - '1.0'."
        )
    return tuple(dict.fromkeys(items))


def _seconds(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise BadRequest(f"{FILE}: buildtime_limit is not a number of seconds.")
    return value
