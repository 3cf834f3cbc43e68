"""Which arches are built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.arches import choose

ALL = ("x86_64", "aarch64", "ppc64le", "s390x")
SOME = st.lists(st.sampled_from([*ALL, "i686", "riscv64"]), unique=True)


@given(SOME, SOME, SOME, SOME)
def test_whatever_is_asked_only_arches_of_the_tag_are_chosen(of_tag, only, exclude, override):
    try:
        chosen = choose(of_tag, only, exclude, override)
    except BadRequest as error:
        assert error.do
    else:
        assert chosen
        assert set(chosen) <= set(of_tag) - set(exclude)


def test_all_arches_of_the_tag_in_its_order():
    assert choose(ALL, (), (), ()) == ALL


def test_only_comes_before_not():
    assert choose(ALL, ("x86_64", "s390x"), ("s390x",), ()) == ("x86_64",)


def test_i386_in_a_build_tag_means_i686():
    assert choose(["i386"], (), (), ()) == ("i686",)


def test_an_arch_that_is_named_twice_is_built_once():
    assert choose(["x86_64"], (), (), ("x86_64", "x86_64")) == ("x86_64",)


def test_an_arch_that_the_tag_lacks_cannot_be_asked_for():
    with pytest.raises(BadRequest, match="not an arch of the build tag.*Choose among x86_64"):
        choose(["x86_64"], (), (), ("s390x",))


def test_no_arch_left_is_said():
    with pytest.raises(BadRequest, match="No arch is left"):
        choose(["x86_64"], (), ("x86_64",), ())
