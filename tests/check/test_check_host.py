"""What the check makes of kojid's configuration and of this host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.check.fact import Fact
from koji_containerbuild.check.host import check_host, check_kojid, overlay, private_network
from koji_containerbuild.config import BuilderConfig, BuildrootConfig, Config
from koji_containerbuild.koji_api.kojid_conf import read

GOOD = """[kojid]
server = https://koji.example.com/kojihub
user = builder1
plugin = save_failed_tree builder_containerbuild
pluginpath = {plugins}
allowed_scms = src.example.com:/container/*:no
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "builder_containerbuild.py").touch()
    return folder


def kojid(tmp_path: Path, text: str) -> list[Fact]:
    path = tmp_path / "kojid.conf"
    path.write_text(text)
    return list(check_kojid(path))


def test_nothing_is_wrong_with_a_kojid_that_has_the_plugin_and_a_place_to_build_from(
    tmp_path: Path, plugins: Path
):
    facts = kojid(tmp_path, GOOD.format(plugins=f"/nowhere:{plugins}"))
    assert [fact.state for fact in facts] == ["OK", "OK", "OK"]


@pytest.mark.parametrize(
    ("before", "after", "mend"),
    [
        ("builder_containerbuild", "", "plugin = save_failed_tree builder_containerbuild in"),
        ("pluginpath", "#", "correct pluginpath"),
        ("allowed_scms", "#", "allowed_scms = src.example.com"),
        ("server", "#", "Set server"),
        ("[kojid]", "[koji]", "--kojid-conf"),
    ],
)
def test_what_is_missing_in_kojid_conf_is_named(
    tmp_path: Path, plugins: Path, before: str, after: str, mend: str
):
    facts = kojid(tmp_path, GOOD.format(plugins=plugins).replace(before, after, 1))
    wrong = [fact for fact in facts if fact.state == "WRONG"]
    assert len(wrong) == 1
    assert mend in wrong[0].mend


def test_a_policy_on_sources_is_not_tried(tmp_path: Path, plugins: Path):
    *_, last = kojid(tmp_path, GOOD.format(plugins=plugins) + "allowed_scms_use_policy = true\n")
    assert last.state == "NOT TRIED"


def test_a_configuration_of_kojid_that_is_not_there_is_wrong(tmp_path: Path):
    (fact,) = check_kojid(tmp_path / "kojid.conf")
    assert (fact.state, "No such file" in fact.said) == ("WRONG", True)


def test_certificates_are_looked_for_where_kojid_looks_for_them(tmp_path: Path):
    path = tmp_path / "kojid.conf"
    path.write_text("[kojid]\nserver = https://h/\nserverca = /own.crt\n")
    folder = tmp_path / "kojid"
    folder.mkdir()
    assert read(path, folder).cert == ""
    for name in ("client.crt", "serverca.crt"):
        (folder / name).touch()
    found = read(path, folder)
    assert (found.cert, found.serverca) == (str(folder / "client.crt"), "/own.crt")
    path.write_text("[kojid]\nserver = https://h/\ncert =\n")
    found = read(path, folder)
    assert (found.cert, found.serverca) == ("", str(folder / "serverca.crt"))


def by_name(config: Config) -> dict[str, Fact]:
    return {fact.what: fact for fact in check_host(config)}


def local(tmp_path: Path, runtime: str = "") -> Config:
    place = BuildrootConfig(storage=tmp_path / "a" / "b", runtime=runtime)
    return Config(builder=BuilderConfig(work_dir=tmp_path), buildroot=place)


def test_a_runtime_that_is_not_installed_is_named(tmp_path: Path):
    fact = by_name(local(tmp_path, "no-such-runtime"))["no-such-runtime is installed"]
    assert (fact.state, fact.mend) == ("WRONG", "dnf install no-such-runtime")


def test_a_folder_that_cannot_be_made_is_wrong(tmp_path: Path):
    (tmp_path / "a").write_text("a file")
    facts = by_name(local(tmp_path))
    assert facts["work_dir can be written to"].state == "OK"
    assert facts["storage can be written to"].state == "WRONG"


def test_nothing_is_made_by_looking(tmp_path: Path):
    list(check_host(local(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_a_builder_that_has_others_build_needs_no_buildah(tmp_path: Path):
    config = Config(builder=BuilderConfig(engine="clusters", work_dir=tmp_path))
    assert "buildah is installed" not in by_name(config)
    assert by_name(config)["git is installed"].state == "OK"


def test_the_task_reads_repos_itself_so_it_needs_zstd_wherever_builds_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    for engine in ("local", "clusters"):
        config = Config(builder=BuilderConfig(engine=engine, work_dir=tmp_path))
        fact = by_name(config)["zstd is installed"]
        assert (fact.state, "`version: from_rpm`" in fact.said) == ("NOT TRIED", True)


def test_a_private_network_needs_a_program_that_makes_it(tmp_path: Path):
    helpers = [tmp_path / "netavark", tmp_path / "bridge"]
    fact = private_network(helpers)
    assert (fact.state, fact.mend.splitlines()[0]) == ("WRONG", "dnf install netavark")
    helpers[1].touch()
    assert private_network(helpers).state == "OK"


@pytest.mark.parametrize(
    ("more", "asked"),
    [({}, True), ({"network": "host"}, False), ({"isolation": "chroot"}, False)],
)
def test_a_network_is_looked_for_where_containers_have_their_own(
    tmp_path: Path, more: dict[str, Any], asked: bool
):
    place = BuildrootConfig(storage=tmp_path, **more)
    facts = by_name(Config(builder=BuilderConfig(work_dir=tmp_path), buildroot=place))
    assert ("RUN can have a network of its own" in facts) == asked


@pytest.mark.parametrize(("kind", "state"), [("overlayfs", "NOT TRIED"), ("xfs", "OK")])
def test_an_overlay_on_an_overlay_is_not_said_to_work(tmp_path: Path, kind: str, state: str):
    stat = tmp_path / "stat"
    stat.write_text(f"#!/bin/sh\necho {kind}\n")
    stat.chmod(0o755)
    fact = overlay(tmp_path / "storage", (str(stat),))
    assert (fact.state, "driver = vfs" in fact.said) == (state, state != "OK")


def test_the_driver_vfs_works_on_any_disk(tmp_path: Path):
    place = BuildrootConfig(storage=tmp_path, driver="vfs")
    facts = by_name(Config(builder=BuilderConfig(work_dir=tmp_path), buildroot=place))
    assert not any("overlay" in what for what in facts)


def test_an_engine_that_there_is_not_is_wrong(tmp_path: Path):
    config = Config(builder=BuilderConfig(engine="cluster", work_dir=tmp_path))
    assert by_name(config)["builds run somewhere"].said == "There is no engine 'cluster'."
