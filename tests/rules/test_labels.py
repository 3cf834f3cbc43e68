"""Labels: what must be there, what we add, and that a value arrives as it is."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules import labels
from koji_containerbuild.rules.labels import Identity, identity, instruction, to_add
from tests.fakes.docker_words import read_labels

RIGHT = {"com.redhat.component": "web-container", "name": "fedora/web", "version": "1.0"}
LINES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")))
KEYS = st.text("abcdefghijklmnopqrstuvwxyz.-_", min_size=1)


HARD = {
    "a": "ends with \\", "b": "$", "c": "\\$x", "d": "`x`", "e": "\\n", "f": " ", "g": "${HOME}",
    "h": '"', "i": "'", "j": "# no comment", "k": "a=b c", "l": "", "m": "\t", "n": "a  b", "o": "é–",
    "p": "\\\\", "q": '\\"', "r": "<<EOF", "s": "$$ ${x:-y}",
}  # fmt: skip


@given(st.dictionaries(KEYS, LINES, min_size=1))
@example(HARD)
def test_a_value_comes_out_as_it_went_in(wanted: dict[str, str]):
    """Whatever is in it: nothing is a variable, an escape, a comment or the end of a line."""
    assert read_labels(instruction(wanted)) == wanted


@given(st.dictionaries(KEYS, st.text("abc=# '\"`é<>:/-", min_size=1), min_size=1))
def test_dockerfile_parse_reads_what_we_write(wanted: dict[str, str]):
    """Save backslash and dollar, where it differs from Docker."""
    text = f"FROM scratch\n{instruction(wanted)}\n"
    assert dict(DockerfileParser(fileobj=io.BytesIO(text.encode())).labels) == wanted


@pytest.mark.stack
def test_buildah_reads_what_we_write(tmp_path: Path):
    """And so holds tests/fakes/docker_words.py to the truth."""
    text = f"FROM scratch\nENV HOME=wrong x=wrong\n{instruction(HARD)}\n"
    (tmp_path / "Dockerfile").write_text(text)
    buildah = ["buildah", "--root", f"{tmp_path}/root", "--runroot", f"{tmp_path}/run",
               "--storage-driver", "vfs"]  # fmt: skip
    subprocess.run(
        [*buildah, "bud", "--identity-label=false", "-q", "-t", "x", tmp_path], check=True
    )
    command = [*buildah, "inspect", "--type", "image", "x"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(done.stdout)["Docker"]["config"]["Labels"] == HARD


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_labels_of_site_and_source_are_added_or_refused(site, written):
    try:
        added = to_add(site, written, "1", "c" * 40, 0)
    except BadRequest:
        return
    assert "\n" not in "".join([*added, *added.values()])
    assert added["build-date"] == "1970-01-01T00:00:00Z"


@given(st.dictionaries(st.sampled_from([*RIGHT, *labels.OLD_SPELLINGS.values()]), st.text()))
def test_identity_is_read_or_refused(given_labels):
    try:
        identity(given_labels)
    except BadRequest as error:
        assert error.do


def test_every_missing_label_is_named_with_an_example():
    with pytest.raises(BadRequest) as caught:
        identity({"name": "fedora/web"})
    assert caught.value.what == "The Dockerfile lacks the labels com.redhat.component and version."
    assert caught.value.do == (
        'Add, in its last stage: LABEL com.redhat.component="web-container" version="1.0"'
    )


def test_old_spellings_are_read_and_the_new_one_wins():
    old = {"BZComponent": "old", "Name": "fedora/old", "Version": "1", "Release": "2"}
    assert identity(old) == Identity("old", "fedora/old", "1", "2")
    assert identity({**old, **RIGHT}).component == "web-container"


def test_the_new_spelling_of_an_old_label_is_added():
    added = to_add({}, {"Vendor": "Fedora", "vendor": "", "Name": "fedora/web"}, "1", "c", 0)
    assert added["name"] == "fedora/web"
    assert "vendor" not in added


@pytest.mark.parametrize("name", ["Web", "quay.io/web", "web:1", "/web", "a//b", "web\n", "a b"])
def test_a_name_that_is_no_path_in_a_registry_is_refused(name: str):
    with pytest.raises(BadRequest, match="label name"):
        identity({**RIGHT, "name": name})


def test_a_label_of_the_site_wins_but_for_the_two_that_the_source_decides():
    site = {"vendor": "Site", "distribution-scope": "public"}
    added = to_add(site, {"vendor": "Mine", "distribution-scope": "private"}, "1", "c", 0)
    assert added["vendor"] == "Site"
    assert "distribution-scope" not in added


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\rb", "\x7f"])
def test_a_control_character_is_refused(value: str):
    with pytest.raises(BadRequest, match="control character"):
        to_add({"vendor": value}, {}, "1", "c", 0)
