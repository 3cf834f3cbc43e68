"""What we tell the hub: release numbers, logs, metadata."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Optional
from xml.etree import ElementTree
from xmlrpc.client import Fault

import koji
import pytest
from hypothesis import given
from hypothesis import strategies as st
from koji.xmlrpcplus import dumps

from koji_containerbuild.contract.image import ArchImage, Buildroot, ImageIndex, Layer, Rpm, Tool
from koji_containerbuild.contract.plan import (
    Download,
    KojiArchive,
    Parent,
    RepoFile,
    SourceFile,
)
from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api import import_
from koji_containerbuild.koji_api.metadata import Facts, OutputFile, clean, document
from koji_containerbuild.koji_api.reserve import TRIES, Reservations
from koji_containerbuild.koji_api.task_logs import BLOCK, TaskLogs
from koji_containerbuild.rules.nvr import NVR
from tests.fakes.builder import EMPTY
from tests.fakes.koji_session import STATES, FakeKojiSession
from tests.fakes.plans import PLAN

WEB = NVR("web-container", "1.0", "3")
SIGNED = Rpm("a", "1", "2", None, "noarch", "ab" * 16, "0" * 16)


@pytest.fixture
def hub() -> FakeKojiSession:
    return FakeKojiSession()


@pytest.fixture
def reservations(hub: FakeKojiSession) -> Reservations:
    return Reservations(hub, "koji-containerbuild", 7)


def state(hub: FakeKojiSession, nvr: NVR) -> int:
    return hub.builds[str(nvr)]["state"]


# -- reservations


def test_releases_are_counted(reservations: Reservations):
    taken = [reservations.next("web-container", "1.0").nvr.release for _ in range(3)]
    assert taken == ["1", "2", "3"]


def test_a_given_release_is_ours_and_nobody_elses(hub: FakeKojiSession, reservations: Reservations):
    assert reservations.given(WEB).nvr == WEB
    assert state(hub, WEB) == STATES["BUILDING"]
    with pytest.raises(BadRequest, match="web-container-1.0-3 exists already"):
        Reservations(hub, "koji-containerbuild", 8).given(WEB)


@pytest.mark.parametrize("cancelled, name", [(True, "CANCELED"), (False, "FAILED")])
def test_a_release_that_was_given_back_can_be_had_again(
    hub: FakeKojiSession, reservations: Reservations, cancelled: bool, name: str
):
    one = reservations.given(WEB)
    assert reservations.refund(one, cancelled)
    assert state(hub, WEB) == STATES[name]
    assert reservations.refund(one, cancelled)  # twice is no error
    assert reservations.given(WEB).token != one.token


def test_a_build_that_came_of_it_is_not_taken_back(
    hub: FakeKojiSession, reservations: Reservations
):
    one = reservations.given(WEB)
    hub.builds[str(WEB)]["state"] = STATES["COMPLETE"]
    assert not reservations.refund(one, cancelled=False)
    assert state(hub, WEB) == STATES["COMPLETE"]


def test_a_hub_that_is_away_is_told_of(hub: FakeKojiSession, reservations: Reservations):
    one = reservations.given(WEB)
    hub.refuse["CGRefundBuild"] = [ConnectionError("refused")]
    with pytest.raises(ServiceError, match="did not answer"):
        reservations.refund(one, cancelled=False)


AT_ONCE = Fault(
    1, "psycopg2.errors.UniqueViolation: duplicate key value violates unique constraint"
)


@pytest.mark.parametrize("at_once", [None, AT_ONCE])
def test_another_build_that_is_quicker_gets_the_number_and_we_the_next(at_once: Optional[Fault]):
    """At the very same moment, it is the hub's database that refuses, as of Koji 1.30."""

    class Racing(FakeKojiSession):
        races = 2

        def CGInitBuild(self, generator, data):  # noqa: N802
            if self.races:
                self.races -= 1
                super().CGInitBuild(generator, {**data, "extra": {}})
                if at_once:
                    raise at_once
            return super().CGInitBuild(generator, data)

    got = Reservations(Racing(), "g", 7).next("web-container", "1.0")
    assert got.nvr.release == "3"


def test_any_release_of_the_main_stream_is_counted_on(hub: FakeKojiSession):
    got = Reservations(hub, "g", 7)
    for given_release, after in [("3.fc43", "4"), ("9.fc43.2", "10"), ("7", "11")]:
        got.given(NVR("web-container", "1.0", given_release))
        assert got.next("web-container", "1.0").nvr.release == after


def test_an_isolated_build_is_not_counted_on(reservations: Reservations):
    reservations.next("web-container", "1.0")
    for isolated in ("1.1", "3.1", "20.7.1", "30.1.fc43"):
        reservations.given(NVR("web-container", "1.0", isolated))
    assert reservations.next("web-container", "1.0").nvr.release == "2"


