"""Dockerfiles that nobody would write: each ends as one that is read, or as a refusal, and soon."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.labels import Facts, SiteLabels, identity, instruction, to_add
from koji_containerbuild.source import words
from koji_containerbuild.source.dockerfile import MOST_LINES, parse

SECONDS = 5  # the machine may be busy; what is wrong takes minutes
SOUND = [
    "ARG TAG=43", "FROM fedora:${TAG:-43} AS base", "FROM base", "FROM scratch", "ENV A=1 B=$A", "ENV C d e",
    'LABEL com.redhat.component="x-container" name="x/y" version="1.$A"', "LABEL k v w", "ARG TAG", "ARG TARGETARCH",
    "RUN dnf -y install a \\\n  b \\\n# why\n  && dnf clean all", 'CMD ["a", "b"]', "COPY --from=base /a /b",
    "COPY --chown=1:1 a b /c/", "RUN --mount=type=cache,target=/x ls", "RUN echo $((1 <<a))", "HEALTHCHECK CMD a",
    "ONBUILD LABEL o=$A", 'SHELL ["/bin/sh", "-c"]', "# comment", "# escape=\\", "", "USER 1", "RUN cat <<EOF\nx\nEOF",
]  # fmt: skip
NOISE = ["\\\n", "\\", '"', "'", "$", "${", "}", ":-", ":+", "=", "<<-'E'", "#", "\n", "\r\n", "\t", "\0", "\ufeff", "\x0c",
         "\u2028", "é", "\x7f", "--from=", "ONBUILD ", "FROM ", "AS ", "`", "$((", "))", "[", "{", ","]  # fmt: skip


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    """Sound instructions in any order, with pieces cut out, doubled, and noise put in."""
    text = "\n".join(draw(st.lists(st.sampled_from(SOUND), min_size=1, max_size=12)))
    for _ in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 9)))
        piece = draw(st.sampled_from([*NOISE, text[begin:end] * 2]) | st.text(max_size=3))
        text = text[:begin] + piece + text[end:]
    return text


def read(text: str) -> None:
    """Raises BadRequest, or nothing else."""
    labels = parse(text).labels({"PATH": "/bin", "A": "parent's"})
    assert not [char for char in "".join([*labels, *labels.values()]) if char == "\0"]
    assert set(labels) == set(labels.lines)
    lines = text.removeprefix("\ufeff").split("\n")
    assert all("LABEL" in lines[line - 1].upper() for line in labels.lines.values())
    identity(labels)
    added = to_add(SiteLabels(), labels, {}, Facts("1", "c" * 40, "https://x", 0)).labels
    again = parse(f"FROM scratch\n{instruction(added)}\n").labels({})
    assert dict(again) == dict(added)


def read_or_refused(text: str) -> None:
    begun = time.monotonic()
    try:
        read(text)
    except BadRequest as error:
        assert error.what and error.do
    assert time.monotonic() - begun < SECONDS


@given(dockerfiles())
@example("FROM a\nLABEL a=${X:-" + "${X:-" * 5000)
@example("FROM a\nENV A=x\nENV A=$A$A\nLABEL a=${A:+" * 30)
def test_a_dockerfile_that_is_broken_anywhere_is_read_or_refused(text: str):
    read_or_refused(text)


@given(st.binary(max_size=200), dockerfiles())
def test_bytes_that_are_no_text_are_read_or_refused(data: bytes, text: str):
    """As the checkout hands them on: what is not UTF-8 stands there as a surrogate."""
    read_or_refused(text + data.decode("utf-8", "surrogateescape"))


HUGE = {
    "values that double": "FROM a\nENV A=xxxxxxxx\n" + "ENV A=$A$A\n" * 60 + "LABEL a=$A\n",
    "arguments that double": "ARG A=xxxxxxxx\n" + "ARG A=$A$A\n" * 60 + "FROM $A\n",
    "a variable many times": "FROM a\nENV A=" + "x" * 60000 + "\nLABEL a=" + "$A" * 30000,
    "braces within each other": "FROM a\nLABEL a=" + "${A:-" * 12000 + "}" * 5000,
    "many words": "FROM a\nLABEL " + "a=b " * 16000,
    "many lines": "FROM a\nRUN " + "\\\n" * (MOST_LINES - 9) + "x",
    "too many lines": "FROM a\nRUN " + "\\\n" * 1_000_000 + "x",
    "many instructions": "FROM a\n" + "LABEL a=b\n" * (MOST_LINES - 9),
    "many stages": "FROM a AS s\n" + "FROM s AS s\n" * 3000 + "LABEL a=b\n",
    "blanks": "FROM a\nRUN " + " " * 65000 + "x\n",
    "backslashes": "FROM a\nRUN " + "\\ " * 30000 + "x\n",
    "quotes": "FROM a\nLABEL a=" + "\"'" * 30000,
    "arithmetic": "FROM a\nRUN " + "$((" * 20000,
}  # fmt: skip


@pytest.mark.parametrize("text", HUGE.values(), ids=list(HUGE))
def test_a_large_one_does_not_take_long(text: str):
    read_or_refused(text)


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=5))
def test_any_labels_are_written_so_that_they_are_read_again_or_refused(wanted: dict[str, str]):
    try:
        text = instruction(to_add(SiteLabels(wanted), {}, {}, Facts("1", "c", "u", 0)).labels)
        found = parse(f"FROM scratch\nENV A=wrong\n{text}\n").labels({})
    except BadRequest as error:
        assert error.do
        return
    automatic = {"release", "vcs-ref", "vcs-type", "build-date"}
    assert {k: v for k, v in found.items() if k not in automatic} == {
        k: v for k, v in wanted.items() if k not in automatic
    }


@given(st.text(), st.dictionaries(st.text("ABC", min_size=1), st.text()))
def test_any_word_is_expanded_or_refused(word: str, variables: dict[str, str]):
    try:
        assert isinstance(words.expand(word, variables), str)
        words.pairs(word)
    except ValueError as error:
        assert str(error)
