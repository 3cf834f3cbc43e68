"""Reading Dockerfiles: what stands after FROM, whatever form it has, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.dockerfile import parse
from koji_containerbuild.source.running import first_run, needed_parents

DIGEST = "sha256:" + "0" * 64
FORMS = {
    "plain": ("FROM fedora", ["fedora"]),
    "with tag": ("FROM reg.example.com:5000/a/b:1.0\n", ["reg.example.com:5000/a/b:1.0"]),
    "with digest": (f"FROM fedora@{DIGEST}\n", [f"fedora@{DIGEST}"]),
    "lower case": ("from fedora as base\nfrom base\n", ["fedora"]),
    "leading blanks": ("  FROM\t fedora\n", ["fedora"]),
    "argument": ("ARG BASE=fedora\nARG TAG=43\nFROM ${BASE}:$TAG\n", ["fedora:43"]),
    "default within": ("FROM ${A:-fedora}\n", ["fedora"]),
    "more than one argument": ("ARG A=fedora B=43\nFROM $A:$B\n", ["fedora:43"]),
    "argument of arguments": ("ARG A=fedora\nARG B=$A:43\nFROM $B\n", ["fedora:43"]),
    "quoted argument": ('ARG A="fedora"\nFROM "$A"\n', ["fedora"]),
    "two stages": ("FROM a AS one\nFROM b\n", ["a", "b"]),
    "stage on a stage": ("FROM a AS One\nFROM ONE\n", ["a"]),
    "the same image twice": ("FROM a AS x\nFROM a\n", ["a"]),
    "stage of the image's own name": ("FROM fedora AS fedora\nFROM fedora\n", ["fedora"]),
    "scratch": ("FROM scratch\nCOPY x /\n", []),
    "platform": ("FROM --platform=linux/amd64 fedora AS x\n", ["fedora"]),
    "platform from an argument": ("FROM --platform=$BUILDPLATFORM fedora\n", ["fedora"]),
    "default of variables": ("ARG B=43\nFROM ${A:-fedora:${B}}\n", ["fedora:43"]),
    "other if set": ("ARG A=1\nFROM fedora${A:+-minimal}${B:+no}\n", ["fedora-minimal"]),
    "several arguments in one line": ("ARG A=fedora B=43\nFROM $A:$B\n", ["fedora:43"]),
    "single quotes": ("FROM 'fedora'\n", ["fedora"]),
    "tag and digest": (f"FROM r.io/fedora:43@{DIGEST}\n", [f"r.io/fedora:43@{DIGEST}"]),
    "name of a later stage": ("FROM b AS a\nFROM c AS b\n", ["b", "c"]),
    "number of a stage is an image": ("FROM a\nFROM 0\n", ["a", "0"]),
    "comment before": ("# syntax=docker/dockerfile:1\n\n# hello\nFROM fedora\n", ["fedora"]),
    "over two lines": ("FROM \\\n  fedora \\\n  AS x\n", ["fedora"]),
    "comment within": ("FROM \\\n# which one?\n  fedora\n", ["fedora"]),
    "empty line within": ("FROM \\\n\n  fedora\n", ["fedora"]),
    "CRLF": ("FROM fedora\r\nLABEL a=b\r\n", ["fedora"]),
    "byte order mark": ("\ufeffFROM fedora\n", ["fedora"]),
    "escape directive, the usual one": ("# escape=\\\nFROM fedora\n", ["fedora"]),
    "FROM in an argument of RUN": ("FROM fedora\nRUN echo \\\nFROM x\n", ["fedora"]),
    "FROM in a comment": ("FROM fedora\n#FROM x\n", ["fedora"]),
    "FROM after an empty line in a RUN": ("FROM fedora\nRUN echo \\\n\nFROM x\n", ["fedora"]),
    "line end inside a comment": ("# a\x0cb\u2028c\x85\nFROM fedora\n", ["fedora"]),
}


@pytest.mark.parametrize("text, parents", FORMS.values(), ids=list(FORMS))
def test_every_form_of_from_is_read(text: str, parents: list[str]):
    assert list(parse(text).parents) == parents


REFUSED = {
    "nothing": ("", "no FROM"),
    "only comments": ("# FROM x\n", "no FROM"),
    "FROM without image": ("FROM \n", "Write FROM IMAGE"),
    "too many words": ("FROM a b\n", "Line 1 of the Dockerfile is 'FROM a b'"),
    "AS without name": ("FROM a AS\n", "Write FROM IMAGE"),
    "argument without default": ("ARG A\nFROM $A\n", "default with ARG"),
    "unknown argument": ("FROM fedora:$TAG\n", "default with ARG") ,
    "endless default": ("FROM " + "${A:-" * 50 + "\n", "are within each other"),
    "image of each arch": ("FROM fedora:$TARGETARCH\n", "Line 1 .* another image on each arch"),
    "another flag": ("FROM --pull=never fedora\n", "FROM has --pull=never, which is not supported"),
    "platform without a value": ("FROM --platform fedora\n", "FROM has --platform"),
    "platform that is not set": ("FROM --platform=$X fedora\n", "--platform=.X, which is no platform"),
    "platform that cannot be read": ("FROM --platform=${X fedora\n", "FROM has --platform=..X: "),
    "stage name that is a number": ("FROM a AS 1\n", "names a stage 1, which cannot be used"),
    "stage named scratch": ("FROM a AS Scratch\n", "names a stage Scratch"),
    "our own name": ("FROM a AS koji-containerbuild\n", "names a stage koji-containerbuild"),
    "two stages of one name": ("FROM a AS x\nFROM b AS X\n", "Line 2 .* as an earlier line does"),
    "copy from a stage in other letters": ("FROM a AS One\nFROM b\nCOPY --from=one / /\n", "the stage is named 'One'"),
    "argument of a stage": ("FROM a\nARG B=x\nFROM $B\n", "default with ARG"),
    "default within FROM, of an argument": ("FROM ${A:-$B}\n", "default with ARG"),
    "blank within an argument": ("ARG A='x y'\nFROM $A\n", "names no image"),
    "other form of a variable": ("ARG A=x\nFROM ${A%%:*}\n", "names no image"),
    "broken ARG": ("ARG a='b\nFROM x\n", "Line 1 .* this ARG cannot be read: a ' has no second one. Write ARG NAME"),
    "misspelt": ("FROM a\nRUNN ls\n", "Line 2 of the Dockerfile: there is no instruction 'RUNN'. Did you mean RUN"),
    "misspelt in ONBUILD": ("FROM a\nONBUILD COPPY x /\n", "Line 2 .* 'COPPY'. Did you mean COPY"),
    "no backslash": ("FROM a\nRUN ls &&\n  echo\n", "Line 3 .* 'ECHO'. Is it the rest"),
    "no backslash, two words": ("FROM a\nRUN ls &&\n  yum install x\n", "Line 3 .* 'YUM'. Is it the rest"),
    "instruction without a value, not the last": ("FROM a\nRUN\nUSER 1\n", "Line 2 .* not a whole instruction"),
    "label before FROM": ("LABEL a=b\nFROM a\n", "Line 1 .* before the first FROM"),
    "FROM in ONBUILD": ("FROM a\nONBUILD FROM b\n", "Line 2 .* ONBUILD FROM"),
    "copy from an image": ("FROM a\nCOPY --from=quay.io/x/y /a /b\n", "takes files from the image 'quay.io/x/y'"),
    "copy from an image, with other flags": ("FROM a\ncopy --chown=1 --from=x /a /b\n", "the image 'x'"),
    "copy from an image, over two lines": ("FROM a\nCOPY --from=\\\nx /a /b\n", "the image 'x'"),
    "copy from an argument": ("FROM a\nARG X=y\nCOPY --from=$X /a /b\n", r"the image '\$X'"),
    "copy from a later stage": ("FROM a\nCOPY --from=b /a /b\nFROM c AS b\n", "the image 'b'"),
    "copy from itself by name": ("FROM a AS evil\nCOPY --from=evil /a /b\n", "the image 'evil'"),
    "copy from itself by number": ("FROM a\nCOPY --from=0 /a /b\n", "the image '0'"),
    "copy from nothing": ("FROM a\nCOPY --from= /a /b\n", "the image ''"),
    "copy from our own files": ("FROM a\nCOPY --from=koji-containerbuild /a /b\n", "no stage of it"),
    "mount of an image": ("FROM a\nRUN --mount=type=bind,from=x,target=/x ls\n", "the image 'x'"),
    "mount of an image first": ("FROM a\nRUN --mount=from=x ls\n", "the image 'x'"),
    "mount of an image, quoted": ('FROM a\nRUN --mount=type=bind,"from=x" ls\n', "can be read in more than one way"),
    "mount of an image, upper case": ("FROM a\nRUN --mount=FROM=x ls\n", "the image 'x'"),
    "second mount of an image": ("FROM a\nRUN --mount=type=tmpfs --mount=from=x ls\n", "the image 'x'"),
    "network of the host": ("FROM a\nRUN --network=host ls\n", "--network=host, which is not allowed"),
    "no security": ("FROM a\nRUN --security=insecure ls\n", "not allowed"),
    "ONBUILD with a network": ("FROM a AS b\nONBUILD RUN --network=host ls\nFROM b\n", "not allowed"),
    "ONBUILD with an image": ("FROM a\nONBUILD COPY --from=x / /\n", "the image 'x'"),
    "here-document": ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", "Line 2 .* begins a here-document"),
    "here-document of COPY": ('FROM a\nCOPY <<-"EOF" /x\nhello\nEOF\n', "here-document"),
    "last line goes on": ("FROM a\nRUN ls \\\n", "Line 2 .* not a whole instruction"),
    "last line goes on, at the very end": ("FROM a\nRUN ls \\", "not a whole instruction"),
    "last line goes on, then a comment": ("FROM a\nRUN ls \\\n# end\n\n", "not a whole instruction"),
    "instruction without a value": ("FROM a\nRUN", "Line 2 .* not a whole instruction"),
    "other escape character": ("# escape=`\nFROM a\n", "escape character"),
    "other escape character, later": ("# syntax=x\n#Escape = `\nFROM a\n", "escape character"),
    "NUL": ("FROM a\0\n", "NUL byte"),
    "very many lines": ("FROM a\n" + "\n" * 10_000, "more than 10000 lines"),
    "line that buildah would stop at": ("FROM a\nENV A=" + "ü" * 32765, "Line 2 .* 65536 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_built_as_pinned_is_refused(text: str, words: str):
    with pytest.raises(BadRequest, match=words) as caught:
        parse(text)
    assert caught.value.do


@pytest.mark.parametrize(
    "line",
    [
        "COPY --from=one /a /b",
        "COPY --from=0 /a /b",
        "RUN --mount=type=bind,from=one,target=/x ls",
        "RUN --mount=type=tmpfs,target=/x ls",
        "COPY --chown=$USER:${GROUP} --chmod=0755 /a /b",
        'COPY --from=one --chown=1:1 ["/a", "/b"]',
        "RUN echo --network=host --mount=from=x",
        "RUN cat <<<word; echo $((1<<2))",
        "RUN echo $((1 <<a))",
        "RUN echo 'a <<b'",
        "ONBUILD\tRUN\tls",
        "HEALTHCHECK CMD --from=x",
    ],
)
def test_what_stays_within_the_stages_is_accepted(line: str):
    assert parse(f"FROM a AS one\nFROM b AS two\n{line}\n").parents == ("a", "b")


def test_the_final_parent_is_found_through_stages():
    text = "FROM a AS one\nFROM one AS two\nFROM b AS other\nFROM two\n"
    assert parse(text).final_parent == "a"
    assert parse("FROM a\nFROM scratch\n").final_parent is None


@pytest.mark.parametrize(
    "line, platform",
    [
        ("FROM a", ""),
        ("FROM --platform=linux/arm64/v8 a", "linux/arm64/v8"),
        ("FROM --platform=$BUILDPLATFORM a", "linux/*"),
        ("FROM --platform=${TARGETOS}/$TARGETARCH a", "linux/*"),
        ("ARG P=linux/s390x\nFROM --platform=$P a", "linux/s390x"),
    ],
)
def test_stages_know_their_platform(line: str, platform: str):
    assert parse(line).stages[0].platform == platform


@pytest.mark.parametrize(
    "text, shown",
    [
        ("FROM a\n\nRUN ls \\\n# no\n  -l\nRUN x\n", (3, "RUN ls -l")),
        ("FROM a AS one\nrun ls\nFROM one\n", (2, "RUN ls")),
        ("FROM a AS one\nRUN ls\nFROM b\nCOPY --from=one x /\n", (2, "RUN ls")),
        ("FROM a\nRUN ls\nFROM b\nCOPY --from=0 x /\n", (2, "RUN ls")),
        ("FROM a AS one\nONBUILD RUN ls\nFROM one\n", (2, "ONBUILD RUN ls")),
        (f"FROM a\nRUN {'x' * 200}\n", (2, f"RUN {'x' * 95}…")),
        ("FROM a AS one\nRUN ls\nFROM b\nCOPY x /\nONBUILD RUN ls\n", None),
        ("FROM a AS one\nRUN ls\nFROM one AS two\nFROM b\nCOPY x /\n", None),
        ("FROM a\nCOPY run /\nENTRYPOINT run\nHEALTHCHECK CMD run\n", None),
    ],
)
def test_the_first_instruction_that_runs_a_program_is_found(text: str, shown: object):
    first = first_run(parse(text))
    assert (first and (first.line, first.text)) == shown


def test_only_the_parents_of_stages_that_are_built_are_needed():
    text = "FROM a AS one\nFROM b AS two\nCOPY --from=one x /\nFROM c\nFROM two\n"
    assert needed_parents(parse(text)) == {"a", "b"}


def test_labels_are_those_of_the_last_stage_with_variables_filled_in():
    text = (
        "ARG V=9\nFROM a AS one\nLABEL lost=yes\nFROM b\nENV X=$HOME/x\nARG V\n"
        'LABEL "a"="$X" b=${V} \\\n\n# comment\n   c="two words" d=e\\ f\n'
    )
    assert parse(text).labels({"HOME": "/root"}) == {
        "a": "/root/x", "b": "9", "c": "two words", "d": "e f",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["LABEL a=b c", "LABEL  ", "ENV a=b c", "ARG  "])
def test_labels_that_cannot_be_read_are_refused(line: str):
    with pytest.raises(BadRequest, match="Line 2 .* cannot be read"):
        parse(f"FROM a\n{line}\n").labels({})


PIECES = st.sampled_from(
    ["FROM ", "fedora", " AS x", ":-", ":+", "--platform=", "\n", "\\\n", "# escape=`\n", "ARG ", "A=", "$A", "${A", "}", '"', "'",
     "COPY --from=", "RUN --mount=", "LABEL ", "=", " ", "\r", "<<EOF", "\ufeff", "\x0c", "ONBUILD "]
)  # fmt: skip


@given(st.text() | st.lists(PIECES, max_size=25).map("".join))
@example("FROM a\nONBUILD\nONBUILD \n")
@example("FROM a\nARG\nARG \n")
@example("FROM a\nLABEL \\\n\n")
@example("FROM \ud800")
def test_any_text_is_read_or_refused(text: str):
    try:
        dockerfile = parse(text)
        dockerfile.labels({})
    except BadRequest as error:
        assert error.do
    else:
        lines = dockerfile.text.split("\n")
        assert all(
            lines[s.first_line].strip().upper().startswith("FROM") for s in dockerfile.stages
        )


def test_variables_that_grow_are_refused_before_they_fill_the_memory():
    grow = "".join(f"ENV B{n}=x$A$A$A$A\n" for n in range(100))
    dockerfile = parse(f"FROM x\nENV A={'a' * 60_000}\n{grow}")
    with pytest.raises(BadRequest, match="Line 7 of .*all values have more than 1048576 char"):
        dockerfile.labels({})


def test_values_of_one_instruction_are_limited_too():
    grow = " ".join(f"B{n}=x$A$A$A$A" for n in range(100))
    for text in (
        f"FROM x\nENV A={'a' * 60_000}\nENV {grow}\n",
        f"ARG A={'a' * 60_000}\nARG {grow}\nFROM x\n",
    ):
        with pytest.raises(BadRequest, match="all values have more than"):
            parse(text).labels({})