def test_builds_of_another_version_or_that_came_to_nothing_are_not_counted(
    hub: FakeKojiSession, reservations: Reservations
):
    reservations.given(NVR("web-container", "1.0-1", "8"))  # the pattern finds it, too
    reservations.given(NVR("web-container", "2.0", "5"))
    reservations.refund(reservations.given(NVR("web-container", "1.0", "4")), cancelled=True)
    assert reservations.next("web-container", "1.0").nvr.release == "1"


def test_a_deleted_build_keeps_its_number(hub: FakeKojiSession, reservations: Reservations):
    hub.builds[str(reservations.next("web-container", "1.0").nvr)]["state"] = STATES["DELETED"]
    assert reservations.next("web-container", "1.0").nvr.release == "2"


def test_the_disttag_stands_behind_the_number(reservations: Reservations):
    reservations.given(NVR("web-container", "1.0", "2"))
    taken = [
        reservations.next("web-container", "1.0", dist).nvr.release
        for dist in (".fc43", ".fc43", ".fc44", "")
    ]
    assert taken == ["3.fc43", "4.fc43", "5.fc44", "6"]


class LostReply(FakeKojiSession):
    """The hub makes the reservation, and its answer does not arrive."""

    lost: Exception | None = ConnectionError("connection reset")

    def CGInitBuild(self, generator, data):  # noqa: N802
        answer = super().CGInitBuild(generator, data)
        if self.lost:
            error, self.lost = self.lost, None
            raise error
        return answer


@pytest.mark.parametrize("lost", [ConnectionError("reset"), koji.RetryError("unable to retry")])
def test_a_reservation_whose_answer_was_lost_is_made_anew(lost: Exception):
    hub = LostReply("1.30.1")
    hub.lost = lost
    got = Reservations(hub, "g", 7).given(WEB)
    assert hub.tokens == {1: got.token}
    assert state(hub, WEB) == STATES["BUILDING"]


def test_a_reservation_whose_token_was_not_kept_is_made_anew():
    """The process died before it could write the token down."""
    hub = FakeKojiSession("1.30.1")
    first, second = (Reservations(hub, "g", 7).given(WEB) for _ in range(2))
    assert first.token != second.token
    assert hub.tokens == {1: second.token}


def test_where_that_would_cancel_the_task_the_name_to_free_is_told():
    hub = LostReply("1.33.0")
    with pytest.raises(ServiceError, match=rf"has reserved {WEB}.*koji cancel {WEB}"):
        Reservations(hub, "g", 7).given(WEB)


def test_a_reservation_of_another_task_is_never_taken_away(hub: FakeKojiSession):
    Reservations(hub, "g", 6).given(WEB)
    hub.refuse["CGInitBuild"] = [ConnectionError("reset")]
    with pytest.raises(BadRequest, match="exists already"):
        Reservations(hub, "g", 7).given(WEB)
    assert state(hub, WEB) == STATES["BUILDING"]


def test_a_host_without_access_is_told_what_an_admin_must_do(
    hub: FakeKojiSession, reservations: Reservations
):
    hub.may_import = False
    with pytest.raises(ServiceError, match="grant-cg-access"):
        reservations.next("web-container", "1.0")


def test_numbers_that_are_always_taken_come_to_an_end(hub: FakeKojiSession):
    class Taken(FakeKojiSession):
        def CGInitBuild(self, generator, data):  # noqa: N802
            super().CGInitBuild(generator, {**data, "extra": {}})
            return super().CGInitBuild(generator, data)

    with pytest.raises(ServiceError, match=f"in {TRIES} tries"):
        Reservations(Taken(), "g", 7).next("web-container", "1.0")


@pytest.mark.parametrize(
    "version, linked", [("1.30.1", False), ("1.31.2", False), ("1.32.0", True), ("1.35.1", True)]
)
def test_the_task_is_named_where_the_hub_can_take_it(version: str, linked: bool):
    hub = FakeKojiSession(version)
    Reservations(hub, "g", 7).given(WEB)
    assert ("task_id" in hub.reserved[0]) is linked


# -- task logs


@pytest.fixture
def logs(hub: FakeKojiSession, tmp_path: Path) -> TaskLogs:
    return TaskLogs(hub, "tasks/7", tmp_path)


