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
from koji_containerbuild.rules.labels import (
    SCOPES,
    Facts,
    Identity,
    SiteLabels,
    Written,
    check_scope,
    identity,
    instruction,
    to_add,
)
from tests.fakes.docker_words import read_labels

RIGHT = {"com.redhat.component": "web-container", "name": "fedora/web", "version": "1.0"}
FACTS = Facts("1", "c" * 40, "https://src/web", 0)
NO_SITE = SiteLabels()
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
        added = to_add(SiteLabels(site), written, {}, FACTS).labels
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
    written = {"Vendor": "Fedora", "vendor": "", "Name": "fedora/web", "RUN": "x", "run": "x"}
    added = to_add(NO_SITE, written, {}, FACTS)
    assert added.labels["name"] == "fedora/web"
    assert added.labels["vendor"] == "Fedora"
    assert not {"RUN", "run", "Vendor", "Name"} & set(added.labels)
    assert not added.warnings


def test_an_old_spelling_with_another_value_gives_way_with_a_warning():
    written = labels.Written({"Version": "1", "version": "2", "Release": "7"}, {"version": 4})
    added = to_add(NO_SITE, written, {}, FACTS)
    assert added.labels["Version"] == "2"
    assert added.labels["Release"] == added.labels["release"] == "1"
    assert added.warnings == (
        "The label version in line 4 of the Dockerfile is '2', and its old spelling Version is '1'. "
        "Both are '2' in the image; remove Version.",
    )


def test_old_spellings_of_the_parent_tell_of_the_image_and_nobody_is_warned():
    parent = {"Name": "base", "Version": "9", "Release": "7", "BZComponent": "base-container",
              "Vendor": "Fedora", "RUN": "old", "run": "new", "INSTALL": "a\nb"}  # fmt: skip
    added = to_add(NO_SITE, RIGHT, parent, FACTS)
    image = {**parent, **RIGHT, **added.labels}
    assert (image["Name"], image["Version"], image["Release"]) == ("fedora/web", "1.0", "1")
    assert image["BZComponent"] == "web-container"
    assert image["vendor"] == image["Vendor"] == "Fedora"
    assert image["RUN"] == "new"
    assert "install" not in image  # no label of ours could hold it
    assert not added.warnings


@pytest.mark.parametrize("value", ["true", "True", "1", "yes"])
@pytest.mark.parametrize("label", labels.OTHER_KINDS)
def test_a_label_that_asks_for_another_kind_of_image_is_refused_with_its_line(label, value):
    with pytest.raises(BadRequest, match=f"{label} in line 3 of the Dockerfile is '{value}'") as c:
        labels.check_kind(Written({label: value}, {label: 3}))
    assert c.value.do
    for harmless in ("", "false", "False"):
        labels.check_kind({label: harmless})


def test_a_new_spelling_alone_brings_no_old_one():
    assert "Vendor" not in to_add(NO_SITE, {"vendor": "x"}, {}, FACTS).labels


@pytest.mark.parametrize(
    "written, added, warnings",
    [
        ({"description": "d"}, {"k8s": "d", "more": "d"}, 0),
        ({"more": "m"}, {"description": "m", "k8s": "m"}, 0),
        ({"description": "d", "more": "m"}, {"k8s": "d"}, 1),
        ({"description": "d", "k8s": "d", "more": "d"}, {}, 0),
        ({"k8s": ""}, {}, 0),
        ({}, {}, 0),
    ],
)
def test_labels_that_should_be_equal_are_filled_and_never_changed(written, added, warnings):
    site = SiteLabels(equal=[["description", "k8s", "more"]])
    result = to_add(site, written, {}, FACTS)
    automatic = to_add(NO_SITE, written, {}, FACTS).labels
    assert {k: v for k, v in result.labels.items() if k not in automatic} == added
    assert len(result.warnings) == warnings
    assert all("description and more should be equal" in text for text in result.warnings)


def test_the_url_of_the_site_and_of_the_source_are_labels_where_the_site_wants_them():
    site = SiteLabels(info_url="https://x/{component}/{name}/{version}-{release}", vcs_url=True)
    added = to_add(site, {**RIGHT, "url": "mine"}, {}, FACTS).labels
    assert added["url"] == "https://x/web-container/fedora/web/1.0-1"
    assert added["vcs-url"] == "https://src/web"
    assert not {"url", "vcs-url"} & set(to_add(NO_SITE, RIGHT, {}, FACTS).labels)


