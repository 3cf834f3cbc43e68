"""The stages, one by one."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import pytest

from koji_containerbuild.buildroot.stages.buildinfo import buildinfo, copy_files
from koji_containerbuild.buildroot.stages.help_page import help_page
from koji_containerbuild.buildroot.stages.inject_labels import inject_labels
from koji_containerbuild.buildroot.stages.push import LocalImage, ParentImage, finished
from koji_containerbuild.buildroot.stages.rewrite_from import rewrite_from
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST, sha256, to_bytes
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.dockerfile import parse
from tests.fakes.docker_words import read_labels
from tests.fakes.plans import PLAN

PINNED = {"fedora": "r/fedora@sha256:1", "a": "r/a@sha256:2"}


@pytest.mark.parametrize(
    "before, after",
    [
        ("FROM fedora", "FROM r/fedora@sha256:1"),
        ("from fedora as base\nRUN x", "FROM r/fedora@sha256:1 AS base\nRUN x"),
        ("ARG B=a\nFROM $B\n", "ARG B=a\nFROM r/a@sha256:2"),
        (
            "FROM --platform=linux/amd64 a AS Base\n",
            "FROM r/a@sha256:2 AS Base",
        ),
        ("FROM \\\n  a \\\n  AS x\nUSER 1\n", "FROM r/a@sha256:2 AS x\nUSER 1"),
        ("FROM a AS x\nFROM x\nFROM scratch\n", "FROM r/a@sha256:2 AS x\nFROM x\nFROM scratch"),
        ("FROM a AS One\nFROM oNE AS x", "FROM r/a@sha256:2 AS One\nFROM One AS x"),
        ("ARG S=scratch\nFROM $S\nCOPY x /", "ARG S=scratch\nFROM scratch\nCOPY x /"),
        ("# FROM a\nFROM a\n#FROM a", "# FROM a\nFROM r/a@sha256:2\n#FROM a"),
        (
            "# form\x0cfeed\u2028\nFROM a\nRUN x\x0b\n",
            "# form\x0cfeed\u2028\nFROM r/a@sha256:2\nRUN x",
        ),
        ("FROM a\r\nRUN x\r\n", "FROM r/a@sha256:2\nRUN x"),
        ("\ufeffFROM a\n", "FROM r/a@sha256:2"),
    ],
)
def test_only_the_from_lines_change(before: str, after: str):
    assert rewrite_from(parse(before), PINNED, "LABEL x") == f"{after}\nLABEL x\n"


def test_the_rewritten_file_stands_on_pinned_images_only():
    text = rewrite_from(parse("FROM a AS x\nFROM fedora AS y\nFROM x\n"), PINNED, "LABEL a=b")
    assert parse(text).parents == ("r/a@sha256:2", "r/fedora@sha256:1")


def test_a_parent_that_was_never_looked_up_is_named():
    with pytest.raises(BuildFailed, match="image fedora was never looked up"):
        rewrite_from(parse("FROM fedora\n"), {}, "")


def test_the_arch_is_the_one_label_that_differs():
    labels = read_labels(inject_labels(PLAN, "aarch64"))
    assert labels == {**PLAN.labels, "architecture": "aarch64"}


def test_the_old_spelling_of_the_arch_is_that_of_the_arch_too():
    plan = dataclasses.replace(PLAN, labels={**PLAN.labels, "Architecture": ""})
    labels = read_labels(inject_labels(plan, "aarch64"))
    assert labels == {**PLAN.labels, "architecture": "aarch64", "Architecture": "aarch64"}


def test_the_dockerfiles_go_into_the_image_under_its_name(tmp_path: Path):
    buildinfo("FROM a", "FROM b", "fedora/web-1.0-3", tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "buildinfo").iterdir()} == {
        "Dockerfile-fedora-web-1.0-3": "FROM b",
        "Dockerfile.original-fedora-web-1.0-3": "FROM a",
    }
    assert copy_files(tmp_path) == "COPY --from=koji-containerbuild /buildinfo/ /root/buildinfo/"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def test_a_help_page_becomes_a_manual_page_with_title_author_and_date(files: Path):
    assert help_page("# NAME\nweb - a *server*\n", PLAN, files) == "help.md"
    page = (files / "help.1").read_text()
    assert page.splitlines()[0].replace('"', "").split()[:3] == [".TH", "WEB", "1"] or "WEB" in page
    assert "Fedora" in page and "November 14, 2023" in page
    assert copy_files(files).startswith("COPY --from=koji-containerbuild /help.1 /\n")


def test_a_help_page_with_a_title_of_its_own_keeps_it(files: Path):
    help_page("% MINE(7) Pages\n% Me\n% today\n\n# NAME\nx\n", PLAN, files)
    page = (files / "help.1").read_text()
    assert "MINE" in page and "WEB" not in page


def test_a_help_page_is_read_by_nobody(files: Path, monkeypatch: pytest.MonkeyPatch):
    """Its text is the packager's, and the converter may have mistakes."""
    with tempfile.TemporaryDirectory() as folder:  # one that nobody may enter, unlike tmp_path
        os.chmod(folder, 0o755)
        converter = Path(folder, "go-md2man")
        converter.write_text("#!/bin/sh\nid -u\ncat >/dev/null\n")
        converter.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        help_page("# NAME\n", PLAN, files)
    assert (files / "help.1").read_text() == f"{os.getuid() or 65534}\n"


