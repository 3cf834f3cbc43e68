"""The recipe, on a store and a registry that work: what is in the registry afterwards."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.recipe import build_arch
from koji_containerbuild.buildroot.step import StageFailed
from koji_containerbuild.buildroot.tools import Tools
from koji_containerbuild.contract.image import ArchImage
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan, Checks, Parent, RepoFile
from koji_containerbuild.registry.artifact import pull_artifact
from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules.levels import FAIL, WARN
from koji_containerbuild.rules.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    Platform,
    build_index,
    goarch,
)
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.fetch import FetchLimits
from koji_containerbuild.source.file_cache import FileCache
from tests.fakes.builder import FakeBuilder, push
from tests.fakes.git import GitRepo
from tests.fakes.plans import PLAN
from tests.fakes.registry import FakeRegistry, Fault

REPO = RepoFile("koji-containerbuild-f43.repo", "[f43]\nbaseurl=https://koji/\n")


@dataclass
class Site:
    fake: FakeRegistry
    registry: Registry
    builder: FakeBuilder
    source: GitRepo
    parent: str  # pinned
    folder: Path
    runs: int = 0

    def plan(self, dockerfile: str, **files: str) -> BuildPlan:
        """A plan for a commit with these files."""
        commit = self.source.commit(
            {"Dockerfile": dockerfile, **{k.replace("_", "."): v for k, v in files.items()}}
        )
        return dataclasses.replace(
            PLAN,
            source=dataclasses.replace(PLAN.source, url=self.source.url, commit=commit),
            parents=(Parent("fedora:43", f"{self.fake.host}/fedora:43", self.parent),),
            destination=dataclasses.replace(
                PLAN.destination, repository=f"{self.fake.host}/fedora/web"
            ),
        )

    def build(self, plan: BuildPlan, arch: str = "x86_64") -> Outcome:
        self.runs += 1
        self.builder.arch = arch
        work = self.folder / f"work-{self.runs}"
        work.mkdir()
        console = Console(work / "log", arch)
        try:
            files = FileCache(self.folder / "cache", FetchLimits(8, 60, 100), console.say)
            tools = Tools(self.builder, self.registry, console, work, files)
            return build_arch(plan, arch, tools, None)
        finally:
            console.close()

    def image(self, outcome: Outcome) -> tuple[dict, dict]:
        """Manifest and config."""
        spec = Pullspec(self.fake.host, "fedora/web", digest=outcome.image)
        manifest = self.registry.manifest(spec)
        return json.loads(manifest.body), json.loads(self.registry.config(spec, manifest))

    def report(self, outcome: Outcome) -> tuple[ArchImage, str]:
        into = self.folder / "report"
        into.mkdir()
        spec = Pullspec(self.fake.host, "fedora/web", digest=outcome.report)
        pulled = pull_artifact(self.registry, spec, into)
        return ArchImage.from_json(pulled.config), pulled.files[0].path.read_text()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        FakeRegistry() as fake,
        Registry(RegistrySettings(insecure=(fake.host,)), sleep=lambda s: None) as registry,
    ):
        builder = FakeBuilder(registry)
        base = builder._on(builder.images["scratch"], {"etc/os-release": b"x"}, 1, "base")
        spec = Pullspec(fake.host, "fedora", "43")
        pinned = str(spec.at_digest(push(registry, spec, base)))
        yield Site(fake, registry, builder, GitRepo(tmp_path / "source"), pinned, tmp_path)


def test_an_image_is_its_parents_layers_and_exactly_one_more(site: Site):
    outcome = site.build(site.plan("FROM fedora:43\nRUN write /x\n"))
    manifest, config = site.image(outcome)
    parent = json.loads(site.registry.manifest(Pullspec.parse(site.parent)).body)
    assert manifest["layers"][:-1] == parent["layers"]
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert not outcome.failure


def test_the_labels_of_the_plan_and_the_arch_are_on_the_image(site: Site):
    _, config = site.image(site.build(site.plan("FROM fedora:43\nLABEL vendor=mine\n")))
    assert config["config"]["Labels"] == {**PLAN.labels, "architecture": "x86_64"}
    assert not config["config"]["Hostname"]


def test_an_image_that_bears_another_name_than_planned_is_not_pushed(site: Site):
    plan = site.plan("FROM fedora:43\nLABEL Version=2\n")
    plan = dataclasses.replace(
        plan, labels={k: v for k, v in plan.labels.items() if k not in ("name", "version")}
    )
    with pytest.raises(StageFailed) as caught:
        site.build(plan)
    assert caught.value.failure.stage == "build"
    assert caught.value.failure.cause == (
        "The label name of the image is '', and the build is planned with 'fedora/web'. "
        "The label version of the image is '2', and the build is planned with '1.0'."
    )
    assert not [tag for repo, tag in site.fake.tags if repo == "fedora/web"]


def test_the_release_is_in_the_environment_of_every_stage(site: Site):
    text = "FROM scratch AS one\nFROM fedora:43\nRUN write /x\nFROM one\nLABEL a=$NR\n"
    plan = dataclasses.replace(site.plan(text), release_env="NR")
    _, config = site.image(site.build(plan))
    assert site.builder.built[0].count('\nENV NR="3"\n') == 3
    assert 'FROM one\nENV NR="3"\nLABEL' in site.builder.built[0]
    assert config["config"]["Labels"]["a"] == "3"


def test_the_same_plan_gives_the_same_digest(site: Site):
    plan = site.plan("FROM fedora:43\nRUN write /x\n")
    assert site.build(plan).image == site.build(plan).image


def test_repo_files_are_there_for_the_build_and_gone_from_the_image(site: Site):
    plan = dataclasses.replace(site.plan("FROM fedora:43\nRUN write /x\n"), repos=(REPO,))
    outcome = site.build(plan)
    manifest, config = site.image(outcome)
    assert "FROM localhost/koji-containerbuild/with-repos:" in site.builder.built[0]
    assert (
        len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == len(config["history"]) == 2
    )
    without = site.build(dataclasses.replace(plan, repos=()))
    assert without.image == outcome.image


def test_a_repo_file_that_the_build_has_changed_leaves_no_trace_either(site: Site):
    text = f"FROM fedora:43\nRUN write /etc/yum.repos.d/{REPO.name}\nRUN write /x\n"
    outcome = site.build(dataclasses.replace(site.plan(text), repos=(REPO,)))
    manifest, config = site.image(outcome)
    spec = Pullspec(site.fake.host, "fedora/web")
    own = gzip.decompress(site.registry.blob(spec, manifest["layers"][-1]["digest"]))
    with tarfile.open(fileobj=io.BytesIO(own)) as tar:
        assert "x" in tar.getnames()
        assert not [name for name in tar.getnames() if "yum.repos.d" in name]
    assert config["rootfs"]["diff_ids"][-1] == f"sha256:{hashlib.sha256(own).hexdigest()}"
    assert len(config["rootfs"]["diff_ids"]) == 2


def index_parent(site: Site) -> dict[str, list[dict]]:
    """fedora:43 becomes an index over two images; the layers of each, by arch."""
    spec, entries, layers = Pullspec(site.fake.host, "fedora", "43"), [], {}
    for arch in ("x86_64", "aarch64"):
        scratch = site.builder.images["scratch"]
        image = site.builder._on(scratch, {"etc/arch": arch.encode()}, 1, "base")
        digest = push(site.registry, spec, image, arch)
        body = site.registry.manifest(spec.at_digest(digest)).body
        layers[arch] = json.loads(body)["layers"]
        entries.append(Platform(goarch(arch), "linux", "", digest, DOCKER_MANIFEST, len(body)))
    index = build_index(entries, DOCKER_LIST)
    site.parent = str(spec.at_digest(site.registry.put_manifest(spec, index, DOCKER_LIST)))
    return layers


@pytest.mark.parametrize("repos", [(), (REPO,)], ids=["without repos", "with repos"])
def test_two_arches_in_one_store_stand_each_on_its_own_parent(site: Site, repos):
    below = index_parent(site)
    plan = site.plan("FROM fedora:43\nRUN write /x\n")
    plan = dataclasses.replace(plan, arches=("x86_64", "aarch64"), repos=repos)
    for arch, name in (("x86_64", "amd64"), ("aarch64", "arm64")):
        manifest, config = site.image(site.build(plan, arch))
        assert config["architecture"] == name
        assert config["config"]["Labels"]["architecture"] == arch
        assert manifest["layers"][:-1] == below[arch]


def test_the_dockerfile_in_the_image_names_the_parents_index(site: Site):
    index_parent(site)
    manifest, _ = site.image(site.build(site.plan("FROM fedora:43\n"), "aarch64"))
    spec = Pullspec(site.fake.host, "fedora/web")
    own = gzip.decompress(site.registry.blob(spec, manifest["layers"][-1]["digest"]))
    with tarfile.open(fileobj=io.BytesIO(own)) as tar:
        name = next(name for name in tar.getnames() if "buildinfo/Dockerfile" in name)
        assert f"FROM {site.parent}".encode() in tar.extractfile(name).read()
    assert site.parent not in site.builder.built[0]


def test_a_parent_without_the_arch_is_named_with_it(site: Site):
    index_parent(site)
    with pytest.raises(StageFailed) as caught:
        site.build(site.plan("FROM fedora:43\n"), "s390x")
    assert caught.value.failure.stage == "parents and repos"
    assert caught.value.failure.cause == f"The parent image {site.parent} has no image for s390x."


def test_the_report_tells_of_the_image_and_has_the_log(site: Site):
    outcome = site.build(site.plan("FROM fedora:43\n", help_md="# Web\n"))
    image, log = site.report(outcome)
    assert image.digest == outcome.image
    assert image.help_file == "help.md"
    assert image.parent_config_digest
    assert [one.stage for one in image.timeline][:3] == [
        "fetch source",
        "edit Dockerfile",
        "parents and repos",
    ]
    begin, end = image.build_log
    assert log[begin:end].startswith("STEP: FROM ")
    assert "x86_64 push: done" in log
    assert [layer.diff_id for layer in image.layers] == image.config["rootfs"]["diff_ids"]


def test_only_the_arch_tag_and_the_report_are_tagged(site: Site):
    site.build(site.plan("FROM fedora:43\n"))
    tags = {tag for repo, tag in site.fake.tags if repo == "fedora/web"}
    assert tags == {"f43-x7k2q-2026-x86_64", "f43-x7k2q-2026-x86_64-report"}


def test_from_scratch_there_is_no_parent(site: Site):
    plan = dataclasses.replace(site.plan("FROM scratch\nCOPY x /\n"), parents=())
    image, _ = site.report(site.build(plan))
    assert image.parent_config_digest is None
    assert image.rpms == ()
    assert len(image.layers) == 1


def test_the_store_holds_no_build_afterwards(site: Site):
    site.build(site.plan("FROM fedora:43\n"))
    with pytest.raises(StageFailed):
        site.build(site.plan("FROM fedora:43\nRUN false\n"))
    assert not [name for name in site.builder.images if "/build:" in name]


def test_an_instruction_that_fails_is_named_with_its_output(site: Site):
    with pytest.raises(StageFailed) as caught:
        site.build(site.plan("FROM fedora:43\nRUN false\n"))
    failure = caught.value.failure
    assert (failure.stage, failure.instruction, failure.last_lines) == (
        "build",
        "RUN false",
        "it said no",
    )


@pytest.mark.parametrize(
    "dockerfile, stage, words",
    [
        ("FROM unknown\n", "edit Dockerfile", "unknown was never looked up"),
        ("RUN ls\n", "fetch source", "no FROM"),
        ("FROM fedora:43\nRUN <<EOF\n", "fetch source", "here-document"),
    ],
)
def test_a_source_that_is_not_as_planned_fails_with_the_stage_named(
    site: Site, dockerfile: str, stage: str, words: str
):
    with pytest.raises(StageFailed) as caught:
        site.build(site.plan(dockerfile))
    assert caught.value.failure.stage == stage
    assert words in caught.value.failure.cause


def test_a_registry_that_refuses_fails_the_push(site: Site):
    plan = site.plan("FROM fedora:43\n")
    site.fake.faults.append(Fault("PUT", "/manifests/", status=403, times=99))
    with pytest.raises(StageFailed) as caught:
        site.build(plan)
    assert caught.value.failure.stage == "push"


def test_a_parent_that_is_gone_is_named(site: Site):
    site.fake.manifests.clear()
    with pytest.raises(StageFailed) as caught:
        site.build(site.plan("FROM fedora:43\n"))
    assert caught.value.failure.stage == "parents and repos"
    assert "fedora" in caught.value.failure.cause


def test_a_stage_that_fails_beside_another_is_the_one_that_is_named(site: Site):
    """Packages are listed while the image is pushed."""
    text = "FROM fedora:43\nRUN write /var/lib/rpm/rpmdb.sqlite\n"
    with pytest.raises(StageFailed) as caught:
        site.build(site.plan(text))
    assert caught.value.failure.stage == "list rpms"
    assert caught.value.failure.cause.startswith("The RPM database /var/lib/rpm/rpmdb.sqlite of")


# -- what is checked before anything is published


def checked(site: Site, text: str, **checks: Any) -> Outcome:
    return site.build(dataclasses.replace(site.plan(text), checks=Checks(**checks)))


def refused(site: Site, text: str, **checks: Any) -> Failure:
    """Why the build failed; nothing of it is in the registry."""
    with pytest.raises(StageFailed) as caught:
        checked(site, text, **checks)
    assert not [tag for repo, tag in site.fake.tags if repo == "fedora/web"]
    return caught.value.failure


def test_an_image_that_is_too_large_is_not_pushed_and_both_numbers_are_told(site: Site):
    failure = refused(site, "FROM fedora:43\n", max_size=10 * 1024)
    assert failure.stage == "check size"
    assert re.fullmatch(
        r"The image has 0\.0 MiB uncompressed, and the limit of the site is 0\.0 MiB\. "
        r"0\.0 MiB are the parent's, 0\.0 MiB the image's own\.",
        failure.cause,
    )
    assert not checked(site, "FROM fedora:43\n", max_size=1 << 20).failure


RPMDB = "usr/lib/sysimage/rpm/rpmdb.sqlite"


def with_packages(site: Site, data: bytes) -> None:
    """The parent has these packages."""
    base = site.builder._on(site.builder.images["scratch"], {RPMDB: data}, 1, "base")
    spec = Pullspec(site.fake.host, "fedora", "43")
    site.parent = str(spec.at_digest(push(site.registry, spec, base)))


def test_packages_that_are_not_signed_fail_the_build_by_name(site: Site, tree: Path):
    with_packages(site, (tree / RPMDB).read_bytes())
    failure = refused(site, "FROM fedora:43\n", signatures=FAIL, keys=("a1b2c3d4",))
    assert failure.stage == "check signatures"
    assert failure.cause == (
        "2 of 2 packages in the image are not signed with a key of the target: "
        "app-1.0-2.fc43.noarch (not signed), zlib-x-1.0-2.fc43.noarch (not signed)."
    )
    assert "a1b2c3d4" in failure.hint


def test_with_the_policy_warn_the_report_says_it_of_the_arch(site: Site, tree: Path):
    with_packages(site, (tree / RPMDB).read_bytes())
    image, _ = site.report(checked(site, "FROM fedora:43\n", signatures=WARN, keys=("a1b2c3d4",)))
    (warning,) = image.warnings
    assert warning.startswith("x86_64: 2 of 2 packages in the image are not signed")
    assert image.has_rpm_database


def test_an_image_without_a_database_is_warned_of_unless_it_is_from_scratch(site: Site):
    image, _ = site.report(checked(site, "FROM fedora:43\n", signatures=WARN, keys=("a1b2c3d4",)))
    assert image.warnings == (
        "x86_64: The image has no RPM database, so nothing is known of signatures.",
    )
    assert not image.has_rpm_database
    plan = dataclasses.replace(
        site.plan("FROM scratch\nCOPY x /\n"),
        parents=(),
        checks=Checks(signatures=FAIL, keys=("a1b2c3d4",)),
    )
    assert not site.build(plan).failure


SHELL = "FROM fedora:43\nRUN write /bin/sh\nRUN write /x\n"


def test_tests_run_in_the_image_and_do_not_change_it(site: Site):
    plain = site.build(site.plan(SHELL))
    tested = checked(site, SHELL, tests=("test -e /x", "write /x", "write /y"))
    assert tested.image == plain.image
    _, log = site.report(tested)
    lines = log.splitlines()
    assert lines.index("TEST 2/3: write /x") == lines.index("ran test -e /x") + 1


def test_a_test_that_fails_is_named_and_nothing_is_published(site: Site):
    failure = refused(site, SHELL, tests=("test -e /x", "test -e /none", "exit 9"))
    assert failure.stage == "tests"
    assert failure.cause == "Test 2 of 3 ended with exit status 1."
    assert failure.instruction == "test: test -e /none"
    assert failure.last_lines == "ran test -e /none"


def test_tests_see_no_repo_file(site: Site):
    ca = RepoFile("koji-containerbuild-ca.pem", "-----BEGIN CERTIFICATE-----")
    text = f"{SHELL}RUN write /copied/{ca.name}\n"
    tests = tuple(
        f"test -e {path}" for path in (f"/etc/yum.repos.d/{REPO.name}", f"/copied/{ca.name}")
    )
    for test in tests:
        plan = dataclasses.replace(
            site.plan(text), repos=(REPO, ca), checks=Checks(tests=("test -e /x", test))
        )
        with pytest.raises(StageFailed, match="Test 2 of 2"):
            site.build(plan)


def test_certificates_for_repos_leave_no_trace_either(site: Site):
    ca = RepoFile("koji-containerbuild-ca.pem", "-----BEGIN CERTIFICATE-----")
    plan = dataclasses.replace(site.plan("FROM fedora:43\nRUN write /x\n"), repos=(REPO, ca))
    assert site.build(plan).image == site.build(dataclasses.replace(plan, repos=())).image


def test_an_image_without_a_shell_cannot_be_tested(site: Site):
    failure = refused(site, "FROM fedora:43\n", tests=("true",))
    assert failure.cause == "The image has no /bin/sh, so its tests cannot be run."


def test_who_checks_nothing_waits_for_nothing(site: Site):
    image, _ = site.report(site.build(site.plan("FROM fedora:43\n")))
    stages = [one.stage for one in image.timeline]
    assert not {"check size", "check signatures", "tests"} & set(stages)