@pytest.mark.parametrize("own", ["", *SCOPES])
@pytest.mark.parametrize("parent", ["", *SCOPES])
def test_an_image_is_at_most_as_public_as_its_parent(own: str, parent: str):
    if own and parent and SCOPES.index(own) > SCOPES.index(parent):
        with pytest.raises(BadRequest, match=f"more public than the '{parent}' of the parent") as c:
            check_scope(own, parent, "fedora:43")
        assert f"distribution-scope={parent}" in c.value.do
    else:
        check_scope(own, parent, "fedora:43")


def test_a_scope_that_nobody_knows_is_refused_with_the_known_ones():
    with pytest.raises(BadRequest, match="of the image is 'open'.*authoritative-source-only, rest"):
        check_scope("open", "", "")
    with pytest.raises(BadRequest, match="of the parent image fedora is 'x'"):
        check_scope("private", "x", "fedora")
    check_scope("", "x", "fedora")  # nothing is said, so nothing is wrong here


def test_names_that_make_a_file_name_too_long_are_refused():
    with pytest.raises(BadRequest, match="have 244 characters together.* may have 235"):
        to_add(NO_SITE, {**RIGHT, "name": "a" * 238}, {}, FACTS)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("Name", "Web", "The label Name in line 7 of the Dockerfile is 'Web', which is no path"),
        ("Name", "a" * 256, "The label Name in line 7 of the Dockerfile has 256 characters"),
        ("Version", "1-2", "The label Version in line 7 of the Dockerfile is '1-2'"),
        ("version", "1" * 256, "The label version in line 7 of the Dockerfile has 256 characters"),
        ("Release", "fc43", "The label Release in line 7 of the Dockerfile is 'fc43', which is no"),
        ("BZComponent", "w" * 256, "The label BZComponent in line 7 .* Koji takes 255"),
        ("com.redhat.component", "-a", "component in line 7 .* is '-a', which is no package"),
    ],
)
def test_a_wrong_value_is_named_with_label_and_line_as_written(key: str, value: str, words: str):
    new = {old: new for new, old in labels.OLD_SPELLINGS.items()}.get(key, key)
    values = {k: v for k, v in RIGHT.items() if k != new}
    with pytest.raises(BadRequest, match=words) as caught:
        identity(Written({**values, key: value}, {key: 7}))
    assert caught.value.do


@pytest.mark.parametrize("name", ["Web", "quay.io/web", "web:1", "/web", "a//b", "web\n", "a b"])
def test_a_name_that_is_no_path_in_a_registry_is_refused(name: str):
    with pytest.raises(BadRequest, match="label name"):
        identity({**RIGHT, "name": name})


def test_a_label_of_the_site_wins_but_for_the_two_that_the_source_decides():
    site = {"vendor": "Site", "distribution-scope": "public"}
    written = {"vendor": "Mine", "distribution-scope": "private"}
    added = to_add(SiteLabels(site), written, {}, FACTS).labels
    assert added["vendor"] == "Site"
    assert "distribution-scope" not in added


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\rb", "\x7f"])
def test_a_control_character_is_refused(value: str):
    with pytest.raises(BadRequest, match="control character"):
        to_add(SiteLabels({"vendor": value}), {}, {}, FACTS)


def test_a_required_label_without_a_value_is_named_with_its_line():
    written = labels.Written({**RIGHT, "version": ""}, {"version": 4})
    with pytest.raises(BadRequest, match="The label version in line 4 of the Dockerfile is empty"):
        labels.identity(written)


def test_a_label_that_is_longer_than_a_line_that_builders_read_is_refused():
    fits = {**RIGHT, "RUN": "x" * 65000}
    lines = instruction(to_add(NO_SITE, fits, {}, FACTS).labels).split("\n")
    assert 65000 < max(len(line) for line in lines) <= 65535
    for value in ("x" * 65535, '"' * 33000, "ü" * 33000):
        with pytest.raises(BadRequest, match="The label 'run' has .* bytes") as caught:
            to_add(NO_SITE, {**RIGHT, "RUN": value}, {}, FACTS)
        assert caught.value.do
        assert "run" not in to_add(NO_SITE, RIGHT, {"RUN": value}, FACTS).labels
