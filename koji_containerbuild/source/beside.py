"""The files beside the Dockerfile that settle how an image is built: container.yaml and older ones.

A file of the old system that only said where things go is passed over with a warning; one that put
something into the image is refused.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable
from dataclasses import replace

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.pullspec import TAG
from koji_containerbuild.source import settings as container_yaml
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.settings import FILE, Settings
from koji_containerbuild.source.yaml_text import shown

# Names that somebody meant to be container.yaml.
MISSPELT = re.compile(r"\.?container[-_.]?ya?ml", re.IGNORECASE | re.ASCII)
# Beside container.yaml a copy or a template; without it, perhaps what should be container.yaml.
LEFT_OVER = re.compile(r"container\.ya?ml[-_.~].*|container\.ya?ml~", re.IGNORECASE | re.ASCII)
CONTENT_SETS = ("content_sets.yml", "content_sets.yaml", "content-sets.yml", "content-sets.yaml")
PNC = ("fetch-artifacts-pnc.yaml", "fetch-artifacts-pnc.yml")
ADDITIONAL_TAGS = "additional-tags"
ADDITIONAL_TAG = re.compile(r"[\w.]{1,127}", re.ASCII)  # what the old system took
MAX_LINES = 100  # of additional-tags
REPO_CONFIG = ".osbs-repo-config"


def read_settings(checkout: Checkout, subfolder: str) -> Settings:
    """What all of them say. Raises BadRequest, naming file and line."""
    names = checkout.names(subfolder)
    _check_names(names)
    settings = container_yaml.read(checkout.read(subfolder, FILE) or "")
    for name in CONTENT_SETS:
        if name in names:
            why = "content sets (Pulp) have no effect here. Remove it."
            settings = _warned(settings, f"{name} is ignored: {why}")
    if ADDITIONAL_TAGS in names:
        settings = _with_tags(settings, checkout.text(subfolder, ADDITIONAL_TAGS))
    if REPO_CONFIG in names:
        settings = _with_repo_config(settings, checkout.text(subfolder, REPO_CONFIG))
    return settings


def _check_names(names: Iterable[str]) -> None:
    present = sorted(names)
    for name in present:
        left_over = FILE not in present and LEFT_OVER.fullmatch(name)
        if name != FILE and (MISSPELT.fullmatch(name) or left_over):
            raise BadRequest(
                f"The source has a file {shown(name)}, which nothing reads.",
                do=f"Rename it to {FILE}, or remove it.",
            )
        if name in PNC:
            raise BadRequest(
                f"{name} is not supported: nothing is fetched from PNC here.",
                do="Remove it, and upload the files to the lookaside cache.",
            )


def _warned(settings: Settings, *warnings: str) -> Settings:
    return replace(settings, warnings=(*settings.warnings, *warnings))


def _with_tags(settings: Settings, text: str) -> Settings:
    """The tags of the file `additional-tags`, one in each line."""
    if settings.has_tags:
        why = f"{FILE} has 'tags'. Remove the file."
        return _warned(settings, f"{ADDITIONAL_TAGS} is ignored: {why}")
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise BadRequest(
            f"{ADDITIONAL_TAGS} has {len(lines)} lines, and the most is {MAX_LINES}.",
            do="Write fewer.",
        )
    do = f"write all tags below 'tags' in {FILE}, with latest and '{{version}}' among them"
    warnings = [f"{ADDITIONAL_TAGS} is deprecated: {do}."]
    tags = []
    for number, line in enumerate(lines, 1):
        tag = line.strip()
        if ADDITIONAL_TAG.fullmatch(tag) and TAG.fullmatch(tag):
            tags.append(tag)
        elif tag:
            what = f"'{shown(tag)}' is left out"
            why = "this file takes letters, digits, _ and . only"
            warnings.append(f"{ADDITIONAL_TAGS}, line {number}: {what}: {why}.")
    every = tuple(dict.fromkeys((*settings.tags, *tags)))
    return _warned(replace(settings, tags=every), *warnings)


def _with_repo_config(settings: Settings, text: str) -> Settings:
    """`enabled` in the section `autorebuild`; a file that cannot be read says nothing."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, REPO_CONFIG)
        enabled = parser.getboolean("autorebuild", "enabled", fallback=False)
    except (configparser.Error, ValueError, AttributeError) as error:
        why = " ".join(shown(error).split())
        return _warned(settings, f"{REPO_CONFIG} is ignored: it cannot be read: {why}.")
    if not enabled:
        return settings
    rebuild = replace(settings.autorebuild, enabled=True)
    why = "no image is built again by itself yet"
    do = "The setting is kept for later; until then, build when a parent changes."
    warning = f"{REPO_CONFIG} has no effect: {why}. {do}"
    return _warned(replace(settings, autorebuild=rebuild), warning)