@given(
    pieces=st.lists(st.binary(max_size=50) | st.integers(0, 2 * BLOCK).map(bytes), max_size=4),
    failures=st.integers(0, 3),
)
def test_bytes_arrive_in_order_and_once_also_if_the_hub_refuses_for_a_while(
    pieces, failures, tmp_path_factory
):
    hub = FakeKojiSession()
    logs = TaskLogs(hub, "tasks/7", tmp_path_factory.mktemp("logs"))
    hub.refuse["uploadFile"] = [koji.GenericError("busy"), ConnectionError("reset")][:failures]
    for piece in pieces:
        logs.write("x.log", piece)
        logs.flush(now=True)
    for _ in range(4):
        logs.flush(now=True)
    assert bytes(hub.uploads.get("tasks/7/x.log", b"")) == b"".join(pieces)


def test_a_reply_that_was_lost_doubles_nothing(hub: FakeKojiSession, logs: TaskLogs):
    logs.write("x.log", b"one\n")
    hub.lose_reply.add("uploadFile")
    logs.flush(now=True)
    hub.lose_reply.clear()
    logs.write("x.log", b"two\n")
    logs.flush(now=True)
    assert hub.uploads["tasks/7/x.log"] == b"one\ntwo\n"


def test_a_hub_that_refuses_fails_no_build_but_is_remembered(hub: FakeKojiSession, logs: TaskLogs):
    hub.refuse["uploadFile"] = [koji.GenericError("quota")] * 9
    logs.event("build", "started")
    logs.put("plan.json", "{}")
    assert "quota" in logs.trouble
    assert b"task build: started" in logs.task_log.read_bytes()


def test_a_line_that_this_host_cannot_keep_goes_to_the_hub(hub: FakeKojiSession, logs: TaskLogs):
    logs.task_log.unlink()
    logs.task_log.mkdir()  # as on a full disk, it cannot be written
    logs.event("build", "started")
    logs.flush(now=True)
    assert b"task build: started" in hub.uploads["tasks/7/osbs-build.log"]
    assert "osbs-build.log" in logs.trouble


def test_an_empty_file_is_not_uploaded(hub: FakeKojiSession, logs: TaskLogs):
    logs.write("x.log", b"")
    logs.flush(now=True)
    assert not hub.uploads


# -- metadata


def image(arch: str = "x86_64", **other) -> ArchImage:
    return dataclasses.replace(
        ArchImage(
            arch, "sha256:" + "e" * 64, "application/vnd.docker.distribution.manifest.v2+json", 10, "sha256:" + "c" * 64,
            {**EMPTY, "architecture": "amd64", "config": {"Labels": {"bell": "\x07"}}}, None, (Layer("sha256:" + "d" * 64, 5),),
            (Rpm("bash", "5", "1", 2, arch, "ab" * 16, None), SIGNED), None,
            Buildroot("host", "fedora-43", arch, "none", (Tool("buildah", "1.28"),), (SIGNED,)), (0, 3), (), (),
        ),
        **other,
    )  # fmt: skip


def facts(plan=PLAN, arches=("x86_64",), build_id=3) -> Facts:
    return Facts(
        plan=dataclasses.replace(plan, arches=arches),
        generator="koji-containerbuild",
        submitter="builder1",
        job="kcb-1-7",
        images=tuple(image(arch) for arch in arches),
        index=ImageIndex(
            "sha256:" + "1" * 64, "application/vnd.docker.distribution.manifest.list.v2+json"
        ),
        archives={arch: OutputFile(f"web-{arch}.tar", 5, "0" * 32, arch) for arch in arches},
        logs=(
            OutputFile("osbs-build.log", 1, "1" * 32, "noarch"),
            OutputFile("x86_64-build.log", 1, "2" * 32, "x86_64"),
        ),
        started=1,
        ended=2,
        build_id=build_id,
    )


JAR = Download("https://x.org/a.jar", {"md5": "a" * 32})
SOURCE = Download("https://x.org/s.zip", {"sha256": "b" * 64})
FROM_URL = SourceFile("artifacts/lib/a.jar", JAR, "url", source=SOURCE)
BARE = SourceFile("artifacts/b", Download("https://x.org/b", {"sha1": "c" * 40}), "url")
FROM_KOJI = SourceFile("artifacts/k.jar", dataclasses.replace(JAR, size=9), "koji", KojiArchive(40417, "greeter-1-1", "k.jar"))  # fmt: skip
FETCHED = dataclasses.replace(
    facts(dataclasses.replace(PLAN, files=(FROM_URL, BARE, FROM_KOJI))),
    sources={SOURCE.url: OutputFile("s.zip", 7, "3" * 32, "noarch")},
)

