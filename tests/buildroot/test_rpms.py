"""Packages of an image: read from real RPM databases, in file trees that are not trusted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

from koji_containerbuild.buildroot.host import installed
from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.buildroot.stages.list_rpms import _is_key, _rpm, list_rpms, query
from koji_containerbuild.errors import BuildFailed, ConfigError, ServiceError
from tests.fakes.rpms import install

needs_rpm = pytest.mark.skipif(not shutil.which("rpmbuild"), reason="rpmbuild is not installed")


@needs_rpm
def test_every_package_of_the_database_is_listed(tree: Path):
    rpms = list_rpms(tree)
    assert [rpm.nvra for rpm in rpms] == ["app-1.0-2.fc43.noarch", "zlib-x-1.0-2.fc43.noarch"]
    assert [rpm.epoch for rpm in rpms] == [3, None]
    assert all(len(rpm.sigmd5) == 32 and rpm.signature is None for rpm in rpms)


@needs_rpm
def test_the_database_of_the_image_is_not_changed(tree: Path):
    folder = tree / "usr/lib/sysimage/rpm"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    list_rpms(tree)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@needs_rpm
def test_a_database_behind_links_is_found_as_the_image_sees_it(tree: Path):
    (tree / "var/lib").mkdir(parents=True)
    (tree / "data").mkdir()
    shutil.move(tree / "usr/lib/sysimage/rpm", tree / "data/rpm")
    (tree / "var/lib/rpm").symlink_to("/data/rpm")  # absolute: in the image, not on this host
    assert len(list_rpms(tree)) == 2


NEW, OLD = "usr/lib/sysimage/rpm", "var/lib/rpm"


def test_of_two_databases_the_one_in_the_new_place_counts(tree: Path, packages: list[Path]):
    (tree / OLD).mkdir(parents=True)
    install(tree / OLD, packages[:1])
    assert len(list_rpms(tree)) == 2
    shutil.rmtree(tree / NEW)
    assert [rpm.name for rpm in list_rpms(tree)] == ["app"]


def test_a_database_without_packages_does_not_hide_another(tree: Path):
    (tree / "var/lib").mkdir(parents=True)
    shutil.move(tree / NEW, tree / OLD)
    (tree / NEW).mkdir()
    subprocess.run(["rpmdb", "--dbpath", str(tree / NEW), "--initdb"], check=True)
    assert (tree / NEW / "rpmdb.sqlite").exists()
    assert len(list_rpms(tree)) == 2
    shutil.rmtree(tree / OLD)
    assert list_rpms(tree) == ()


def test_a_place_that_is_a_link_to_the_other_is_the_same_database(tree: Path):
    (tree / "var/lib").mkdir(parents=True)
    shutil.move(tree / NEW, tree / OLD)
    (tree / NEW).symlink_to("../../../var/lib/rpm")
    assert len(list_rpms(tree)) == 2


def test_the_packages_of_the_builder_are_found_in_both_places(tree: Path):
    with tempfile.TemporaryDirectory() as folder:  # a place that everybody may read, as a host's
        os.chmod(folder, 0o755)
        root = shutil.copytree(tree, Path(folder) / "root")
        (root / OLD).mkdir(parents=True)
        (root / OLD / "Packages").write_bytes(b"not looked at: the other place has packages")
        assert installed(root) == list_rpms(tree)
        shutil.rmtree(root / OLD)
        shutil.move(root / NEW, root / OLD)
        assert installed(root) == list_rpms(tree)
        shutil.rmtree(root / OLD)
        assert installed(root) == ()


@pytest.mark.skipif(not shutil.which("db5.3_load"), reason="db5.3-util is not installed")
def test_a_berkeley_database_is_read(tree: Path):
    """Made of the headers in another one: no rpm writes this kind any more."""
    with sqlite3.connect(tree / NEW / "rpmdb.sqlite") as database:
        headers = database.execute("select hnum, blob from Packages").fetchall()
    pairs = [(0, (max(number for number, _ in headers)).to_bytes(4, "little")), *headers]
    dump = "".join(
        f" {number.to_bytes(4, 'little').hex()}\n {value.hex()}\n" for number, value in pairs
    )
    shutil.rmtree(tree / NEW)
    (tree / OLD).mkdir(parents=True)
    text = f"VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n{dump}DATA=END\n"
    load = ["db5.3_load", str(tree / OLD / "Packages")]
    subprocess.run(load, input=text, text=True, check=True)
    assert [rpm.nvra for rpm in list_rpms(tree)] == [
        "app-1.0-2.fc43.noarch",
        "zlib-x-1.0-2.fc43.noarch",
    ]


@needs_rpm
def test_a_database_of_a_kind_that_this_rpm_does_not_know_is_not_an_empty_one(tmp_path: Path):
    (tmp_path / OLD).mkdir(parents=True)
    (tmp_path / OLD / "Packages.db").write_bytes(b"RpmP" + b"\0" * 4092)
    with pytest.raises((ConfigError, ServiceError)) as caught:
        list_rpms(tmp_path)
    assert "The RPM database /var/lib/rpm/Packages.db of the image" in caught.value.what
    if isinstance(caught.value, ConfigError):  # Debian's
        assert "ndb" in caught.value.what and "ndb" in caught.value.do


@needs_rpm
def test_a_link_to_a_database_outside_is_not_followed(tree: Path, tmp_path: Path):
    other = tmp_path / "other"
    (other / "var/lib").mkdir(parents=True)
    (other / "var/lib/rpm").symlink_to(tree / "usr/lib/sysimage/rpm")
    assert list_rpms(other) is None
    (other / "var/lib/rpm").unlink()
    (other / "var/lib/rpm").mkdir()
    for name in os.listdir(tree / "usr/lib/sysimage/rpm"):
        (other / "var/lib/rpm" / name).symlink_to(tree / "usr/lib/sysimage/rpm" / name)
    assert list_rpms(other) is None


def test_a_database_with_a_hole_as_large_as_the_disk_is_not_copied(tmp_path: Path):
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    with (tmp_path / "var/lib/rpm/rpmdb.sqlite").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BuildFailed, match="/var/lib/rpm/rpmdb.sqlite of the image is larger than"):
        list_rpms(tmp_path)


def test_an_image_without_a_database_has_no_packages(tmp_path: Path):
    assert list_rpms(tmp_path) is None
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    assert list_rpms(tmp_path) is None


@needs_rpm
def test_a_database_that_cannot_be_read_is_an_error(tmp_path: Path):
    (tmp_path / "rpmdb.sqlite").write_bytes(b"no database" * 1000)
    os.chmod(tmp_path, 0o777)
    with pytest.raises(ServiceError):
        query(tmp_path)


SIGNED = "RSA/SHA256, Mon 01 Sep 2025 12:00:00 AM UTC, Key ID 829B606631645531"


def test_the_key_of_a_signature_is_its_last_words():
    fields = ["web", "1", "2", "(none)", "x86_64", "AB" * 16, SIGNED]
    assert (_rpm(fields).signature, _rpm(fields).sigmd5) == ("829b606631645531", "ab" * 16)
    assert _rpm([*fields[:6], "-"]).signature is None
    newer = "RSA/SHA256, Mon 01 Sep 2025, Key Fingerprint: c6e7f081cf80e13146676e88829b606631645531"
    assert _rpm([*fields[:6], newer]).signature == "829b606631645531"


def test_keys_that_the_image_trusts_are_no_packages_but_a_package_of_their_name_is():
    fields = ["gpg-pubkey", "1", "2", "(none)", "(none)", "(none)", "-"]
    assert _is_key(_rpm(fields))
    assert not _is_key(_rpm([*fields[:4], "noarch", "ab" * 16, "-"]))


# -- paths in a tree that is not ours


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    (image / "a/b").mkdir(parents=True)
    (image / "a/file").write_text("x")
    (tmp_path / "outside").mkdir()
    return image


@pytest.mark.parametrize(
    "path", ["a/b", "/a/b", "a//b/", "./a/./b", "a/b/../b", "../../a/b", "/../a/b"]
)
def test_a_path_is_found_and_never_leaves_the_tree(image: Path, path: str):
    assert inside(image, path) == image / "a/b"


@pytest.mark.parametrize(
    "target, found",
    [
        ("a/b", "a/b"),
        ("/a/b", "a/b"),
        ("../../../a/b", "a/b"),
        ("a/../a/b", "a/b"),
        ("/", ""),
        ("..", ""),
        ("a/file", "a/file"),
        ("../outside", None),
        ("/etc/passwd", None),
        ("/proc/self/root", None),
        ("none", None),
        ("link", None),
    ],
)
def test_a_link_is_followed_within_the_tree(image: Path, target: str, found: str | None):
    (image / "link").symlink_to(target)
    assert inside(image, "link") == (None if found is None else image / found)


def test_links_that_lead_in_a_circle_or_on_and_on_lead_nowhere(image: Path):
    (image / "one").symlink_to("two")
    (image / "two").symlink_to("/one")
    assert inside(image, "one/x") is None
    for n in range(30):
        (image / f"l{n}").symlink_to(f"l{n + 1}")
    (image / "l30").mkdir()
    assert inside(image, "l0") is None
    assert inside(image, "l20") == image / "l30"


def test_a_file_is_no_folder(image: Path):
    assert inside(image, "a/file/x") is None
    assert inside(image, "a/file/../b") in (None, image / "a/b")


def test_a_name_that_is_too_long_leads_nowhere(image: Path):
    (image / "link").symlink_to("x" * 300)
    assert inside(image, "link") is None
    assert inside(image, "x" * 300) is None
