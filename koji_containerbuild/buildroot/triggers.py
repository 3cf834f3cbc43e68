"""An image's twin without ONBUILD: `buildah from` would run the triggers, here and now.

Tried with buildah 1.28: a `dir:` image of manifest and config alone is pulled in 0.1 s, since the
store has the layers already.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koji_containerbuild.rules.manifests import sha256, to_bytes


def triggers(about: Mapping[str, Any]) -> list[str]:
    """The ONBUILD instructions of an image; `about` is what `buildah inspect` tells of it."""
    config = json.loads(about["Config"]).get("config") or {}
    return list(config.get("OnBuild") or ())


def write_twin(about: Mapping[str, Any], folder: Path) -> None:
    """Write the twin into an empty folder, for `buildah pull dir:FOLDER`."""
    manifest, config = json.loads(about["Manifest"]), json.loads(about["Config"])
    for part in ("config", "container_config"):
        (config.get(part) or {}).pop("OnBuild", None)
    config["docker_version"] = secrets.token_hex(16)  # nobody else has this twin, and removes it
    body = to_bytes(config)
    manifest["config"].update(digest=sha256(body), size=len(body))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / sha256(body).partition(":")[2]).write_bytes(body)
    (folder / "manifest.json").write_bytes(to_bytes(manifest))
