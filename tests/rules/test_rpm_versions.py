"""Which version is newer: the same answer as rpm's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.rules.rpm_versions import compare_evr, compare_versions

VERSIONS = st.text("0123456789ab~^._+Z", min_size=1, max_size=10)
ANY = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0-"), min_size=1)
WITHOUT_COLON_OR_HYPHEN = st.text("019a~^.", min_size=1, max_size=6)

# From rpm's own tests/rpmvercmp.at, oldest first.
IN_ORDER = [
    ["1.0~rc1~git123", "1.0~rc1", "1.0~rc2", "1.0", "1.0^git1", "1.0^git2", "1.0.1", "1.1"],
    ["2.0", "2.0.1", "2.0.1a"],
    ["5.5p1", "5.5p2", "5.5p10"],
    ["10xyz", "10.1xyz"],
    ["xyz.4", "8", "xyz10"][:2],
    ["6.0", "6.0.rc1"],
    ["10a2", "10b2"],
    ["1.0^20160101", "1.0^20160101^git1", "1.0.1"],
]


@pytest.mark.parametrize("versions", IN_ORDER, ids=lambda v: v[-1])
def test_versions_are_in_the_order_of_rpms_own_tests(versions: list[str]):
    for at, one in enumerate(versions):
        assert [compare_versions(one, other) for other in versions] == [
            (at > i) - (at < i) for i in range(len(versions))
        ]


@pytest.mark.parametrize("text", [VERSIONS, ANY], ids=["versions", "any text"])
def test_rpm_itself_would_say_the_same(text):
    rpm = pytest.importorskip("rpm")

    @given(text, text)
    def same(one: str, other: str) -> None:
        theirs = rpm.labelCompare(("0", one, "1"), ("0", other, "1"))
        assert compare_versions(one, other) == theirs

    same()


@given(
    st.tuples(st.integers(0, 3), WITHOUT_COLON_OR_HYPHEN, WITHOUT_COLON_OR_HYPHEN),
    st.tuples(st.integers(0, 3), WITHOUT_COLON_OR_HYPHEN, WITHOUT_COLON_OR_HYPHEN),
)
def test_epoch_goes_before_version_and_version_before_release(one, other):
    rpm = pytest.importorskip("rpm")
    ours, theirs = ((f"{e}:{v}-{r}" if e else f"{v}-{r}") for e, v, r in (one, other))
    right = rpm.labelCompare((str(one[0]), *one[1:]), (str(other[0]), *other[1:]))
    assert compare_evr(ours, theirs) == right


def test_a_number_of_many_digits_is_a_number():
    assert compare_versions("9" * 6000, "1" + "0" * 6000) == -1
