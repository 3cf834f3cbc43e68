"""Image references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.pullspec import Pullspec

DIGEST = "sha256:" + "0a" * 32
PARTS = st.from_regex(r"[a-z0-9]{1,5}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
REPOSITORIES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
REGISTRIES = st.sampled_from(
    ["", "localhost", "localhost:5000", "reg.example.com", "127.0.0.1:5000", "[::1]:5000"]
)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


def is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"


@given(REGISTRIES, REPOSITORIES, st.sampled_from(["tag", "digest", ""]), TAGS)
def test_what_was_written_is_read_again(registry: str, repository: str, kind: str, tag: str):
    first, slash, _ = repository.partition("/")
    if not registry and slash and is_registry(first):
        return  # then the first part is a registry
    spec = Pullspec(
        registry, repository, tag if kind == "tag" else "", DIGEST if kind == "digest" else ""
    )
    assert Pullspec.parse(str(spec)) == spec


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str):
    try:
        spec = Pullspec.parse(text)
    except BadRequest as error:
        assert error.do
    else:
        assert Pullspec.parse(str(spec)).name == spec.name


@given(st.text(alphabet="ab/:@.-_[]0sha256A \n"))
def test_any_text_made_of_their_characters_is_a_reference_or_refused(text: str):
    test_any_text_is_a_reference_or_refused.hypothesis.inner_test(text)


@pytest.mark.parametrize(
    "text, registry, repository",
    [
        ("fedora", "", "fedora"),
        ("fedora/web", "", "fedora/web"),
        ("localhost/web", "localhost", "web"),
        ("reg:5000/web", "reg:5000", "web"),
        ("quay.io/a/b/c", "quay.io", "a/b/c"),
    ],
)
def test_a_first_part_with_dot_or_port_is_a_registry(text: str, registry: str, repository: str):
    spec = Pullspec.parse(text)
    assert (spec.registry, spec.repository) == (registry, repository)


def test_tag_and_digest_may_be_both_there_and_the_digest_counts():
    spec = Pullspec.parse(f"reg.example.com/web:1.0@{DIGEST}")
    assert (spec.tag, spec.digest, spec.reference) == ("1.0", DIGEST, DIGEST)
    assert str(spec) == f"reg.example.com/web@{DIGEST}"


def test_a_reference_without_tag_means_latest():
    assert Pullspec.parse("web").reference == "latest"


@pytest.mark.parametrize(
    "text",
    ["", "Web", "web:", "web@", "a//b", "/web", "web/", "web:a:b", "web:" + "a" * 129,
     "web@sha256:12", f"web@{DIGEST}@{DIGEST}", "-reg.io/web", "web\n", "web:1\n", ":1", "@" + DIGEST,
     "reg.example.com/", "we b", "web@md5:" + "0" * 32],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str):
    with pytest.raises(BadRequest, match="Write REGISTRY/REPOSITORY"):
        Pullspec.parse(text)
