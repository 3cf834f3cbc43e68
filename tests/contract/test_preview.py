"""What a dry run tells."""

from __future__ import annotations

import xmlrpc.client
from dataclasses import replace
from typing import Any

import pytest

from koji_containerbuild.contract.plan import Checks, Download, Parent, RepoFile, SourceFile
from koji_containerbuild.contract.preview import Preview, lines, preview
from koji_containerbuild.rules.levels import WARN
from tests.fakes.plans import PLAN


def test_people_read_name_source_arches_parents_repos_files_tags_and_warnings():
    digest = "sha256:" + "0" * 64
    parent = Parent("base", "reg.example.com/base:1", f"reg.example.com/base@{digest}")
    repo = RepoFile("koji-containerbuild-f43-build.repo", "")
    file = SourceFile("big.tar", Download("https://x.org/big.tar", {"md5": "0" * 32}), "lookaside")
    plan = replace(
        PLAN, parents=(parent,), repos=(repo,), files=(file,), warnings=("Mind the step.",)
    )
    assert lines(preview(plan)) == [
        "Would build web-container-1.0-3; nothing was reserved.",
        f"  source      https://src.example.com/web#{'a' * 40} on f43",
        "  arches      x86_64",
        f"  parent      reg.example.com/base:1 = {digest}",
        "  packages    f43-build, repo 12",
        "  file        big.tar from https://x.org/big.tar",
        "  image       reg.example.com/fedora/web: 1.0-3, latest, 1.0",
        "  Koji tag    f43-candidate",
        "  label       com.redhat.component=web-container",
        "  label       name=fedora/web",
        "  label       release=3",
        "  label       vendor=Fedora",
        "  label       version=1.0",
        "  time limit  600 s",
        "  warning     Mind the step.",
    ]


def test_a_scratch_build_has_no_tag_in_koji_and_a_tag_of_its_own():
    where = replace(PLAN.destination, primary_tag="", floating_tags=())
    told = lines(preview(replace(PLAN, scratch=True, destination=where)))
    assert told[0] == "Would build web-container-1.0-3 as scratch build; nothing was reserved."
    assert "  image       reg.example.com/fedora/web: a tag of its own" in told
    assert not [line for line in told if "Koji tag" in line]


def test_what_the_image_would_have_to_pass_is_told_and_no_file_beside_the_repos():
    checks = Checks(("true",), 2 * 1024 * 1024, WARN, ("a1b2c3d4",))
    repos = (RepoFile("x.repo", ""), RepoFile("koji-containerbuild-ca.pem", ""))
    plan = replace(PLAN, checks=checks, repos=repos, koji=None)
    told = lines(preview(plan))
    assert [line.strip() for line in told if "  check " in line or "packages " in line[:12]] == [
        "packages    x.repo",
        "check       not more than 2 MiB uncompressed",
        "check       packages signed with a1b2c3d4, or else warn",
        "check       test: true",
    ]


def test_a_preview_is_the_same_when_it_has_gone_over_the_wire():
    parent = Parent("base", "r/base:1", "r/base@sha256:" + "0" * 64)
    file = SourceFile("big.tar", Download("https://x.org/big.tar", {"md5": "0" * 32}), "lookaside")
    told = preview(replace(PLAN, parents=(parent,), files=(file,), warnings=("Mind the step.",)))
    (wire,), _ = xmlrpc.client.loads(xmlrpc.client.dumps((told.to_dict(),)))
    assert Preview.from_dict(wire) == told
    assert {type(value) for value in told.to_dict().values()} == {str, int, list, dict}


@pytest.mark.parametrize(
    "wire, text",
    [
        ({}, "Would build an image; nothing was reserved."),
        ("web", "Would build an image; nothing was reserved."),
        ({"nvr": "web-1-2", "arches": 5, "seconds": "x"}, "Would build web-1-2; nothing"),
        ({"nvr": None, "later": {"x": 1}}, "Would build an image; nothing"),
        ({"parents": [{}, {"name": "b", "pinned": "b@d", "later": 1}]}, "  parent      b = d"),
        ({"files": [{"url": "https://x.org/y"}], "labels": {"a": 1, "b": "c"}}, "label       b=c"),
    ],
)
def test_a_builder_of_another_version_may_tell_less_or_more(wire: Any, text: str):
    told = lines(Preview.from_dict(wire))
    assert text in "\n".join(told)
