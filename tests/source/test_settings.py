"""container.yaml: a wrong key is named, with its line and the one that was meant."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.contract.plan import Autorebuild
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.settings import (
    Settings,
    known_keys,
    read,
    schema,
    validator,
)

WHOLE = """
platforms:
  only: [x86_64, arm64]
  not: aarch64
tags: ['latest', '{version}', '43', latest]
buildtime_limit: 7200
set_release_env: RELEASE
version:
  from_rpm: hugo
test:
  - hugo version
  - |
    test -x /usr/bin/hugo
"""


def test_everything_that_is_written_is_read():
    assert read(WHOLE) == Settings(
        tags=("latest", "{version}", "43"),
        has_tags=True,
        only=("x86_64", "aarch64"),
        exclude=("aarch64",),
        build_seconds=7200,
        release_env="RELEASE",
        version_from_rpm="hugo",
        tests=("hugo version", "test -x /usr/bin/hugo\n"),
    )


NULLS = "\n".join(f"{key}:" for key in schema()["properties"])


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "{}", "~", "\ufeff", NULLS])
def test_a_file_without_settings_is_the_default(text: str):
    assert read(text) == Settings() == Settings(tags=("latest", "{version}"))


def test_tags_that_are_written_as_none_are_none():
    assert read("tags: []").tags == ()


def test_one_text_is_a_list_of_one():
    settings = read("platforms: {only: x86_64}\ntags: devel\ntest: hugo version")
    assert (settings.only, settings.tags, settings.tests) == (
        ("x86_64",), ("devel",), ("hugo version",),
    )  # fmt: skip


def test_arches_may_have_the_names_that_go_and_koji_tags_give_them():
    assert read("platforms: {only: [amd64, x86_64, arm64], not: i386}") == Settings(
        only=("x86_64", "aarch64"), exclude=("i686",)
    )


def test_a_value_behind_an_alias_is_read():
    text = "platforms: {only: &arches [x86_64], not: *arches}"
    assert read(text).exclude == ("x86_64",)


def test_what_rebuilds_will_need_is_kept_and_warned_of():
    settings = read("tags: []\nautorebuild: {from_latest: yes, ignore_isolated_builds: true}")
    assert settings.autorebuild == Autorebuild(from_latest=True, ignore_isolated_builds=True)
    assert settings.warnings == (
        "container.yaml, line 2: 'autorebuild' has no effect: no image is built again by itself yet. "
        "The settings are kept for later; until then, build when a parent changes.",
    )


@pytest.mark.parametrize("text", ["compose:", "compose: {}", "compose: null"])
def test_an_empty_compose_asks_for_nothing(text: str):
    assert read(text) == Settings()


@pytest.mark.parametrize(
    "text, warning",
    {
        "version: 1": "'version' has no effect: there is one version of this format. Remove it.",
        "image_build_method: imagebuilder": "'image_build_method' has no effect: every image is built with buildah. Remove it.",
        "go: {modules: []}": "'go' has no effect: it only recorded sources, which nothing reads any more. Remove it.",
        "remote_sources_version: 2": "'remote_sources_version' has no effect: remote sources are not fetched here. Remove it.",
    }.items(),
)
def test_a_key_without_effect_is_warned_of(text: str, warning: str):
    assert read(f"# a comment\n{text}").warnings == (f"container.yaml, line 2: {warning}",)


NO_YAML = "this is not YAML: "
WRONG = {
    "tags: [a]\ntag: [b]": "2: unknown key 'tag'. Did you mean 'tags'?",
    "platforms:\n  onyl: x86_64": "2: unknown key 'platforms.onyl'. Did you mean 'platforms.only'?",
    "version:\n  form_rpm: x": "2: unknown key 'version.form_rpm'. Did you mean 'version.from_rpm'?",
    "compose:\n  moduls: []": "2: unknown key 'compose.moduls'. Did you mean 'compose.modules'?",
    "tags: []\nonly: x86_64": "2: unknown key 'only'. Write 'only:' below 'platforms:', with more indent.",
    "platforms.only: x": "1: unknown key 'platforms.only'. Write 'only:' below 'platforms:', with more indent.",
    "platforms:\n  not: x\n  tags: [x]": "3: unknown key 'platforms.tags'. Write 'tags:' without indent: it is no part of 'platforms'.",
    "zzz: 1": "1: unknown key 'zzz'. The keys here are: platforms, tags, set_release_env, buildtime_limit, version, test, autorebuild.",
    "1: 2": "1: unknown key '1'. The keys here are: platforms, tags, set_release_env, buildtime_limit, version, test, autorebuild.",
    '"a\\0\\n": 2': "1: unknown key 'a??'. The keys here are: platforms, tags, set_release_env, buildtime_limit, version, test, autorebuild.",
    "[1, 2]: x": "1: a key is not a text. Write 'key: value'.",
    "- a\n- b": "1: this is a list. Write 'key: value' lines.",
    "just text": "1: this is 'just text'. Write 'key: value' lines.",
    "tags: [a]\n\ntags: [b]": "3: the key 'tags' is given twice, first in line 1. Keep one of the two.",
    "platforms:\n  only: a\n  not: b\n  only: c": "4: the key 'platforms.only' is given twice, first in line 2. Keep one of the two.",
    "tags:\n  - 1.10": "2: 'tags', entry 1 is the number 1.10, and must be a tag. Put it in quotes: '1.10'.",
    "tags: [a, yes]": "1: 'tags', entry 2 is true, and must be a tag. Put it in quotes: 'yes'.",
    "tags:\n  - {version}": "2: 'tags', entry 1 is a map, and must be a tag. Put it in quotes: '{version}'.",
    "tags: ['']": "1: 'tags', entry 1 is empty, and must be a tag. Correct the entry.",
    "tags: ' '": '1: \'tags\' is \' \', and must be a tag or a list of tags. For example: tags: ["devel", "{version}"]',
    f"tags: [{', '.join(['x'] * 101)}]": "1: 'tags' has 101 entries, and the most is 100. Write fewer.",
    "tags: [2026-01-01]": "1: YAML reads 2026-01-01 as a date. Put it in quotes.",
    "tags: {a: b}": '1: \'tags\' is a map, and must be a tag or a list of tags. For example: tags: ["devel", "{version}"]',
    "platforms: x86_64": '1: \'platforms\' is \'x86_64\', and must be a map. For example: platforms: {"only": ["x86_64", "aarch64"]}',
    "platforms: {only: [X86_64]}": "1: 'platforms.only', entry 1 is 'X86_64', and must be an arch, such as x86_64. Correct the entry.",
    "platforms: {not: a b}": "1: 'platforms.not' is 'a b', and must be an arch, such as x86_64, or a list of them. For example: not: [\"s390x\"]",
    "buildtime_limit: '7200'": "1: 'buildtime_limit' is '7200', and must be a whole number of seconds, 0 or more and at most a year. For example: buildtime_limit: 7200",
    "buildtime_limit: -1": "1: 'buildtime_limit' is the number -1, and must be a whole number of seconds, 0 or more and at most a year. For example: buildtime_limit: 7200",
    "buildtime_limit: 1.0e+300": "1: 'buildtime_limit' is the number 1.0e+300, and must be a whole number of seconds, 0 or more and at most a year. For example: buildtime_limit: 7200",
    'tags: ["a\\ud800"]': "1: the text holds half of a surrogate pair. Remove it.",
    '"\\udfff": 1': "1: the text holds half of a surrogate pair. Remove it.",
    "buildtime_limit: true": "1: 'buildtime_limit' is true, and must be a whole number of seconds, 0 or more and at most a year. For example: buildtime_limit: 7200",
    "buildtime_limit: 1:30:00": "1: the number 1:30:00 is not read here. Write at most 15 plain digits, or put it in quotes if it is a text.",
    f"buildtime_limit: {'9' * 5000}": f"1: the number {'9' * 100}… is not read here. Write at most 15 plain digits, or put it in quotes if it is a text.",
    "buildtime_limit: .nan": "1: the number .nan is not read here. Write at most 15 plain digits, or put it in quotes if it is a text.",
    "set_release_env: A-B": "1: 'set_release_env' is 'A-B', and must be the name of an environment variable: letters, digits and _. For example: set_release_env: \"IMAGE_RELEASE\"",
    "version: {}": '1: \'version\' lacks the key \'from_rpm\'. For example: version: {"from_rpm": "hugo"}',
    "version: hugo": '1: \'version\' is \'hugo\', and must be a map with the key from_rpm. For example: version: {"from_rpm": "hugo"}',
    "version:\n  from_rpm: hugo 1": "2: 'version.from_rpm' is 'hugo 1', and must be the name of an RPM, without version. For example: from_rpm: \"hugo\"",
    "test:\n  - ls\n  - 7": "3: 'test', entry 2 is the number 7, and must be a command for /bin/sh. Put it in quotes: '7'.",
    "test: ' '": '1: \'test\' is \' \', and must be a command for /bin/sh or a list of them. For example: test: ["hugo version", "test -x /usr/bin/hugo"]',
    'test: ["a\\0"]': "1: 'test', entry 1 is 'a?', and must be a command for /bin/sh. Correct the entry.",
    f"test: [{', '.join(['ls'] * 51)}]": "1: 'test' has 51 entries, and the most is 50. Write fewer.",
    "autorebuild:\n  from_latest: 1": "2: 'autorebuild.from_latest' is the number 1, and must be true or false. Correct it.",
    "compose:\n  modules: [foo]": "2: 'compose.modules', entry 1 is 'foo', and must be a module, such as nodejs:20. Correct the entry.",
    "compose: {build_only_content_sets: {x.y: 7}}": "1: 'compose.build_only_content_sets' is the number 7, and must be a list. Correct it.",
    "tags: []\ncompose:\n  packages: [a]": "2: 'compose' is not supported: composes (ODCS) are not available here yet. Remove the key, and give the repositories with --repo-url.",
    "flatpak: {id: x}": "1: 'flatpak' is not supported: flatpaks are not built here. Remove the key, and build from a Dockerfile.",
    "operator_manifests: {}": "1: 'operator_manifests' is not supported: operator bundles are not changed here, so no image in them would be pinned. Remove the key, and commit the manifests as they are to be shipped.",
    "remote_sources: []": "1: 'remote_sources' is not supported: remote sources are not fetched here yet. Remove the key, and put what is needed into dist-git or its lookaside cache.",
    "remote_source: {repo: x}": "1: 'remote_source' is not supported: remote sources are not fetched here yet. Remove the key, and put what is needed into dist-git or its lookaside cache.",
    "a: [": f"1: {NO_YAML}while parsing a flow node expected the node content, but found '<stream end>'. Close each [ and {{, with commas between the entries.",
    "a: 1\n\tb: 2": rf"2: {NO_YAML}while scanning for the next token found character '\t' that cannot start any token. Indent with blanks, not with tabs.",
    "a: \x07": "1: the character U+0007 cannot stand in YAML. Remove it.",
    "tags: latest: x": f"1: {NO_YAML}mapping values are not allowed here. Put a text with ': ' in quotes, and check the indent.",
    "tags:\n  - {version}-x\n": f"2: {NO_YAML}while parsing a block collection expected <block end>, but found '<scalar>'. Put a text with {{ }} in quotes, such as '{{version}}'.",
    "tags: @x": f"1: {NO_YAML}while scanning for the next token found character '@' that cannot start any token. Put the text in quotes.",
    "tags: 'x": f"1: {NO_YAML}while scanning a quoted scalar found unexpected end of stream. Close the quote.",
    "tags: *x": f"1: {NO_YAML}found undefined alias 'x'. Put a text that begins with * in quotes.",
    "a: 1\n---\nb: 1": f"2: {NO_YAML}expected a single document in the stream but found another document. Keep one document: remove the line with '---'.",
    "tags:\n<<<<<<< HEAD\n- a\n=======\n": f"3: {NO_YAML}while scanning a simple key could not find expected ':'. Resolve the merge conflict.",
    'tags: ["\\U00110000"]': f"1: {NO_YAML}chr() arg not in range(0x110000). Put the text in quotes.",
    "!!python/object/apply:os.system [ls]": "1: the YAML tag '!!python/object/apply:os.system' is not read here. Remove the tag, or put the text in quotes.",
    "tags: !!binary aGk=": "1: the YAML tag '!!binary' is not read here. Remove the tag, or put the text in quotes.",
    "<<: {tags: [x]}": "1: '<<' is not read here. Write the keys out.",
    "tags: &a [*a]": "1: this has more than 20 levels. Nest less deeply.",
    "tags:\n" + "[" * 900: "2: this has more than 20 levels. Nest less deeply.",
}  # fmt: skip


@pytest.mark.parametrize("text, message", WRONG.items(), ids=lambda text: text[:40])
def test_what_is_wrong_is_said_with_its_line_and_what_to_do(text: str, message: str):
    with pytest.raises(BadRequest) as caught:
        read(text)
    assert str(caught.value) == f"container.yaml, line {message}"
    assert caught.value.do


def test_a_long_file_is_refused():
    with pytest.raises(BadRequest, match=r"container.yaml is longer than 65536 characters"):
        read("#" * 65537)


def test_aliases_that_stand_for_a_billion_items_take_no_time():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    begun = time.monotonic()
    with pytest.raises(BadRequest, match=r"line \d+: this is more than 10000 values"):
        read("\n".join(["go:", *(f"  {line}" for line in lines), "tags: *a59"]))
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("text", ["x" * 60_000 + "\\0", "\\0" + " " * 60_000])
def test_a_long_command_takes_no_time(text: str):
    begun = time.monotonic()
    with pytest.raises(BadRequest, match="a command"):
        read(f'test: ["{text}"]')
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("path, rules", list(known_keys(schema())), ids=lambda p: str(p)[:40])
def test_each_example_of_the_schema_can_be_read(path: tuple[str, ...], rules: Any):
    assert rules["description"].endswith(".")
    for value in rules.get("examples", ()):
        for key in reversed(path):
            value = {key: value}
        validator()(value)
        try:
            assert read(json.dumps(value)) != Settings()
        except BadRequest as error:
            assert "is not supported" in str(error)


PIECES = st.sampled_from(
    ["tags", "platforms", "only", "not", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<",
     "!!", "'", '"', "1", "?", "x", "2026-01-01", "buildtime_limit", "0x", "null", "|", "%", "---", "\t",
     "version", "test", "from_rpm", "compose", "\\", "#", ",", "=", "!", "@", ">", "1e9", ".inf"]
)  # fmt: skip


@given(st.text() | st.lists(PIECES, max_size=30).map("".join))
@example("a: 2026-99-99")
@example("{[]: x}")
@example("? {a: b}\n: c")
@example("buildtime_limit: 190:20:30.15")
@example("a: !!int x")
@example("a: !!float ''")
@example("a: !!null x")
@example("a: !!bool x")
@example("a: !!timestamp x")
@example("a: !!map x")
@example("a: !!str [x]")
@example("a: =")
@example("\ud800")
@example("%YAML " + "9" * 5000 + ".1\n---\n")
@example("a: '\\\n")
def test_any_text_is_read_or_refused_with_its_line(text: str):
    try:
        assert isinstance(read(text), Settings)
    except BadRequest as error:
        assert re.match(r"container\.yaml, line \d+: ", str(error)), error
        assert 1 <= int(re.findall(r"line (\d+)", str(error))[0]) <= len(text.splitlines()) + 1
        assert error.do and len(str(error)) < 1000


KEYS = st.sampled_from(sorted({path[-1] for path, _ in known_keys(schema())})) | st.text(max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
    | st.binary(max_size=4) | st.sampled_from(["x86_64", "{version}", "all", "a:b"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.booleans())
def test_any_values_are_read_or_refused_with_their_line(values: Any, flow: bool):
    text = yaml.dump(values, default_flow_style=flow, allow_unicode=True)
    try:
        assert isinstance(read(text), Settings)
    except BadRequest as error:
        assert re.match(r"container\.yaml, line \d+: ", str(error)), error
        assert error.do and len(str(error)) < 1000
