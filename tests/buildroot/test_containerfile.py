"""The Containerfile of the buildroot image holds the same facts as the rest of the project."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

from koji_containerbuild.buildroot.program import _parser
from koji_containerbuild.config import load
from koji_containerbuild.devstack.cluster.buildroot_image import IGNORE, RECIPE, requirements
from tests.test_architecture import MAY_IMPORT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / RECIPE).read_text()


def test_it_installs_what_the_buildroot_needs():
    line = re.search(r"^buildroot = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert line and requirements(TEXT) == ast.literal_eval(line[1])


def test_it_copies_what_the_buildroot_may_import_and_no_more():
    named = re.findall(r"^!koji_containerbuild/(\w+)", (ROOT / IGNORE).read_text(), re.MULTILINE)
    assert set(named) == {"__init__", "buildroot", *MAY_IMPORT["buildroot"]}


def test_it_names_no_registry():
    """A base that is left out is an error, not the image of somebody else's registry."""
    words = re.findall(r"^(?:ARG BASE.*|FROM.*)$", TEXT, re.MULTILINE)
    assert words == ["ARG BASE", "FROM ${BASE}"]


def test_it_starts_the_program_of_the_package():
    words = re.findall(r"^ENTRYPOINT (.*)$", TEXT, re.MULTILINE)[-1]
    assert shlex.split(words.strip("[]").replace(",", " "))[-1] == "koji_containerbuild.buildroot"


def test_a_custom_build_of_openshift_needs_no_words_of_its_own():
    lines = re.findall(r"^CMD (\[.*?\])", TEXT.replace("\\\n", ""), re.MULTILINE)
    given = _parser().parse_args(ast.literal_eval(lines[-1]))
    assert given.plan_from_environment and given.framed
    assert str(given.outcome) == "/dev/termination-log"
    assert str(given.config) == "/etc/koji-containerbuild/builder.conf"


def test_its_configuration_can_be_read_and_builds_in_containers():
    settings = load(ROOT / "fedora-infra/buildroot/builder.conf").buildroot
    assert (settings.isolation, settings.network) == ("oci", "host")
