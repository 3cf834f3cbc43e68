"""Packages that are not the same on every arch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.rules.same_packages import Installed, differing

BASH = Installed("bash", "5.2-1", "aa")


@pytest.mark.parametrize(
    "here, there, line",
    [
        ([BASH], [BASH], None),
        ([BASH], [], None),
        ([BASH], [Installed("zsh", "1-1", None)], None),
        ([BASH], [Installed("bash", "5.2-2", "aa")], "bash: 5.2-1 on x86_64, 5.2-2 on s390x"),
        ([BASH], [Installed("bash", "1:5.2-1", "aa")], "bash: 5.2-1 on x86_64, 1:5.2-1 on s390x"),
        (
            [BASH],
            [Installed("bash", "5.2-1", "bb")],
            "bash: 5.2-1 signed with aa on x86_64, 5.2-1 signed with bb on s390x",
        ),
        (
            [Installed("bash", "5.2-1", None)],
            [BASH],
            "bash: 5.2-1 not signed on x86_64, 5.2-1 signed with aa on s390x",
        ),
        (
            [BASH, Installed("bash", "5.1-1", "aa")],
            [BASH],
            "bash: 5.1-1 and 5.2-1 on x86_64, 5.2-1 on s390x",
        ),
    ],
)
def test_version_release_and_key_must_be_the_same(here, there, line):
    assert differing({"x86_64": here, "s390x": there}, ()) == ((line,) if line else ())


@pytest.mark.parametrize("patterns, told", [(["bash"], 0), (["b*", "x"], 0), (["ash", "B*"], 1)])
def test_the_site_can_except_names(patterns: list[str], told: int):
    other = Installed("bash", "9-9", None)
    assert len(differing({"x86_64": [BASH], "s390x": [other]}, patterns)) == told


INSTALLED = st.lists(
    st.builds(Installed, st.sampled_from("ab"), st.sampled_from("12"), st.sampled_from("xy"))
)


@given(st.dictionaries(st.sampled_from(["x86_64", "s390x", "aarch64"]), INSTALLED))
def test_exactly_the_names_are_told_that_two_arches_have_differently(images):
    told = {line.partition(":")[0] for line in differing(images, ())}
    for name in "ab":
        sets = {frozenset(p for p in found if p.name == name) for found in images.values()}
        assert (name in told) == (len(sets - {frozenset()}) > 1)
