"""What is said of the way from one image to another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.rules.changes import (
    BuildFacts,
    ImageFacts,
    Layer,
    Package,
    PackageChange,
    compare,
    compare_packages,
)
from koji_containerbuild.rules.changes_text import WIDTH, render
from koji_containerbuild.rules.timeline import Span
from koji_containerbuild.rules.timeline import render as chart


def rpm(name: str, evr: str, arch: str = "x86_64", sigmd5: str = "") -> Package:
    return Package(name, arch, evr, sigmd5 or f"{name}-{evr}")


def image(*packages: Package, arch: str = "x86_64", layers: str = "ab", **labels: str):
    sizes = {"a": 10 << 20, "b": 1 << 20, "c": 2 << 20}
    return ImageFacts(arch, labels, tuple(Layer(x, sizes[x]) for x in layers), packages)


def text(old, new) -> str:
    olds, news = ([i] if isinstance(i, ImageFacts) else i for i in (old, new))
    return render(compare(BuildFacts("web-1-1", tuple(olds)), BuildFacts("web-1-2", tuple(news))))


BEFORE = image(
    rpm("bash", "5.2.15-1"), rpm("curl", "8.1-1"), rpm("old", "1-1"), rpm("zlib", "1.3-1"),
    rpm("rpm", "4.1-1"), release="1", gone="x", same="y",
)  # fmt: skip
AFTER = image(
    rpm("bash", "5.2.21-1"), rpm("curl", "8.0-3"), rpm("jq", "1:1.7-1"), rpm("zlib", "1.3-1"),
    rpm("rpm", "4.1-1", sigmd5="other"), layers="ac", release="2", same="y", new="z",
)  # fmt: skip


def test_all_that_can_change_as_it_reads():
    assert (
        text(BEFORE, AFTER)
        == """\
From web-1-1 to web-1-2

Size:     11.0 MiB -> 12.0 MiB (+1.0 MiB)
Layers:   1 shared (10.0 MiB), 1 new (2.0 MiB), 1 gone (1.0 MiB)

Updated: 1
  bash  5.2.15-1 -> 5.2.21-1

Downgraded: 1
  curl  8.1-1 -> 8.0-3

Added: 1
  jq  1:1.7-1

Removed: 1
  old  1-1

Rebuilt: the same version, another file: 1
  rpm  4.1-1

Labels: 3
  - gone: x
  + new: z
  release: 1 -> 2

