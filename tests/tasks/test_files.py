"""What the source names is looked up once, and refused in words before a machine is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from koji_containerbuild.config import ArtifactsConfig, Config, FilesConfig, LookasideConfig
from koji_containerbuild.contract.plan import Download
from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api.archives import Archive, archives_of, check_source_types
from koji_containerbuild.rules.scm import SourceUrl
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.tasks.files import Files, resolve_files
from koji_containerbuild.tasks.standalone import Nobody
from koji_containerbuild.tasks.tools import Place
from tests.fakes.koji_session import STATES, FakeKojiSession

MD5, SHA256 = "a" * 32, "b" * 64
TOPURL = "https://koji.example.com/files"
SOURCE = SourceUrl.parse(f"git+https://src.example.com/container/web#{'c' * 40}")
CONFIG = Config(
    lookaside=LookasideConfig("https://lookaside.example.com/{namespace}/{name}/{filename}/{hash}"),
    artifacts=ArtifactsConfig(("files.example.com/ok",)),
)
GOOD = f"- url: https://files.example.com/ok/a.jar\n  sha256: {SHA256}\n"


def archive(number: int, filename: str, btype: str = "maven", **more: object) -> dict[str, object]:
    maven = {"group_id": "org.x", "artifact_id": "a", "version": "1"} if btype == "maven" else {}
    return {
        "id": number, "filename": filename, "btype": btype, "size": 5, "checksum": MD5,
        "checksum_type": 0, "metadata_only": False, **maven, **more,
    }  # fmt: skip


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = CONFIG
        self.hub = FakeKojiSession()
        self.add_build("a-1-1", archive(1, "a-1.jar"), archive(2, "a-1.pom"), archive(3, "b.jar"))

    def add_build(self, nvr: str, *archives: dict[str, object], state: str = "COMPLETE") -> None:
        name, version, release = nvr.rsplit("-", 2)
        number = len(self.hub.builds) + 1
        self.hub.builds[nvr] = {
            "id": number, "nvr": nvr, "name": name, "version": version, "release": release,
            "state": STATES[state], "volume_name": "DEFAULT",
        }  # fmt: skip
        self.hub.archives += [{**row, "build_id": number} for row in archives]

    def resolve(self, **files: str) -> Files:
        for name, text in files.items():
            (self.folder / name.replace("_", "-").replace("--", ".")).write_text(text)
        return resolve_files(Checkout(self.folder, "c" * 40, "x"), SOURCE, self.config, self)

    def archives(self, nvr: str) -> Sequence[Archive]:
        return archives_of(self.hub, nvr, TOPURL)

    def check_sources(self, sources: Mapping[str, Download]) -> None:
        check_source_types(self.hub, list(sources))

    def urls(self, text: str) -> Files:
        return self.resolve(fetch_artifacts_url__yaml=text)

    def koji(self, text: str) -> Files:
        return self.resolve(fetch_artifacts_koji__yaml=text)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def refused(found: pytest.ExceptionInfo[BadRequest], expected: str) -> None:
    assert str(found.value) == expected


def test_a_source_without_such_files_needs_none(site: Site):
    assert site.resolve() == Files((), ())


def test_a_folder_named_sources_is_somebodys_own(site: Site):
    (site.folder / "sources").mkdir()
    assert site.resolve() == Files((), ())


def test_a_file_of_the_lookaside_cache_is_looked_up_by_repository_and_checksum(site: Site):
    (file,) = site.resolve(sources=f"{MD5}  big.tar\n").files
    url = f"https://lookaside.example.com/container/web/big.tar/{MD5}"
    assert (file.path, file.download.url, file.origin) == ("big.tar", url, "lookaside")
    assert file.download.checksums == {"md5": MD5}


def test_a_site_without_lookaside_cache_says_so(site: Site):
    site.config = Config()
    assert site.resolve(sources="# nothing\n").files == ()
    with pytest.raises(BadRequest) as caught:
        site.resolve(sources=f"{MD5}  big.tar\n")
    refused(
        caught,
        "The file sources names big.tar, and this site has no lookaside cache. "
        "Commit the file itself, or ask an admin to set url in [lookaside].",
    )


def test_an_artifact_lands_below_artifacts_with_its_source_beside_it(site: Site):
    more = f"  target: lib/x.jar\n  source-url: https://files.example.com/ok/s.zip\n  source-md5: {MD5}\n"
    files, warnings = dataclasses.astuple(site.urls(GOOD + more))
    assert files[0][0] == "artifacts/lib/x.jar"
    assert site.urls(GOOD + more).files[0].source
    assert warnings == ()


def test_an_artifact_without_source_gets_a_warning(site: Site):
    assert site.urls(GOOD).warnings == (
        "fetch-artifacts-url.yaml: artifacts/a.jar without source-url, which should be there.",
    )


@pytest.mark.parametrize("key", ["url", "source-url"])
def test_a_url_elsewhere_is_refused_with_what_is_allowed(site: Site, key: str):
    bad = "https://files.example.com/other/x.zip"
    text = GOOD + f"  source-url: {bad}\n  source-md5: {MD5}\n"
    if key == "url":
        text = f"- url: {bad}\n  md5: {MD5}\n"
    with pytest.raises(BadRequest) as caught:
        site.urls(text)
    refused(
        caught,
        f"fetch-artifacts-url.yaml, line 1: {bad} is not below a place that this site allows. "
        "Allowed are: files.example.com/ok.",
    )


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "",
            "fetch-artifacts-url.yaml: the source https://files.example.com/ok/ has no name that "
            "Koji could keep. Give a URL that ends in a file name, such as greeter-1.0.tar.gz.",
        ),
        (
            "plan.json",
            "fetch-artifacts-url.yaml: the source https://files.example.com/ok/plan.json has no "
            "name that Koji could keep. Give a URL that ends in a file name, such as "
            "greeter-1.0.tar.gz.",
        ),
        (
            "s.odd",
            "Koji keeps no files of the kind of s.odd. "
            "Declare a source of a known kind, such as .tar.gz or .zip.",
        ),
    ],
)
def test_a_source_that_koji_could_not_keep_is_refused_early(site: Site, name: str, message: str):
    with pytest.raises(BadRequest) as caught:
        site.urls(f"{GOOD}  source-url: https://files.example.com/ok/{name}\n  source-md5: {MD5}\n")
    refused(caught, message)


def test_two_sources_of_one_name_are_both_named(site: Site):
    source = f"  source-url: https://files.example.com/ok/s.zip\n  source-md5: {MD5}\n"
    other = GOOD.replace("a.jar", "b.jar") + source.replace("ok/s", "ok/d/s")
    with pytest.raises(BadRequest, match=r"ok/s.zip and https://.*ok/d/s.zip differ"):
        site.urls(GOOD + source + other)


def test_a_koji_without_the_build_type_says_what_an_admin_does(site: Site):
    site.hub.build_types.clear()
    with pytest.raises(ServiceError, match="koji call addBType remote-source-file"):
        site.urls(GOOD)


def test_two_files_with_one_target_are_both_named(site: Site):
    with pytest.raises(BadRequest) as caught:
        site.urls(GOOD + GOOD.replace("a.jar", "b.jar") + "  target: a.jar\n")
    refused(
        caught,
        "Two files are to become artifacts/a.jar: https://files.example.com/ok/a.jar and "
        "https://files.example.com/ok/b.jar. Give one of them another target.",
    )


def test_more_files_than_the_site_allows_are_refused(site: Site):
    site.config = dataclasses.replace(CONFIG, files=FilesConfig(max_files=1))
    with pytest.raises(BadRequest, match="names 2 files to fetch, and the limit of this site is 1"):
        site.resolve(sources=f"{MD5}  a\n{MD5}  b\n")


def test_all_files_of_a_koji_build_come_with_what_koji_knows_of_them(site: Site):
    files = site.koji("- nvr: a-1-1\n").files
    assert [file.path for file in files] == [
        "artifacts/org/x/a/1/a-1.jar",
        "artifacts/org/x/a/1/a-1.pom",
        "artifacts/org/x/a/1/b.jar",
    ]
    first = files[0]
    assert first.download.url == f"{TOPURL}/packages/a/1/1/maven/org/x/a/1/a-1.jar"
    assert (first.download.checksums, first.download.size) == ({"md5": MD5}, 5)
    assert first.archive and dataclasses.astuple(first.archive) == (1, "a-1-1", "a-1.jar")


def test_a_glob_and_a_group_choose_files(site: Site):
    site.add_build("m-1-1", archive(7, "a.jar"), archive(8, "c.jar", group_id="org.y"))
    text = "- nvr: m-1-1\n  archives:\n  - filename: '*.jar'\n    group_id: org.y\n"
    assert [file.archive.id for file in site.koji(text).files if file.archive] == [8]


def test_files_of_other_kinds_have_their_own_places(site: Site):
    site.add_build(
        "i-1-1",
        archive(5, "disk.qcow2", "image"),
        archive(6, "x.zip", "win", relpath="bin"),
        archive(7, "y.zip", "remote-sources"),
        archive(8, "gone.zip", "image", metadata_only=True),
    )
    files = site.koji("- nvr: i-1-1\n").files
    base = f"{TOPURL}/packages/i/1/1"
    assert {file.path: file.download.url for file in files} == {
        "artifacts/disk.qcow2": f"{base}/images/disk.qcow2",
        "artifacts/bin/x.zip": f"{base}/win/bin/x.zip",
        "artifacts/y.zip": f"{base}/files/remote-sources/y.zip",
    }


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "- nvr: a-1-1\n  archives:\n  - filename: '*.zip'\n",
            "fetch-artifacts-koji.yaml, line 3: no file of a-1-1 matches filename: *.zip. "
            "It has: a-1.jar, a-1.pom, b.jar.",
        ),
        (
            "- nvr: b-1-1\n",
            "fetch-artifacts-koji.yaml, line 1: Koji has no build b-1-1. "
            "Write NAME-VERSION-RELEASE.",
        ),
        (
            "- nvr: failed-1-1\n",
            "fetch-artifacts-koji.yaml, line 1: "
            "The build failed-1-1 is FAILED in Koji, and not COMPLETE.",
        ),
        (
            "- nvr: rpms-1-1\n",
            "fetch-artifacts-koji.yaml, line 1: the build rpms-1-1 has no files but RPMs. "
            "Install RPMs with dnf.",
        ),
        (
            "- nvr: trap-1-1\n",
            "fetch-artifacts-koji.yaml, line 1: The path '../x' is not that of a file below the "
            "Dockerfile's.",
        ),
    ],
)
def test_a_koji_build_that_does_not_have_it_is_named(site: Site, text: str, message: str):
    site.add_build("failed-1-1", state="FAILED")
    site.add_build("rpms-1-1")
    site.add_build("trap-1-1", archive(9, "../x", "image"))
    with pytest.raises(BadRequest) as caught:
        site.koji(text)
    refused(caught, message)


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "fetch-artifacts-nvr.yaml",
            "The source has a file fetch-artifacts-nvr.yaml. Rename it to "
            "fetch-artifacts-koji.yaml.",
        ),
        (
            "fetch-artifacts-url.yml",
            "The source has a file fetch-artifacts-url.yml. Rename it to fetch-artifacts-url.yaml.",
        ),
    ],
)
def test_a_file_of_another_name_is_refused(site: Site, name: str, message: str):
    (site.folder / name).write_text("")
    with pytest.raises(BadRequest) as caught:
        site.resolve()
    refused(caught, message)


def test_without_koji_there_are_no_files_of_koji_builds(tmp_path: Path):
    (tmp_path / "fetch-artifacts-koji.yaml").write_text("- nvr: a-1-1\n")
    checkout = Checkout(tmp_path, "c" * 40, "x")
    with pytest.raises(BadRequest) as caught:
        resolve_files(checkout, SOURCE, CONFIG, Nobody(cast(Place, None), (), ("x86_64",)))
    refused(
        caught,
        "fetch-artifacts-koji.yaml, line 1: Without Koji there are no files of the build a-1-1. "
        "Build it in Koji, with --scratch if you like.",
    )
