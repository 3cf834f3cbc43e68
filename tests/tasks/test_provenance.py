"""Parents and the Koji builds that they are: recorded, waited for, warned of, put in their place."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import koji
import pytest

from koji_containerbuild.errors import BadRequest, BuildCancelled
from koji_containerbuild.rules.pullspec import Pullspec
from tests.fakes.builder import FakeBuilder, push
from tests.fakes.koji_session import STATES
from tests.fakes.rpms import no_packages
from tests.tasks.test_build import LABELS, Site, site

__all__ = ["site"]
NVR = "fedora-container-43-7"
WEB = f"FROM fedora:43\n{LABELS}"


def parent(site: Site, tag: str = "43", repository: str = "fedora", **labels: str) -> str:
    """An image that says which build it is; its digest."""
    builder = FakeBuilder(site.registry)
    image = builder._on(
        builder.images["scratch"], {"etc/x": tag.encode(), **no_packages()}, 1, "base"
    )
    names = {"com.redhat.component": "fedora-container", "version": "43", "release": "7"}
    image.config["config"] = {"Labels": {**names, **labels}}
    return push(site.registry, Pullspec(site.fake.host, repository, tag), image)


def policy(site: Site, **settings: Any) -> None:
    parents = dataclasses.replace(site.config.parents, **settings)
    site.config = dataclasses.replace(site.config, parents=parents)


def image_extra(site: Site) -> dict[str, Any]:
    return site.hub.imported[-1]["build"]["extra"]["image"]


def known(where: str, digest: str) -> dict[str, Any]:
    return {"index": digest} if where == "index" else {"archives": {"x86_64": digest}}


@pytest.mark.parametrize("level", ["ignore", "warn", "fail"])
@pytest.mark.parametrize("where", ["index", "archive"])
def test_a_parent_that_is_a_koji_build_is_recorded(site: Site, level: str, where: str):
    policy(site, provenance=level)
    number = site.hub.add_image(NVR, "r/fedora", **known(where, parent(site)))
    site.commit(WEB)
    assert "user_warnings" not in site.run()
    found = image_extra(site)
    assert found["parent_build_id"] == number
    assert found["parent_images"] == ["fedora:43"]
    name = f"{site.fake.host}/fedora:43"
    assert found["parent_image_builds"] == {name: {"id": number, "nvr": NVR}}


def test_every_from_is_recorded_as_it_is_written_and_in_order(site: Site):
    number = site.hub.add_image(NVR, "r/fedora", parent(site))
    parent(site, "1", "other", release="8")
    stages = ("scratch AS a", "other:1 AS b", "fedora:43 AS c", "b AS d", "fedora:43")
    site.commit("".join(f"FROM {stage}\n" for stage in stages) + LABELS)
    site.run()
    found, host = image_extra(site), site.fake.host
    assert found["parent_images"] == ["scratch", "other:1", "fedora:43", "fedora:43"]
    assert found["parent_image_builds"] == {
        f"{host}/other:1": None,
        f"{host}/fedora:43": {"id": number, "nvr": NVR},
    }
    assert found["parent_build_id"] == number


def test_a_build_on_scratch_has_no_parent_build(site: Site):
    site.commit(f"FROM scratch\n{LABELS}")
    site.run()
    found = image_extra(site)
    assert (found["parent_images"], found["parent_image_builds"]) == (["scratch"], {})
    assert "parent_build_id" not in found


def not_labelled(site: Site) -> None:
    parent(site, release="")


def not_in_koji(site: Site) -> None:
    parent(site)


def of_another_digest(site: Site) -> None:
    parent(site)
    site.hub.add_image(NVR, "r/fedora", "sha256:" + "0" * 64, {"x86_64": "sha256:" + "1" * 64})


def failed(site: Site) -> None:
    site.hub.add_image(NVR, "r/fedora", parent(site))
    site.hub.builds[NVR]["state"] = STATES["FAILED"]


def not_done_in_time(site: Site) -> None:
    failed(site)
    site.hub.builds[NVR]["state"] = STATES["BUILDING"]


DOUBTS = {
    not_labelled: "names no Koji build: it lacks the labels",
    not_in_koji: "is the Koji build fedora-container-43-7, and Koji knows no such build",
    of_another_digest: "Koji has other digests of that build than sha256:",
    failed: "and that is FAILED",
    not_done_in_time: "and that is BUILDING",
}


@pytest.mark.parametrize("prepare, words", DOUBTS.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_a_parent_in_doubt_is_recorded_as_unknown_and_told_as_the_site_wishes(
    site: Site, prepare: Any, words: str
):
    prepare(site)
    site.commit(WEB)
    policy(site, provenance="fail", digest_mismatch="fail")
    begins = rf"The parent image {site.fake.host}/fedora:43 \(line 1 of the Dockerfile\) .*{words}"
    with pytest.raises(BadRequest, match=begins):
        site.run()
    assert not site.hub.reserved
    policy(site, provenance="warn", digest_mismatch="warn")
    (warning,) = site.run()["user_warnings"]
    assert words in warning
    assert list(image_extra(site)["parent_image_builds"].values()) == [None]
    assert "parent_build_id" not in image_extra(site)


def test_an_unknown_parent_and_one_with_another_digest_have_levels_of_their_own(site: Site):
    of_another_digest(site)
    site.commit(WEB)
    with pytest.raises(BadRequest, match="Koji has other digests"):  # this is the default
        site.run()
    assert "Koji has other digests" in site.run(scratch=True)["user_warnings"][0]
    policy(site, provenance="fail", digest_mismatch="ignore")
    assert "user_warnings" not in site.run()
    site.hub.builds[NVR]["state"] = STATES["FAILED"]
    with pytest.raises(BadRequest, match="and that is FAILED"):
        site.run()
    policy(site, provenance="ignore", digest_mismatch="fail")
    assert "user_warnings" not in site.run()


def test_a_scratch_build_is_only_warned_and_waits_for_nobody(site: Site):
    not_done_in_time(site)
    site.commit(WEB)
    policy(site, provenance="fail")
    slept: list[float] = []
    site.sleep = slept.append
    assert "BUILDING" in site.run(scratch=True)["user_warnings"][0]
    assert not slept


def test_a_parent_that_is_being_imported_is_waited_for(site: Site):
    not_done_in_time(site)
    site.commit(WEB)
    policy(site, provenance="fail")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            site.hub.builds[NVR]["state"] = STATES["COMPLETE"]

    site.sleep = sleep
    site.run()
    assert image_extra(site)["parent_build_id"] == site.hub.builds[NVR]["id"]
    assert slept == [5, 5, 5]
    assert f"task parents: note: waiting up to 180 s for {NVR} to be done" in site.log()


def test_waiting_for_a_parent_ends(site: Site):
    not_done_in_time(site)
    site.commit(WEB)
    policy(site, provenance="warn", wait_seconds=20)
    slept: list[float] = []
    site.sleep = slept.append
    site.run()
    assert sum(slept) == 20


def test_waiting_for_a_parent_ends_when_the_task_is_cancelled(site: Site):
    not_done_in_time(site)
    site.commit(WEB)
    policy(site, provenance="warn")

    def cancel(seconds: float) -> None:
        site.hub.task_states[7] = koji.TASK_STATES["CANCELED"]

    site.sleep = cancel
    with pytest.raises(BuildCancelled, match="waited for a parent"):
        site.run()
    assert not site.hub.reserved and not site.left_over()


# -- koji_parent_build


@pytest.mark.parametrize("where", ["index", "archive"])
@pytest.mark.parametrize("by_id", [True, False])
def test_a_given_build_takes_the_place_of_the_parent(site: Site, where: str, by_id: bool):
    new, nvr, here = parent(site, "new"), "fedora-container-44-1", f"{site.fake.host}/fedora"
    number = site.hub.add_image(nvr, here, **known(where, new))
    parent(site, "1", "other")
    stages = ("other:1 AS a", "fedora:99 AS b", "fedora:99")
    site.commit("".join(f"FROM {stage}\n" for stage in stages) + LABELS)
    site.run(koji_parent_build=str(number) if by_id else nvr)
    plan = json.loads(site.log("plan.json"))
    pinned = {one["written"]: one["pinned"] for one in plan["parents"]}
    assert pinned["fedora:99"] == f"{here}@{new}"
    found = image_extra(site)
    assert found["parent_images"] == ["other:1", "fedora:99", "fedora:99"]
    assert found["parent_build_id"] == number
    assert found["parent_image_builds"][f"{here}:99"] == {"id": number, "nvr": nvr}


CANNOT = {
    "unknown": ("x-container-1-1", WEB, "Koji knows no build x-container-1-1"),
    "no name": ("x", WEB, "'x' is not a build name"),
    "not complete": ("failed-container-1-1", WEB, "failed-container-1-1 is FAILED"),
    "no image": ("rpm-container-1-1", WEB, "rpm-container-1-1 has no image for x86_64"),
    "another arch": ("arm-container-1-1", WEB, "has no image for x86_64"),
    "another repository": ("other-container-1-1", WEB, "image other, and the Dockerfile stands on fedora"),
    "another registry": ("quay-container-1-1", WEB, "registry quay.io, which is not allowed"),
    "gone": ("gone-container-1-1", WEB, "in whose place is .*, does not exist"),
    "scratch": ("good-container-1-1", f"FROM fedora:43 AS x\nFROM scratch\n{LABELS}", "stands on scratch"),
}  # fmt: skip


@pytest.mark.parametrize("name, text, words", CANNOT.values(), ids=list(CANNOT))
def test_what_cannot_be_the_parent_is_refused(site: Site, name: str, text: str, words: str):
    digest, here = parent(site), f"{site.fake.host}/fedora"
    for one in ("good", "failed"):
        site.hub.add_image(f"{one}-container-1-1", here, digest)
    site.hub.builds["failed-container-1-1"]["state"] = STATES["FAILED"]
    site.hub.add_image("rpm-container-1-1", here)
    site.hub.add_image("arm-container-1-1", here, archives={"aarch64": digest})
    site.hub.add_image("other-container-1-1", f"{site.fake.host}/other", digest)
    site.hub.add_image("quay-container-1-1", "quay.io/fedora", digest)
    site.hub.add_image("gone-container-1-1", here, "sha256:" + "0" * 64)
    site.commit(text)
    with pytest.raises(BadRequest, match=words) as caught:
        site.run(koji_parent_build=name)
    assert caught.value.do
    assert not site.hub.reserved
