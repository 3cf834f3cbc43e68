"""Packages of an image, held against Koji's own record of RPMs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from koji_containerbuild.config import PackagesConfig
from koji_containerbuild.contract.image import ArchImage, Buildroot, Rpm
from koji_containerbuild.errors import BuildFailed, ServiceError
from koji_containerbuild.koji_api.metadata import components
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST
from koji_containerbuild.tasks.packages import at_most_warned, check_packages, check_same
from tests.fakes.koji_session import FakeKojiSession
from tests.fakes.plans import PLAN

KEY = "00112233aabbccdd"
FAIL = PackagesConfig("fail", "fail", "fail")
WARN = PackagesConfig("warn", "warn", "warn")


@pytest.fixture
def hub() -> FakeKojiSession:
    hub = FakeKojiSession()
    for name in ("bash", "jq"):
        hub.add_rpm(name, "1.0")
    hub.sigs = {1: (KEY[-8:],), 2: (KEY[-8:],)}
    return hub


def rpm(hub: FakeKojiSession, name: str, /, **other: Any) -> Rpm:
    """As it is installed; of Koji, unless `other` says otherwise."""
    koji = hub.rpms.get((name, "1.0", "1", "x86_64"), {"payloadhash": "cd" * 16})
    return replace(Rpm(name, "1.0", "1", None, "x86_64", koji["payloadhash"], KEY), **other)


def image(*rpms: Rpm, host: tuple[Rpm, ...] = (), arch: str = "x86_64") -> ArchImage:
    return ArchImage(
        arch, "sha256:1", DOCKER_MANIFEST, 1, "sha256:2", {}, None, (), rpms, None,
        Buildroot("h", "os", arch, "none", (), host), (0, 0), (), (),
    )  # fmt: skip


def test_packages_as_koji_has_them_are_no_news(hub: FakeKojiSession):
    found = check_packages([image(rpm(hub, "bash"), rpm(hub, "jq"))], FAIL, hub)
    assert (found.unlinked, found.warnings) == (frozenset(), ())


def test_a_scratch_build_is_warned_at_most(hub: FakeKojiSession):
    strange = rpm(hub, "nobody-has-it")
    with pytest.raises(BuildFailed):
        check_packages([image(strange)], FAIL, hub)
    assert check_packages([image(strange)], at_most_warned(FAIL), hub).warnings
    assert at_most_warned(PackagesConfig()) == PackagesConfig()


def test_another_rpm_under_a_name_of_koji_is_named_and_not_linked(hub: FakeKojiSession):
    other = rpm(hub, "bash", sigmd5="ef" * 16)
    found = check_packages([image(other, rpm(hub, "jq"))], WARN, hub)
    assert found.warnings == (
        "Packages of the image are not those that Koji has under these names: bash-1.0-1.x86_64.",
    )
    linked = components([other, rpm(hub, "jq")], found.unlinked)
    assert [each["name"] for each in linked] == ["jq"]


def test_it_is_not_linked_either_where_nobody_wants_to_know(hub: FakeKojiSession):
    other = rpm(hub, "bash", sigmd5="ef" * 16)
    found = check_packages([image(other)], PackagesConfig("ignore"), hub)
    assert (found.unlinked, found.warnings) == ({other}, ())


def test_one_that_differs_on_the_builder_is_not_linked_and_no_matter_of_the_image(
    hub: FakeKojiSession,
):
    other = rpm(hub, "bash", sigmd5="ef" * 16)
    found = check_packages([image(rpm(hub, "bash"), host=(other,))], FAIL, hub)
    assert (found.unlinked, found.warnings) == ({other}, ())


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sigmd5": "ef" * 16}, "not those that Koji has under these names: bash-1.0-1.x86_64"),
        ({"name": "mine"}, "were not built in this Koji: mine-1.0-1.x86_64"),
        ({"signature": "ffffffff"}, "signed with a key that Koji has not: bash-1.0-1.x86_64"),
    ],
)
def test_a_site_can_have_each_kind_refused(hub: FakeKojiSession, change: Any, words: str):
    with pytest.raises(BuildFailed, match=words) as caught:
        check_packages([image(rpm(hub, "bash", **change))], FAIL, hub)
    assert "repo of the build tag" in caught.value.do


def test_an_rpm_of_an_external_repo_was_not_built_here(hub: FakeKojiSession):
    hub.rpms["bash", "1.0", "1", "x86_64"]["external_repo_id"] = 3
    assert (
        "were not built in this Koji: bash"
        in check_packages([image(rpm(hub, "bash"))], WARN, hub).warnings[0]
    )


def test_an_unsigned_rpm_has_no_foreign_signature(hub: FakeKojiSession):
    assert not check_packages([image(rpm(hub, "bash", signature=None))], FAIL, hub).warnings


def test_a_foreign_signature_is_warned_of_where_the_site_says_nothing(hub: FakeKojiSession):
    foreign, unsigned = rpm(hub, "bash", signature="f" * 16), rpm(hub, "jq", signature=None)
    (warning,) = check_packages([image(foreign, unsigned)], PackagesConfig(), hub).warnings
    assert warning.endswith("signed with a key that Koji has not: bash-1.0-1.x86_64.")


def test_signatures_on_the_builder_are_not_asked_for(hub: FakeKojiSession):
    hub.refuse["queryRPMSigs"] = [ConnectionError("asked")]
    assert not check_packages([image(host=(rpm(hub, "bash"),))], PackagesConfig(), hub).warnings


def test_an_image_without_an_rpm_database_is_warned_of_unless_it_is_from_scratch(
    hub: FakeKojiSession,
):
    two = [replace(one, has_rpm_database=False) for one in (image(), image(arch="aarch64"))]
    assert not check_packages(two, PackagesConfig(), hub).warnings
    here, there = (replace(one, parent_config_digest="sha256:p") for one in two)
    words = "has no RPM database: Koji will know none of its packages."
    assert check_packages([here, there], PackagesConfig(), hub).warnings == (f"The image {words}",)
    has = replace(here, has_rpm_database=True)
    (warning,) = check_packages([has, there], PackagesConfig(), hub).warnings
    assert warning == f"The image for aarch64 {words}"


def test_a_key_in_the_database_is_no_package(hub: FakeKojiSession):
    key = rpm(hub, "gpg-pubkey", sigmd5="(none)", signature=None)
    assert not check_packages([image(key)], FAIL, hub).warnings


def test_one_rpm_on_two_arches_is_asked_for_once(hub: FakeKojiSession):
    asked = []

    class Counting(FakeKojiSession):
        def getRPM(self, info):  # noqa: N802
            asked.append(info["name"])
            return hub.getRPM(info)

        def queryRPMSigs(self, rpm_id):  # noqa: N802
            asked.append(rpm_id)
            return hub.queryRPMSigs(rpm_id)

    noarch = rpm(hub, "bash")
    check_packages([image(noarch), image(noarch, arch="aarch64")], PackagesConfig(), Counting())
    assert asked == ["bash", 1]


def test_many_packages_are_shortened(hub: FakeKojiSession):
    names = [rpm(hub, f"p{number:02}") for number in range(25)]
    (warning,) = check_packages([image(*names)], WARN, hub).warnings
    assert warning.endswith("p19-1.0-1.x86_64 and 5 more.")


def test_a_name_that_xml_cannot_hold_is_asked_for_as_it_is_shown(hub: FakeKojiSession):
    (warning,) = check_packages([image(rpm(hub, "a\x07"))], WARN, hub).warnings
    assert "were not built" in warning


def test_a_hub_that_is_away_fails_the_build_before_anything_is_imported(hub: FakeKojiSession):
    hub.refuse["getRPM"] = [ConnectionError("reset")]
    with pytest.raises(ServiceError, match="did not answer"):
        check_packages([image(rpm(hub, "bash"))], WARN, hub)


def arches(hub: FakeKojiSession, here: Rpm, there: Rpm, parent: str | None = "sha256:p"):
    """The images of two arches."""
    made = (image(here), image(there, arch="aarch64"))
    return [replace(each, parent_config_digest=parent) for each in made]


def test_a_package_that_is_not_the_same_on_all_arches_fails_the_build(hub: FakeKojiSession):
    two = arches(hub, rpm(hub, "bash"), rpm(hub, "bash", epoch=1, arch="aarch64"))
    with pytest.raises(BuildFailed) as caught:
        check_same(PLAN, two, ())
    assert "    bash: 1.0-1 on x86_64, 1:1.0-1 on aarch64" in caught.value.what.splitlines()
    assert "may_differ" in caught.value.do
    check_same(PLAN, two, ["ba*"])


def test_so_does_one_with_another_signature(hub: FakeKojiSession):
    unsigned = rpm(hub, "bash", signature=None, arch="aarch64")
    with pytest.raises(BuildFailed, match=f"signed with {KEY} on x86_64, 1.0-1 not signed"):
        check_same(PLAN, arches(hub, rpm(hub, "bash"), unsigned), ())


def test_what_is_only_tried_or_from_scratch_may_differ(hub: FakeKojiSession):
    here, there = rpm(hub, "bash"), rpm(hub, "bash", version="2")
    check_same(replace(PLAN, scratch=True), arches(hub, here, there), ())
    check_same(PLAN, arches(hub, here, there, parent=None), ())


def test_of_many_packages_that_differ_some_are_named_and_all_counted(hub: FakeKojiSession):
    names = [f"p{number:02}" for number in range(25)]
    one = image(*(rpm(hub, name) for name in names))
    other = image(*(rpm(hub, name, version="2") for name in names), arch="aarch64")
    two = [replace(each, parent_config_digest="sha256:p") for each in (one, other)]
    with pytest.raises(BuildFailed) as caught:
        check_same(PLAN, two, ())
    assert "p19: " in caught.value.what and "p20: " not in caught.value.what
    assert "and 5 more" in caught.value.what