VARIANTS = {
    "fetched files": FETCHED,
    "one arch": facts(),
    "three arches": facts(arches=("x86_64", "aarch64", "s390x")),
    "scratch": facts(dataclasses.replace(PLAN, scratch=True, destination=dataclasses.replace(PLAN.destination, primary_tag="", floating_tags=())), build_id=None),
    "isolated": facts(dataclasses.replace(PLAN, isolated=True)),
    "parents and repos": facts(dataclasses.replace(PLAN, parents=(Parent("a", "r/a:1", "r/a@sha256:1"),), repos=(RepoFile("x.repo", "", "https://r/x.repo"),))),
    "without Koji": facts(dataclasses.replace(PLAN, koji=None)),
    "user data": facts(dataclasses.replace(PLAN, userdata={"a": [1, None, {"b": "\x00"}]})),
    "help page": dataclasses.replace(facts(), images=(image(help_file="help.md"),)),
    "parent config": dataclasses.replace(facts(), images=(image(parent_config_digest="sha256:" + "b" * 64),)),
}  # fmt: skip


@pytest.mark.parametrize("which", VARIANTS.values(), ids=list(VARIANTS))
def test_the_metadata_is_what_the_hub_wants(which: Facts):
    import_.check(document(which))


def test_a_file_of_another_koji_build_is_a_component_of_the_image():
    (archive,) = (out for out in document(FETCHED)["output"] if out["type"] == "docker-image")
    assert archive["components"][-1] == {
        "type": "kojifile", "archive_id": 40417, "nvr": "greeter-1-1", "filename": "k.jar",
        "filesize": 9, "checksum": "a" * 32, "checksum_type": "md5",
    }  # fmt: skip


def test_the_source_of_an_artifact_is_an_archive_that_names_it():
    made = document(FETCHED)
    (archive,) = (out for out in made["output"] if out["type"] == "remote-source-file")
    jar = {"url": JAR.url, "checksums": JAR.checksums, "filename": "a.jar"}
    assert (archive["filename"], archive["extra"]) == (
        "s.zip",
        {"source-url": SOURCE.url, "artifacts": [jar], "typeinfo": {"remote-source-file": {}}},
    )
    bare = {"url": "https://x.org/b", "checksums": {"sha1": "c" * 40}, "filename": "b"}
    assert made["build"]["extra"]["typeinfo"]["remote-source-file"] == {
        "remote_source_files": [{SOURCE.url: [jar]}],
        "no_source": [bare],
    }


def test_a_build_without_artifacts_is_of_no_further_type():
    assert "typeinfo" not in document(facts())["build"]["extra"]


def test_every_output_is_of_a_buildroot_that_is_described():
    made = document(VARIANTS["three arches"])
    known = {root["id"] for root in made["buildroots"]}
    assert {output["buildroot_id"] for output in made["output"]} <= known
    assert len(known) == 3


def test_metadata_that_is_wrong_is_refused_here_and_not_by_the_hub():
    made = document(facts())
    del made["build"]["name"]
    with pytest.raises(ServiceError, match="metadata is wrong"):
        import_.check(made)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_whatever_is_in_the_metadata_xml_can_hold_it(value):
    text = dumps((clean(value),))
    ElementTree.fromstring(text.encode())
    assert clean(clean(value)) == clean(value)


# -- import


def test_a_lost_reply_of_an_import_is_no_failure(
    hub: FakeKojiSession, reservations: Reservations, tmp_path: Path
):
    one = reservations.given(WEB)
    metadata = tmp_path / "metadata.json"
    metadata.write_text('{"build": {"build_id": 1}, "output": []}')
    hub.lose_reply.add("CGImport")
    assert import_.import_build(hub, metadata, [], one) == one.build_id


def test_a_refused_import_is_a_failure(
    hub: FakeKojiSession, reservations: Reservations, tmp_path: Path
):
    one = reservations.given(WEB)
    metadata = tmp_path / "metadata.json"
    metadata.write_text('{"build": {"build_id": 1}, "output": []}')
    hub.refuse["CGImport"] = [koji.GenericError("no such file")]
    with pytest.raises(ServiceError, match="did not import web-container-1.0-3: no such file"):
        import_.import_build(hub, metadata, [], one)


def test_a_build_that_is_tagged_already_is_not_tagged_again(
    hub: FakeKojiSession, reservations: Reservations
):
    one = reservations.given(WEB)
    import_.tag_build(hub, 7, "f43-candidate", one)
    import_.tag_build(hub, 7, "f43-candidate", one)
    assert hub.tags[one.build_id] == ["f43-candidate"]


def test_a_refused_tag_says_how_to_tag_by_hand(hub: FakeKojiSession, reservations: Reservations):
    one = reservations.given(WEB)
    hub.refuse["tagBuild"] = [koji.GenericError("policy violation")]
    with pytest.raises(ServiceError, match="koji tag-build f43-candidate web-container-1.0-3"):
        import_.tag_build(hub, 7, "f43-candidate", one)
