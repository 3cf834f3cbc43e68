"""The file `sources`, in both of its forms."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.downloads import CHECKSUMS
from koji_containerbuild.source.lookaside import Entry, read

MD5, SHA512 = "a" * 32, "b" * 128
HINT = " `fedpkg new-sources FILE` writes such lines: SHA512 (FILE) = HEX."


def test_both_forms_blank_lines_and_comments_are_read():
    text = f"# big ones\nSHA512 (hello 1.0.tar.gz) = {SHA512}\n\r\n{MD5}  data.bin\r\n"
    assert read(text) == (
        Entry("hello 1.0.tar.gz", "sha512", SHA512, 2),
        Entry("data.bin", "md5", MD5, 4),
    )


@pytest.mark.parametrize(
    "line",
    [
        f"sha512 (a) = {SHA512}",
        f"SHA512(a)={SHA512.upper()}",
        f"  SHA512 (a) = {SHA512}  ",
        f"SHA512 (a) = {SHA512}\nSHA512 (a) = {SHA512}",
    ],
)
def test_other_ways_to_write_a_line_mean_the_same(line: str):
    assert read(line) == (Entry("a", "sha512", SHA512, 1),)


def test_an_empty_file_names_nothing():
    assert read("") == read("\n \n# nothing\n") == ()


@pytest.mark.parametrize(
    "text, what",
    [
        ("deb http://x stable", "'deb http://x stable' is no checksum with a file name"),
        (f"{MD5} a", f"'{MD5} a' is no checksum with a file name"),
        (f"{MD5[1:]}  a", f"'{MD5[1:]}  a' is no checksum with a file name"),
        (f"SHA512 (a) = {MD5}", "sha512 has 128 hex digits, not 32"),
        (
            f"SHA3 (a) = {MD5}",
            "'sha3' is none of md5, sha1, sha224, sha256, sha384, sha512",
        ),
        (f"MD5 (a) = {'g' * 32}", f"'{'g' * 32}' is not a hex number"),
        (f"MD5 (../a) = {MD5}", "'../a' is not the name of a file without a folder"),
        (f"MD5 (..) = {MD5}", "'..' is not the name of a file without a folder"),
        (f"MD5 (a\x07) = {MD5}", r"'a\x07' is not the name of a file without a folder"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(text: str, what: str):
    with pytest.raises(BadRequest) as caught:
        read(f"\n{text}\n")
    assert str(caught.value) == f"sources, line 2: {what}.{HINT}"


def test_one_name_with_two_checksums_is_refused():
    with pytest.raises(BadRequest, match="line 2: a is in line 1 already"):
        read(f"MD5 (a) = {MD5}\nMD5 (a) = {'c' * 32}")


names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=80).filter(
    lambda name: "/" not in name and name not in (".", "..")
)


@given(names, st.sampled_from(sorted(CHECKSUMS)), st.data())
def test_what_a_client_writes_is_read_as_it_was_meant(name: str, kind: str, data: st.DataObject):
    digits = st.text("0123456789abcdef", min_size=CHECKSUMS[kind], max_size=CHECKSUMS[kind])
    checksum = data.draw(digits)
    assert read(f"{kind.upper()} ({name}) = {checksum}\n") == (Entry(name, kind, checksum, 1),)
    if kind == "md5":
        assert read(f"{checksum}  {name}\n") == (Entry(name, kind, checksum, 1),)


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str):
    try:
        entries = read(text)
    except BadRequest as error:
        assert error.what.startswith("sources, line ")
        return
    for entry in entries:
        assert len(entry.checksum) == CHECKSUMS[entry.algorithm]
        assert "/" not in entry.filename


def test_a_name_is_measured_in_bytes():
    with pytest.raises(BadRequest, match="is not the name of a file"):
        read(f"{MD5}  {'ä' * 128}")
    assert read(f"{MD5}  {'ä' * 127}")


def test_a_line_that_is_searched_for_long_is_refused():
    begin = time.monotonic()
    with pytest.raises(BadRequest, match="line 1: it has more than 1000 characters"):
        read("md5 (a" + ")=" * 20_000 + " z z")
    assert time.monotonic() - begin < 1