def test_without_a_help_page_there_is_none(files: Path):
    assert help_page(None, PLAN, files) is None
    assert list(files.iterdir()) == []


# -- push: manifest and config as they are to be


def made(layers: int, **config) -> tuple[bytes, bytes]:
    """As the builder pushed it."""
    settings = {
        "architecture": "amd64",
        "config": {"Hostname": "a1b2", "Labels": {"a": "b"}},
        "container": "gone",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:d{n}" for n in range(layers)]},
        "history": [
            {"created_by": f"step {n}", "comment": "FROM localhost/x"} for n in range(layers)
        ],
        **config,
    }
    body = to_bytes(settings)
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "c", "size": len(body), "digest": sha256(body)},
        "layers": [{"mediaType": "l", "size": n, "digest": f"sha256:l{n}"} for n in range(layers)],
    }
    return to_bytes(manifest), body


def parent(
    layers: int, kind: str = "application/vnd.oci.image.layer.v1.tar+gzip", **config
) -> ParentImage:
    manifest = {
        "layers": [
            {"mediaType": kind, "size": 100 + n, "digest": f"sha256:p{n}"} for n in range(layers)
        ]
    }
    settings = {"rootfs": {"diff_ids": [f"sha256:d{n}" for n in range(layers)]}, **config}
    return ParentImage(Pullspec.parse("r/parent:1"), manifest, settings, "sha256:c")


def finish(image: LocalImage, pushed: tuple[bytes, bytes]) -> tuple[dict, dict]:
    manifest, config = finished(*pushed, image)
    document = json.loads(manifest)
    assert document["config"]["digest"] == sha256(config)
    assert document["config"]["size"] == len(config)
    return document, json.loads(config)


def test_the_parents_layers_have_the_parents_own_digests():
    document, _ = finish(LocalImage("x", parent(2), False), made(3))
    assert [layer["digest"] for layer in document["layers"]] == [
        "sha256:p0",
        "sha256:p1",
        "sha256:l2",
    ]
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert [layer["mediaType"] for layer in document["layers"][:2]] == [kind, kind]


def test_a_layer_of_a_kind_that_docker_does_not_know_stays_as_the_builder_made_it():
    kind = "application/vnd.oci.image.layer.v1.tar+zstd"
    document, _ = finish(LocalImage("x", parent(1, kind), False), made(2))
    assert document["layers"][0]["digest"] == "sha256:l0"


def test_the_layer_with_repo_files_is_left_out():
    document, config = finish(LocalImage("x", parent(2), True), made(4))
    assert [layer["digest"] for layer in document["layers"]] == [
        "sha256:p0",
        "sha256:p1",
        "sha256:l3",
    ]
    assert config["rootfs"]["diff_ids"] == ["sha256:d0", "sha256:d1", "sha256:d3"]
    assert len(config["history"]) == 3


def test_the_builders_leftovers_are_gone_and_everything_else_stays():
    _, config = finish(LocalImage("x", None, False), made(1, os="linux"))
    assert "container" not in config
    assert "comment" not in config["history"][-1]
    assert config["config"] == {"Hostname": "", "Labels": {"a": "b"}}
    assert config["os"] == "linux"


def test_an_image_that_stands_on_something_else_is_refused():
    with pytest.raises(BuildFailed, match="does not stand on the layers of its parent"):
        finish(LocalImage("x", parent(1, rootfs={"diff_ids": ["sha256:other"]}), False), made(2))


def test_the_same_input_gives_the_same_bytes():
    image = LocalImage("x", parent(2), True)
    assert finished(*made(4), image) == finished(*made(4), dataclasses.replace(image, name="y"))
