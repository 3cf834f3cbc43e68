"""What a dry run tells."""

from __future__ import annotations

from dataclasses import replace

from koji_containerbuild.contract.plan import Checks, Download, Parent, RepoFile, SourceFile
from koji_containerbuild.contract.preview import lines, preview
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