1 package did not change.
"""
    )


def test_two_images_that_are_the_same():
    assert "Nothing changed." in text(BEFORE, BEFORE)


def test_what_all_arches_have_is_said_once_and_the_rest_by_arch():
    arm = [replace(i, arch="aarch64", packages=tuple(replace(p, arch="aarch64") for p in i.packages))
           for i in (BEFORE, AFTER)]  # fmt: skip
    more = replace(AFTER, packages=(*AFTER.packages, rpm("x86-only", "1-1")))
    said = text([BEFORE, arm[0]], [more, arm[1]])
    assert said.count("bash") == 1
    assert "Added (x86_64 only): 1\n  x86-only  1-1\n" in said
    assert "Size:\n  aarch64   11.0 MiB -> 12.0 MiB (+1.0 MiB)\n  x86_64    11.0 MiB" in said


def test_arches_that_came_and_went_are_named():
    arm, z = replace(BEFORE, arch="aarch64"), replace(BEFORE, arch="s390x")
    said = text([BEFORE, z], [BEFORE, arm])
    assert "New arches: aarch64" in said
    assert "Arches that are gone: s390x" in said
    assert "No arch is in both." in text(z, arm)


def test_a_second_arch_of_a_package_is_named_with_its_arch():
    glibc = rpm("glibc", "2-1"), rpm("glibc", "2-1", "i686")
    newer = rpm("glibc", "3-1"), rpm("glibc", "3-1", "i686")
    said = text(image(*glibc), image(*newer))
    assert "Updated: 2" in said
    assert "  glibc.i686  2-1 -> 3-1\n  glibc       2-1 -> 3-1\n" in said


def test_a_package_that_becomes_noarch_is_the_same_package():
    (change,) = compare_packages([rpm("a", "1-1")], [rpm("a", "2-1", "noarch")]).updated
    assert change == PackageChange("a", "noarch", "1-1", "2-1", "x86_64")
    assert "a.noarch (was x86_64)  1-1 -> 2-1" in text(
        image(rpm("a", "1-1")), image(rpm("a", "2-1", "noarch"))
    )


def test_of_several_installed_versions_only_those_that_differ_are_said():
    kernels = [rpm("kernel", f"6.{n}-1") for n in (1, 2, 3)]
    changes = compare_packages(kernels[:2], kernels[1:])
    assert [(c.old, c.new) for c in changes.updated] == [("6.1-1", "6.3-1")]
    changes = compare_packages(kernels[:1], kernels[1:])
    assert not changes.updated
    assert [c.new for c in changes.added] == ["6.2-1", "6.3-1"]
    assert [c.old for c in changes.removed] == ["6.1-1"]


def test_packages_that_nobody_knows_are_not_called_removed():
    said = text(replace(BEFORE, packages=None), AFTER)
    assert "Packages are not compared" in said
    assert "Added" not in said
    assert "release: 1 -> 2" in said


def test_a_layer_size_is_known_in_both_if_it_is_in_one():
    base = replace(BEFORE, layers=(Layer("a", None),))
    assert "10.0 MiB -> 11.0 MiB" in text(base, BEFORE)
    assert "11.0 MiB now, the other is not known" in text(
        replace(BEFORE, layers=(Layer("z", None),)), BEFORE
    )


def test_a_long_label_is_shown_around_the_difference():
    long = "word " * 40
    said = text(image(d=long + "one"), image(d=long + "two"))
    assert "one" in said
    assert "two" in said
    assert max(map(len, said.splitlines())) <= WIDTH + 4


def test_a_label_cannot_write_to_the_terminal():
    said = text(image(a="1"), image(a="2\x1b[2J\n\x9bforged", **{"b\r": "x"}))
    assert all(c.isprintable() or c == "\n" for c in said)
    assert "\nforged" not in said


PACKAGES = st.lists(
    st.builds(
        Package,
        st.sampled_from("abc"),
        st.sampled_from(["x86_64", "i686", "noarch"]),
        st.sampled_from(["1-1", "1:1-1", "2-1", "1.0~rc1-1"]),
        st.sampled_from(["m", "n"]),
    ),
    max_size=8,
)


@given(PACKAGES, PACKAGES)
def test_the_changes_lead_from_one_list_to_the_other(old, new):
    changes = compare_packages(old, new)
    moved = (*changes.updated, *changes.downgraded, *changes.rebuilt)
    assert changes.same + len(moved) + len(changes.removed) == len(old)
    assert changes.same + len(moved) + len(changes.added) == len(new)
    back = compare_packages(new, old)
    assert [(c.new, c.old) for c in back.updated] == [(c.old, c.new) for c in changes.downgraded]
    assert sorted((c.name, c.arch, c.old) for c in back.removed) == sorted(
        (c.name, c.arch, c.new) for c in changes.added
    )


@given(
    st.lists(st.builds(Span, st.just("x86_64"), st.text("ab c", min_size=1), st.floats(0, 9999),
                       st.floats(0, 9999)), max_size=9)
)  # fmt: skip
def test_every_stage_has_a_bar_inside_the_chart(spans):
    lines = chart(spans).splitlines()
    assert len(lines) == len(spans)
    for line in lines:
        assert len(line) <= WIDTH
        assert "#" in line
        assert line.endswith("|")


@pytest.mark.parametrize("spans", [[], [Span("task", "a", 5, 0)]])
def test_nothing_to_draw_is_no_error(spans):
    assert chart(spans).count("\n") == len(spans)
