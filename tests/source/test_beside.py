"""Files beside the Dockerfile: container.yaml under its name, and those of the old system."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as run
from hypothesis import strategies as st

from koji_containerbuild.contract.plan import Autorebuild
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.beside import read_settings
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.settings import Settings


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, "c" * 40, "https://src.example.com/web")


def write(checkout: Checkout, **files: str) -> None:
    for name, text in files.items():
        (checkout.root / name).write_text(text)


def test_a_folder_without_any_of_them_has_the_defaults(checkout: Checkout):
    write(checkout, **{"Dockerfile": "FROM x", "container.json": "{}", "image-build.conf": "[x]"})
    assert read_settings(checkout, "") == Settings()


def test_the_files_are_those_of_the_subfolder(checkout: Checkout):
    (checkout.root / "sub").mkdir()
    write(checkout, **{"container.yml": "", "sub/container.yaml": "tags: [a]"})
    assert read_settings(checkout, "sub").tags == ("a",)


@pytest.mark.parametrize(
    "name",
    ["container.yml", "Container.yaml", "CONTAINER.YML", ".container.yaml", "container-yaml",
     "container_yaml", "containeryaml", "container.yaml.txt", "container.yaml.in", "container.yml~"],
)  # fmt: skip
def test_a_misspelt_name_is_refused(checkout: Checkout, name: str):
    write(checkout, **{name: ""})
    with pytest.raises(BadRequest) as caught:
        read_settings(checkout, "")
    assert str(caught.value) == (
        f"The source has a file {name}, which nothing reads. "
        "Rename it to container.yaml, or remove it."
    )


def test_a_copy_beside_the_right_name_is_nobodys_business(checkout: Checkout):
    write(
        checkout,
        **{"container.yaml": "tags: [a]", "container.yaml.orig": "", "container.yaml~": ""},
    )
    assert read_settings(checkout, "").tags == ("a",)


def test_another_spelling_beside_the_right_name_is_refused(checkout: Checkout):
    write(checkout, **{"container.yaml": "", "container.yml": "tags: [a]"})
    with pytest.raises(BadRequest, match=r"container\.yml"):
        read_settings(checkout, "")


@pytest.mark.parametrize(
    "name", ["content_sets.yml", "content_sets.yaml", "content-sets.yml", "content-sets.yaml"]
)
def test_content_sets_are_ignored_with_a_warning(checkout: Checkout, name: str):
    write(checkout, **{name: "{", "container.yaml": "version: 1"})
    first, second = read_settings(checkout, "").warnings
    assert first.startswith("container.yaml, line 1")
    assert second == f"{name} is ignored: content sets (Pulp) have no effect here. Remove it."


def test_artifacts_of_pnc_are_refused(checkout: Checkout):
    write(checkout, **{"fetch-artifacts-pnc.yaml": ""})
    with pytest.raises(BadRequest) as caught:
        read_settings(checkout, "")
    assert str(caught.value) == (
        "fetch-artifacts-pnc.yaml is not supported: nothing is fetched from PNC here. "
        "Remove it, and upload the files to the lookaside cache."
    )


def test_additional_tags_are_added_save_those_that_the_file_cannot_hold(checkout: Checkout):
    write(
        checkout,
        **{"additional-tags": "devel\n\n 43.1 \nf-43\n{version}\nlatest\n.x\né\n" + "x" * 128},
    )
    settings = read_settings(checkout, "")
    assert settings.tags == ("latest", "{version}", "devel", "43.1")
    why = "is left out: this file takes letters, digits, _ and . only."
    assert settings.warnings == (
        "additional-tags is deprecated: write all tags below 'tags' in container.yaml, "
        "with latest and '{version}' among them.",
        f"additional-tags, line 4: 'f-43' {why}",
        f"additional-tags, line 5: '{{version}}' {why}",
        f"additional-tags, line 7: '.x' {why}",
        f"additional-tags, line 8: 'é' {why}",
        f"additional-tags, line 9: '{'x' * 100}…' {why}",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["tags: [a]", "tags: []"])
def test_tags_of_container_yaml_count_in_place_of_additional_tags(checkout: Checkout, text: str):
    write(checkout, **{"additional-tags": "devel\n", "container.yaml": text})
    settings = read_settings(checkout, "")
    assert "devel" not in settings.tags
    assert settings.warnings == (
        "additional-tags is ignored: container.yaml has 'tags'. Remove the file.",
    )


def test_additional_tags_without_end_are_refused(checkout: Checkout):
    write(checkout, **{"additional-tags": "a\n" * 101})
    with pytest.raises(BadRequest, match="additional-tags has 101 lines, and the most is 100"):
        read_settings(checkout, "")


def test_the_old_switch_for_rebuilds_is_kept_and_warned_of(checkout: Checkout):
    text = "autorebuild: {from_latest: true}"
    write(
        checkout, **{".osbs-repo-config": "[autorebuild]\nenabled = true\n", "container.yaml": text}
    )
    settings = read_settings(checkout, "")
    assert settings.autorebuild == Autorebuild(enabled=True, from_latest=True)
    assert settings.warnings[1] == (
        ".osbs-repo-config has no effect: no image is built again by itself yet. "
        "The setting is kept for later; until then, build when a parent changes."
    )


@pytest.mark.parametrize(
    "text", ["", "[autorebuild]\n", "[autorebuild]\nenabled = false\n", "[other]\nenabled=x\n"]
)
def test_a_switch_that_is_off_is_not_worth_a_word(checkout: Checkout, text: str):
    write(checkout, **{".osbs-repo-config": text})
    assert read_settings(checkout, "") == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "enabled = true",
        "[autorebuild]\nenabled = maybe",
        "[autorebuild]\nx",
        "[a]\n[a]",
        "[a]\nb=1\nb=2",
    ],
)
def test_a_switch_that_cannot_be_read_is_ignored_with_a_warning(checkout: Checkout, text: str):
    write(checkout, **{".osbs-repo-config": text})
    settings = read_settings(checkout, "")
    assert not settings.autorebuild.enabled
    assert settings.warnings[0].startswith(".osbs-repo-config is ignored: it cannot be read: ")


TEXTS = st.text() | st.lists(
    st.sampled_from(["[autorebuild]", "enabled", "=", ":", "true", "\n", " ", "\t", "[", "]", "%", "#", ";", "[DEFAULT]", "a-b"]), max_size=20
).map("".join)  # fmt: skip


@run(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS)
@example("[a]\n x\nb\n  c", "\udc00".encode("utf-8", "replace").decode())
def test_whatever_they_hold_is_read_or_refused(checkout: Checkout, config: str, tags: str):
    for name, text in ((".osbs-repo-config", config), ("additional-tags", tags)):
        (checkout.root / name).write_bytes(text.encode("utf-8", "replace"))
    try:
        assert isinstance(read_settings(checkout, ""), Settings)
    except BadRequest as error:
        assert "additional-tags has" in str(error)
