"""Packages of an image against the records of the real Koji."""

from __future__ import annotations

from koji_containerbuild.contract.image import Rpm
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.koji_api.rpms import strangers
from tests.stack.builds import Builds, configured

STRICT = """[packages]
differs_from_koji = fail
unknown_to_koji = fail
foreign_signature = fail"""
ON_BASE = "FROM demo/base:1\n@LABELS@\nRUN true\n"


def test_an_image_of_kojis_packages_alone_passes_the_strictest_site(stack: Stack, builds: Builds):
    with configured(stack, STRICT):
        builds.good(ON_BASE)


def test_each_kind_of_stranger_is_told_from_kojis_own(builds: Builds):
    hub = builds.session
    record = next(
        r for r in hub.listRPMs(hub.getBuild("hello-2.4-1.f43")["id"]) if r["arch"] != "src"
    )
    key = hub.queryRPMSigs(record["id"])[0]["sigkey"]
    known = Rpm(record["name"], record["version"], record["release"], None, record["arch"],
                record["payloadhash"], key)  # fmt: skip
    other = Rpm(*(known.name, known.version, known.release, None, known.arch, "ab" * 16, key))
    mine = Rpm("mine", "1", "1", None, "noarch", "ab" * 16, None)
    foreign = Rpm(
        *(known.name, known.version, known.release, None, known.arch, known.sigmd5, "f" * 8)
    )
    rpms = [known, other, mine, foreign]
    found = strangers(hub, rpms, signed=rpms)
    assert (found.differ, found.unknown, found.foreign) == ({other}, {mine}, {foreign})
