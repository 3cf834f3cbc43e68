"""What builds are called, on the real Koji: disttag, numbers, isolated builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import koji
import pytest

from koji_containerbuild.devstack.seed import BUILD_TAG, CONTENT_GENERATOR
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.reserve import Reservations
from koji_containerbuild.rules.nvr import NVR
from tests.stack.builds import Builds, configured
from tests.stack.images import Image, tags

STATIC = "FROM scratch\n@LABELS@\nCOPY hello /\n"
IMPORTER = "importer"  # a host's user has one session only, and kojid has it
FILES = {"hello": "hello\n"}


@contextmanager
def build_tag_extra(stack: Stack, extra: Mapping[str, str]) -> Iterator[None]:
    """More in the extra of the build tag."""
    admin = stack.admin.session
    admin.editTag2(BUILD_TAG, extra=dict(extra))
    try:
        yield
    finally:
        admin.editTag2(BUILD_TAG, remove_extra=list(extra))


def test_a_counted_release_has_the_disttag_of_the_build_tag(stack: Stack, builds: Builds):
    source = builds.source(STATIC, FILES)
    dist = build_tag_extra(stack, {"rpm.macro.dist": ".fc43"})
    with dist, configured(stack, "[naming]\ndisttag = tag"):
        with_dist = [builds.start(source).done().release for _ in range(2)]
    without = builds.start(source).done().release
    with configured(stack, "[naming]\ndisttag = .el9"):
        other = builds.start(source).done().release
    assert [*with_dist, without, other] == ["1.fc43", "2.fc43", "3", "4.el9"]


def test_the_version_can_be_that_of_an_rpm_in_the_repo_of_the_tag(stack: Stack, builds: Builds):
    dockerfile = STATIC.replace(
        "@LABELS@", 'LABEL com.redhat.component="@NAME@-container" name="demo/@NAME@"'
    )
    files = {**FILES, "container.yaml": "version:\n  from_rpm: hello\n"}
    source = builds.source(dockerfile, files)
    with configured(stack, "[naming]\ndisttag = .fc43"):
        made = builds.start(source).done()
    assert made.nvr == f"{source.component}-2.4-1.fc43"
    assert builds.image(made).config["config"]["Labels"]["version"] == "2.4"
    builds.change(source, {"container.yaml": "version:\n  from_rpm: hallo\n"})
    refused = builds.start(builds.change(source, {"x": "y"})).done()
    assert "have no RPM hallo for x86_64 (looked in: koji-containerbuild-" in refused.fault
    assert "Did you mean hello?" in refused.fault or "hello" in refused.fault


def test_a_component_must_end_as_the_site_says(stack: Stack, builds: Builds):
    with configured(stack, "[naming]\ncomponent_suffix = -image"):
        refused = builds.build(STATIC, FILES)
    assert "must end in '-image' here." in refused.fault


def test_an_isolated_build_stands_beside_the_main_stream(stack: Stack, builds: Builds):
    source = builds.source(STATIC, FILES)
    assert builds.start(source).done().release == "1"
    registry, repository = stack.addresses.registry, f"demo/{source.name}"
    latest = builds.image(builds.start(source).done()).index_digest
    isolated = builds.start(source, isolated=True, release="2.1").done()
    assert isolated.release == "2.1"
    assert isolated.build and isolated.build["extra"]["image"]["isolated"] is True
    assert isolated.build["extra"]["image"]["index"]["floating_tags"] == []
    assert {"latest", "1", "1-2.1"} <= set(tags(registry, repository))
    image = f"{registry}/{repository}"
    assert Image.pull(f"{image}:latest").index_digest == latest
    assert Image.pull(f"{image}:1-2.1").index_digest != latest
    assert builds.start(source).done().release == "3"


class LostReply:
    """A session to the real hub; the answer to the first CGInitBuild does not arrive."""

    def __init__(self, session: koji.ClientSession) -> None:
        self._session = session
        self._lost = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def CGInitBuild(self, *args: object) -> object:  # noqa: N802
        answer = self._session.CGInitBuild(*args)
        if not self._lost:
            self._lost = True
            raise ConnectionError("connection reset")
        return answer


def test_a_reservation_whose_answer_was_lost_is_made_anew(stack: Stack, builds: Builds):
    source = builds.source(STATIC, FILES)
    stack.admin.add_user(IMPORTER)
    stack.admin.allow_generator(IMPORTER, CONTENT_GENERATOR)
    session = LostReply(stack.session(IMPORTER))
    reservations = Reservations(session, CONTENT_GENERATOR, 10**6)
    one = reservations.given(NVR(source.component, "1", "7"))
    assert builds.state_of(str(one.nvr)) == "BUILDING"
    with pytest.raises(BadRequest, match="exists already"):
        Reservations(session, CONTENT_GENERATOR, 10**6 + 1).given(one.nvr)
    assert reservations.refund(one, cancelled=False)
    assert builds.state_of(str(one.nvr)) == "FAILED"
