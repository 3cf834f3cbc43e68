"""Names of builds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest, ConfigError
from koji_containerbuild.rules import nvr
from koji_containerbuild.rules.nvr import NVR

NAMES = st.from_regex(nvr.NAME, fullmatch=True)
VERSIONS = st.from_regex(nvr.VERSION, fullmatch=True)
RELEASES = st.from_regex(nvr.RELEASE, fullmatch=True)
CHECKS = (nvr.check_name, nvr.check_version, nvr.check_release, nvr.check_isolated_release)


@given(NAMES, VERSIONS, RELEASES)
def test_a_name_that_was_written_is_read_again(name: str, version: str, release: str):
    assert NVR.parse(str(NVR(name, version, release))) == NVR(name, version, release)


@given(st.text())
def test_a_text_is_a_build_name_or_refused(text: str):
    try:
        assert str(NVR.parse(text)) == text
    except BadRequest:
        assert text.count("-") < 2 or not all(text.rsplit("-", 2))


@pytest.mark.parametrize("check", CHECKS)
@given(text=st.text())
def test_a_check_gives_back_what_it_was_given_or_refuses(check, text: str):
    try:
        assert check(text) == text
    except BadRequest as error:
        assert error.do


@pytest.mark.parametrize("check", CHECKS)
def test_a_newline_at_the_end_is_noticed(check):
    with pytest.raises(BadRequest):
        check("1.1\n")


@pytest.mark.parametrize("version", ["1-0", "1/0", "", "1 0", "1:0"])
def test_a_version_that_koji_cannot_hold_is_refused(version: str):
    with pytest.raises(BadRequest, match="no dash, no slash"):
        nvr.check_version(version)


@pytest.mark.parametrize("release", ["1", "1.fc43", "3.1", "12_rc1.el9", "1a"])
def test_a_release_is_accepted(release: str):
    assert nvr.check_release(release) == release


@pytest.mark.parametrize("release", ["", "fc43", "1..2", "1.", "1-2", ".1", "1 "])
def test_a_release_is_refused(release: str):
    with pytest.raises(BadRequest, match="Begin with a digit"):
        nvr.check_release(release)


@pytest.mark.parametrize("release", ["1", "1.", "1.x", "", "1.1.", "1.1..2", "a.1"])
def test_an_isolated_build_needs_numbers_with_dots(release: str):
    with pytest.raises(BadRequest, match=r"like 3\.1"):
        nvr.check_isolated_release(release)


@pytest.mark.parametrize("release", ["1.1", "3.1.fc43", "1.1.el8_4", "2.1582020101", "3.1_2"])
def test_an_isolated_build_may_have_more_behind_its_numbers(release: str):
    assert nvr.check_isolated_release(release) == release
    assert nvr.main_stream_number(release) == 0


@given(RELEASES)
def test_a_release_counts_by_its_first_number_or_not_at_all(release: str):
    number = nvr.main_stream_number(release)
    assert number == 0 or release.lstrip("0").startswith(str(number))


DISTTAGS = st.from_regex(nvr.DISTTAG, fullmatch=True).filter(lambda dist: len(dist) <= 240)


@given(st.integers(1, 10**9), DISTTAGS)
def test_a_number_with_a_disttag_is_a_release_of_the_main_stream(number: int, dist: str):
    release = nvr.check_release(f"{number}{nvr.check_disttag(dist, 'x')}")
    assert nvr.main_stream_number(release) == number


@pytest.mark.parametrize("dist", ["fc43", ".43", ".fc43-1", ".fc 43", ".", "%{nil}", ".fc43\n"])
def test_a_disttag_that_cannot_end_a_release_is_refused(dist: str):
    with pytest.raises(ConfigError, match=r"(?s)of the tag f43 is .*as in \.fc43"):
        nvr.check_disttag(dist, "the tag f43")


def test_the_sites_rule_on_components_says_what_to_write():
    nvr.check_component_suffix("web-container", "-container")
    nvr.check_component_suffix("web", "")
    with pytest.raises(BadRequest) as caught:
        nvr.check_component_suffix("web", "-container")
    assert str(caught.value) == (
        "The label com.redhat.component is 'web', and must end in '-container' here. "
        'Write LABEL com.redhat.component="web-container".'
    )
