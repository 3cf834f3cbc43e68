"""The life of a task, on a hub, a registry, a git server and an engine that work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import koji
import pytest
from koji.tasks import ServerExit, ServerRestart

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.recipe import build_arch
from koji_containerbuild.buildroot.step import StageFailed
from koji_containerbuild.buildroot.tools import Tools as BuildrootTools
from koji_containerbuild.config import (
    ArtifactsConfig,
    BuilderConfig,
    Config,
    FilesConfig,
    LookasideConfig,
    MailConfig,
    NamingConfig,
    ParentsConfig,
    RegistryConfig,
    ReposConfig,
)
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import (
    BadRequest,
    BuildCancelled,
    BuildFailed,
    ConfigError,
    ServiceError,
)
from koji_containerbuild.koji_api.task_logs import TaskLogs
from koji_containerbuild.registry.client import Registry, RegistrySettings
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
from koji_containerbuild.tasks.build import run_build
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.sweep import sweep
from koji_containerbuild.tasks.tools import Kojid, Task, Tools
from tests.fakes.builder import FakeBuilder, push
from tests.fakes.engine import FakeEngine
from tests.fakes.file_server import FileServer, file_server
from tests.fakes.git import GitRepo, old_server
from tests.fakes.koji_session import STATES, FakeKojiSession
from tests.fakes.mail_server import mail_server
from tests.fakes.registry import FakeRegistry, Fault
from tests.fakes.rpms import no_packages
from tests.fakes.yum_repo import package, serving

HUB = "https://koji.example.com/kojihub"
LABELS = 'LABEL com.redhat.component="web-container" name="fedora/web" version="1.0"\n'
DOCKERFILE = f"FROM fedora:43\n{LABELS}RUN write /x\n"
NAME = "web-container-1.0-1"


class Restart(BaseException):
    """Kojid is restarted: the process is told to end."""


@dataclass
class Site:
    hub: FakeKojiSession
    fake: FakeRegistry
    registry: Registry
    source: GitRepo
    url: str
    folder: Path
    runs: int = 0
    during: Callable[[], None] = lambda: None  # called when a build has begun
    hold: threading.Event = field(default_factory=threading.Event)
    fails_for: dict[str, str] = field(default_factory=dict)  # arch: why
    read: dict[str, str] = field(default_factory=dict)  # .repo files by URL
    sleep: Callable[[float], None] = lambda seconds: None

    def __post_init__(self) -> None:
        self.hold.set()
        self.engine = FakeEngine(("x86_64", "aarch64"), self._program)
        self.config = Config(
            BuilderConfig(work_dir=self.folder),
            RegistryConfig(url=self.fake.host, insecure=True),
            lookaside=LookasideConfig("https://lookaside.example.com/{name}/{filename}/{hash}"),
            files=FilesConfig(cache=self.folder / "files"),
            parents=ParentsConfig(provenance="ignore"),
            labels={"vendor": "Site"},
        )

    def _program(self, plan: BuildPlan, arch: str, write: Any, check: Any) -> Outcome:
        """The real recipe, with a builder that works without buildah."""
        write(b"hello from the build\n")
        if arch in self.fails_for:
            return Outcome(arch, failure=Failure("build", self.fails_for[arch]))
        while not self.hold.wait(0.01):
            check()
        with tempfile.TemporaryDirectory() as name:
            console = Console(Path(name) / "log", arch)
            try:
                files = FileCache(self.config.files.cache, FetchLimits(8, 60, 100), console.say)
                builder = FakeBuilder(self.registry, arch)
                tools = BuildrootTools(builder, self.registry, console, Path(name), files)
                return build_arch(plan, arch, tools, None)
            except StageFailed as error:
                return Outcome(arch, failure=error.failure)
            finally:
                write(console.path.read_bytes())
                console.close()

    def commit(self, dockerfile: str = DOCKERFILE, **files: str) -> str:
        return self.source.commit(
            {"Dockerfile": dockerfile, **{n.replace("_", "."): t for n, t in files.items()}}
        )

    def run(self, **options: Any) -> dict[str, Any]:
        """Task 7, from request to answer."""
        self.runs += 1
        work = self.folder / f"work-{self.runs}"
        work.mkdir()
        revision = self.source.git("rev-parse", "HEAD")
        request = BuildRequest.read(
            f"git+{self.url}web#{revision}", "f43", {"git_branch": "main", **options}
        )
        task = Task(7, 3, 4, HUB)
        state = TaskState.of(task, self.folder / "tasks")
        logs = TaskLogs(self.hub, "tasks/7", state.folder)
        flush = logs.flush

        def flush_and_tell(now: bool = False) -> None:
            flush(now)
            if self.engine.started:
                self.during()

        logs.flush = flush_and_tell  # type: ignore[method-assign]  # where a signal may come in
        kojid = SimpleNamespace(allowed_scms="127.0.0.1*:*:no", topurl="https://koji/files")
        tools = Tools(
            config=self.config,
            engine=self.engine,
            registry=self.registry,
            session=self.hub,
            kojid=Kojid(kojid, lambda *a, **k: None),
            logs=logs,
            work=work,
            clock=lambda: 1_700_000_000.0,
            read_url=lambda url, allowed: self.read[url],
            sleep=self.sleep,
            aside=lambda work: work(),
        )
        return run_build(lambda: request, task, state, tools).answer()

    def tags(self) -> set[str]:
        return {tag for repo, tag in self.fake.tags if repo == "fedora/web"}

    def log(self, name: str = "osbs-build.log") -> str:
        return self.hub.uploads[f"tasks/7/{name}"].decode()

    def left_over(self) -> list[Path]:
        return list((self.folder / "tasks").glob("*"))

    def interrupt(self, state: str) -> None:
        """From now on the task is told to end, and its state is this."""

        def told() -> None:
            self.during = lambda: None
            self.hub.task_states[7] = koji.TASK_STATES[state]
            raise KeyboardInterrupt

        self.during = told


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with FakeRegistry() as fake:
        source = GitRepo(tmp_path / "source")
        with Registry(RegistrySettings(insecure=(fake.host,)), sleep=lambda s: None) as registry:
            builder = FakeBuilder(registry)
            base = builder._on(builder.images["scratch"], no_packages(), 1, "base")
            push(registry, Pullspec(fake.host, "fedora", "43"), base)
            with old_server(source.folder) as url:
                site = Site(FakeKojiSession(), fake, registry, source, url, tmp_path)
                site.commit()
                yield site
                site.hold.set()


@pytest.mark.parametrize("fails", [False, True])
def test_a_log_with_a_gap_is_replaced_by_the_one_that_the_arch_has_kept(site: Site, fails: bool):
    site.engine.loses = len("hello from ")
    if fails:
        site.fails_for = {"x86_64": "No luck."}
        with pytest.raises(BuildFailed):
            site.run()
    else:
        site.run()
    log = site.log("x86_64.log")
    assert log.startswith("the build") is fails  # this one has kept none
    assert ("fetch source: started" in log.splitlines()[0]) is not fails


def test_a_build_ends_as_a_koji_build_with_its_tags(site: Site):
    answer = site.run()
    digest = site.fake.tags["fedora/web", "1.0-1"]
    (unique,) = [tag for tag in site.tags() if re.fullmatch(r"f43-.{5}-\d{14}", tag)]
    assert answer == {
        "repositories": [
            f"{site.fake.host}/fedora/web:1.0-1",
            f"{site.fake.host}/fedora/web@{digest}",
            f"{site.fake.host}/fedora/web:{unique}",
        ],
        "koji_builds": ["1"],
    }
    assert site.hub.builds[NAME]["state"] == STATES["COMPLETE"]
    assert site.hub.tags == {1: ["f43-candidate"]}
    assert {"latest", "1.0", "1.0-1"} <= site.tags()
    assert site.fake.tags["fedora/web", "latest"] == digest


def test_what_koji_imported_names_the_image_and_has_its_logs(site: Site):
    site.run()
    (document,) = site.hub.imported
    names = {output["filename"] for output in document["output"]}
    assert {"osbs-build.log", "x86_64.log", "x86_64-build.log", "plan.json"} <= names
    assert document["build"]["extra"]["container_koji_task_id"] == 7
    assert document["build"]["source"].endswith(f"#{site.source.git('rev-parse', 'HEAD')}")


def test_the_build_has_its_changes_and_its_timeline_as_logs(site: Site):
    site.run()
    site.commit(DOCKERFILE + "RUN write /y\n")
    site.run()
    second = site.hub.imported[1]
    reports = {"changes.log", "changes.json", "timeline.log", "timeline.json"}
    logs = {output["filename"] for output in second["output"] if output["type"] == "log"}
    assert reports <= logs
    folder = next(name for name in site.hub.uploads if "1.0-2-" in name).rpartition("/")[0]
    changes = site.hub.uploads[f"{folder}/changes.log"].decode()
    assert f"From {NAME} to web-container-1.0-2\n" in changes
    assert f"From {site.fake.host}/fedora:43 to web-container-1.0-2\n" in changes
    timeline = site.hub.uploads[f"{folder}/timeline.log"].decode()
    assert "x86_64    build " in timeline
    assert "task      index " in timeline


def test_a_scratch_build_has_its_reports_with_the_task(site: Site):
    site.run()
    site.run(scratch=True)
    assert f"From {NAME} to web-container-1.0-scratch" in site.log("changes.log")
    assert "x86_64    build " in site.log("timeline.log")
    assert json.loads(site.log("changes.json"))["previous"]["changes"]["old"] == NAME


def test_labels_that_disagree_are_mended_with_a_warning(site: Site):
    site.config = dataclasses.replace(site.config, equal_labels={"any": ("summary", "k8s")})
    site.commit(f"{DOCKERFILE}LABEL Version=2 summary=a k8s=b\n")
    warnings = site.run()["user_warnings"]
    assert "version in line 2 of the Dockerfile is '1.0', and its old spelling" in warnings[0]
    assert "summary and k8s should be equal" in warnings[1]


def test_old_spellings_of_the_parent_tell_of_the_image(site: Site):
    builder = FakeBuilder(site.registry)
    base = builder._on(builder.images["scratch"], {"x": b"x", **no_packages()}, 1, "base")
    base.config["config"] = {"Labels": {"Version": "43", "Architecture": "s390x"}}
    push(site.registry, Pullspec(site.fake.host, "fedora", "43"), base)
    assert "user_warnings" not in site.run()
    log = site.log("x86_64.log")
    assert '"Version"="1.0"' in log and '"Architecture"="x86_64"' in log


def test_an_image_more_public_than_its_parent_is_refused(site: Site):
    builder = FakeBuilder(site.registry)
    base = builder._on(builder.images["scratch"], {"x": b"x"}, 1, "base")
    base.config["config"] = {"Labels": {"distribution-scope": "private"}}
    push(site.registry, Pullspec(site.fake.host, "fedora", "43"), base)
    site.commit(f"{DOCKERFILE}LABEL distribution-scope=public\n")
    with pytest.raises(BadRequest, match="is 'public', which is more public than the 'private'"):
        site.run()


def test_the_release_of_the_build_is_in_its_environment(site: Site):
    site.commit(container_yaml="set_release_env: NUMBER\n")
    site.run()
    assert 'ENV NUMBER="1"' in site.log("x86_64.log")


def test_nothing_of_the_task_stays_on_the_host(site: Site):
    site.run()
    assert not site.left_over()
    assert not site.engine.names()


def test_the_logs_of_task_and_arch_are_on_the_hub(site: Site):
    site.run()
    assert "task source: done" in site.log()
    assert "x86_64 push: done" in site.log()
    assert site.log("x86_64.log").startswith("hello from the build\n")
    assert json.loads(site.log("plan.json"))["nvr"]["release"] == "1"


def two_arches(site: Site, on_build: Sequence[str] = ()) -> None:
    """The build tag gets another arch, and fedora:43 becomes an index over both."""
    site.hub.arches = "x86_64 aarch64"
    spec, entries = Pullspec(site.fake.host, "fedora", "43"), []
    for arch in ("x86_64", "aarch64"):
        builder = FakeBuilder(site.registry)
        image = builder._on(builder.images["scratch"], {"etc/arch": arch.encode()}, 1, "base")
        image.config["config"] = {"OnBuild": list(on_build)}
        digest = push(site.registry, spec, image, arch)
        size = len(site.registry.manifest(spec.at_digest(digest)).body)
        entries.append(Platform(goarch(arch), "linux", "", digest, DOCKER_MANIFEST, size))
    site.registry.put_manifest(spec, build_index(entries, DOCKER_LIST), DOCKER_LIST)


def test_two_arches_are_one_index_and_one_build_with_both_archives_and_logs(site: Site):
    two_arches(site)
    answer = site.run()
    index = site.registry.manifest(Pullspec.parse(answer["repositories"][1]))
    assert [p.arch for p in index.platforms] == ["amd64", "arm64"]
    (document,) = site.hub.imported
    archives = [o for o in document["output"] if o["type"] == "docker-image"]
    assert [(a["arch"], a["extra"]["image"]["arch"]) for a in archives] == [
        ("x86_64", "x86_64"),
        ("aarch64", "aarch64"),
    ]
    assert {p.digest for p in index.platforms} == {
        digest for a in archives for digest in a["extra"]["docker"]["digests"].values()
    }
    rooms = document["buildroots"]
    assert len({room["id"] for room in rooms}) == 2
    assert {room["id"] for room in rooms} == {a["buildroot_id"] for a in archives}
    assert [room["container"]["arch"] for room in rooms] == ["x86_64", "aarch64"]
    assert {room["host"]["arch"] for room in rooms} == {platform.machine()}
    logs = {o["filename"] for o in document["output"] if o["type"] == "log"}
    assert {
        f"{arch}{end}" for arch in ("x86_64", "aarch64") for end in (".log", "-build.log")
    } <= logs
    assert "aarch64 push: done" in site.log("aarch64.log")


def test_one_arch_that_fails_stops_the_other_and_is_named(site: Site):
    two_arches(site)
    site.fails_for["aarch64"] = "It has no luck."
    site.hold.clear()
    with pytest.raises(BuildFailed) as caught:
        site.run()
    assert "failed for aarch64: It has no luck." in str(caught.value)
    assert "aarch64.log" in str(caught.value) and "x86_64" not in str(caught.value)
    assert site.engine.cancelled
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]
    assert not site.tags() and not site.left_over() and not site.engine.names()


def test_every_arch_that_fails_is_named(site: Site):
    two_arches(site)
    site.commit(f"FROM fedora:43\n{LABELS}RUN false\n")
    with pytest.raises(BuildFailed) as caught:
        site.run()
    assert "failed for x86_64: exit status 1." in str(caught.value)
    assert "failed for aarch64: exit status 1." in str(caught.value)


RUNS = {
    "RUN": ("RUN write /x\n", [], "", "line 3 of the Dockerfile is 'RUN write /x'"),
    "ONBUILD": ("", ["RUN ls"], "", "the parent image fedora:43 has 'ONBUILD RUN ls'"),
    "test": ("", [], "test: [web --version]", "container.yaml has the test 'web --version'"),
}


@pytest.mark.parametrize("lines, on_build, settings, words", RUNS.values(), ids=list(RUNS))
def test_an_arch_whose_programs_cannot_run_is_refused_for_what_would_run(
    site: Site, lines: str, on_build: list[str], settings: str, words: str
):
    two_arches(site, on_build)
    site.engine.runs = ("x86_64",)
    site.commit(f"FROM fedora:43\n{LABELS}{lines}", container_yaml=settings)
    with pytest.raises(BadRequest) as caught:
        site.run()
    assert caught.value.what == (
        f"The image cannot be built for aarch64: {words}, and the builder lacks an emulator."
    )
    assert "platforms: not:" in caught.value.do
    assert not site.hub.reserved and not site.engine.started


@pytest.mark.parametrize("on_build", [[], ["COPY x /"]])
def test_an_arch_whose_programs_cannot_run_is_built_where_nothing_runs(
    site: Site, on_build: list[str]
):
    two_arches(site, on_build)
    site.engine.runs = ("x86_64",)
    site.commit(f"FROM fedora:43 AS unused\nRUN ls\nFROM fedora:43\n{LABELS}COPY x /\n", x="")
    assert site.run()["koji_builds"] == ["1"]


def test_an_arch_that_the_engine_has_no_machine_for_is_refused(site: Site):
    two_arches(site)
    site.engine.arches = ("x86_64",)
    site.commit(f"FROM fedora:43\n{LABELS}COPY x /\n", x="")
    with pytest.raises(BadRequest, match="built for aarch64: the builder lacks a machine for it"):
        site.run()


def test_a_parent_of_one_arch_will_not_do_for_two_or_for_another(site: Site):
    site.hub.arches = "x86_64 aarch64"
    with pytest.raises(BadRequest, match="for one arch only"):
        site.run()
    with pytest.raises(BadRequest, match="is for linux on x86_64, and the build is for aarch64"):
        site.run(scratch=True, arch_override="aarch64")


def test_a_scratch_build_takes_no_number_and_moves_no_tag(site: Site):
    answer = site.run(scratch=True)
    assert answer["koji_builds"] == []
    assert not site.hub.reserved and not site.hub.imported
    assert not {"latest", "1.0"} & site.tags()
    assert json.loads(site.log("metadata.json"))["build"]["release"] == "scratch.7"


def test_the_wish_to_be_built_again_is_in_the_plan(site: Site):
    """Its warning says that it is kept for later."""
    site.commit(container_yaml="autorebuild: {from_latest: true}\n")
    site.run()
    assert json.loads(site.log("plan.json"))["autorebuild"]["from_latest"] is True


def test_a_dry_run_tells_what_would_be_built_and_takes_nothing(site: Site):
    before = site.tags()
    answer = site.run(dry_run=True)
    assert (answer["repositories"], answer["koji_builds"]) == ([], [])
    told = answer["dry_run"]
    assert (told["nvr"], told["tags"]) == (NAME, ["1.0-1"])
    assert told["parents"][0]["pinned"].startswith(f"{site.fake.host}/fedora@sha256:")
    assert "Would build web-container-1.0-1" in site.log("dry-run.log")
    assert json.loads(site.log("plan.json"))["nvr"]["release"] == "1"
    assert not site.hub.reserved and not site.engine.started and not site.left_over()
    assert site.tags() == before


def test_a_dry_run_is_refused_as_the_build_would_be(site: Site):
    site.run(release="7")
    with pytest.raises(BadRequest, match="web-container-1.0-7 exists already"):
        site.run(release="7", dry_run=True)
    assert site.run(dry_run=True)["dry_run"]["nvr"] == "web-container-1.0-8"


def test_an_isolated_build_moves_no_floating_tag(site: Site):
    assert site.run(isolated=True, release="3.1")["koji_builds"] == ["1"]
    assert "1.0-3.1" in site.tags()
    assert not {"latest", "1.0"} & site.tags()


def test_the_build_after_an_isolated_one_goes_on_with_the_main_stream(site: Site):
    site.run()
    site.run(isolated=True, release="1.1")
    assert site.run()["repositories"][0].endswith(":1.0-2")


@pytest.mark.parametrize("setting, dist", [("tag", ".fc43"), (".el9", ".el9"), ("", "")])
def test_a_counted_release_ends_with_the_disttag_of_the_site(site: Site, setting: str, dist: str):
    site.hub.tag_extra = {"rpm.macro.dist": ".fc43"}
    site.config = replace(site.config, naming=NamingConfig(disttag=setting))
    assert site.run(dry_run=True)["dry_run"]["nvr"] == f"{NAME}{dist}"
    assert site.run()["repositories"][0].endswith(f":1.0-1{dist}")
    assert json.loads(site.log("plan.json"))["labels"]["release"] == f"1{dist}"


@pytest.mark.parametrize("extra", [{}, {"rpm.macro.dist": ""}, {"rpm.macro.dist": "%{nil}"}])
def test_a_tag_without_a_disttag_gives_plain_numbers(site: Site, extra: dict[str, str]):
    site.hub.tag_extra = extra
    site.config = replace(site.config, naming=NamingConfig(disttag="tag"))
    assert site.run()["repositories"][0].endswith(":1.0-1")


def test_a_disttag_of_the_tag_that_no_release_can_bear_names_the_tag(site: Site):
    site.hub.tag_extra = {"rpm.macro.dist": ".%{fc}"}
    site.config = replace(site.config, naming=NamingConfig(disttag="tag"))
    with pytest.raises(ConfigError, match="tag f43-build .*rpm.macro.dist"):
        site.run()


@pytest.mark.parametrize("options", [{"release": "5"}, {"isolated": True, "release": "5.1"}])
def test_a_given_release_has_no_disttag(site: Site, options: dict[str, Any]):
    site.config = replace(site.config, naming=NamingConfig(disttag=".fc43"))
    assert site.run(**options)["repositories"][0].endswith(f":1.0-{options['release']}")


def test_a_component_must_end_as_the_site_says(site: Site):
    site.config = replace(site.config, naming=NamingConfig(component_suffix="-image"))
    with pytest.raises(BadRequest, match=r'LABEL com.redhat.component="web-container-image"'):
        site.run()
    assert not site.hub.reserved


@pytest.fixture
def hugo(site: Site, tmp_path: Path) -> Iterator[str]:
    """The URL of a .repo file; its repo has hugo 0.111."""
    with serving(tmp_path / "repos") as repos:
        repos.add("x86_64", package("hugo", "0.111-4.fc43"), package("hugo", "0.92-1"))
        url = "https://r.example.com/x.repo"
        site.read[url] = f"[x]\nbaseurl={repos.url}/$basearch\n"
        yield url


def test_the_version_can_be_that_of_an_rpm(site: Site, hugo: str):
    without = DOCKERFILE.replace(' version="1.0"', "")
    site.commit(without, container_yaml="version: {from_rpm: hugo}\n")
    answer = site.run(yum_repourls=[hugo])
    assert answer["repositories"][0].endswith(":0.111-1")
    assert {"latest", "0.111", "0.111-1"} <= site.tags()
    assert "web-container-0.111-1" in site.hub.builds
    assert json.loads(site.log("plan.json"))["labels"]["version"] == "0.111"
    assert "user_warnings" not in answer


def test_the_version_of_the_rpm_wins_over_the_label_with_a_warning(site: Site, hugo: str):
    site.commit(container_yaml="version: {from_rpm: hugo}\n")
    answer = site.run(yum_repourls=[hugo], scratch=True)
    assert answer["user_warnings"] == [
        "The label version in line 2 of the Dockerfile is '1.0'; the image gets '0.111', the "
        "version of the RPM hugo (container.yaml)."
    ]


def test_the_version_of_the_rpm_is_in_the_old_spelling_too(site: Site, hugo: str):
    text = DOCKERFILE.replace("version=", "Version=")
    site.commit(text, container_yaml="version: {from_rpm: hugo}\n")
    answer = site.run(yum_repourls=[hugo])
    assert answer["user_warnings"] == [
        "The label Version in line 2 of the Dockerfile is '1.0'; the image gets '0.111', the "
        "version of the RPM hugo (container.yaml)."
    ]
    added = json.loads(site.log("plan.json"))["labels"]
    assert (added["version"], added["Version"]) == ("0.111", "0.111")


def test_an_rpm_that_is_not_there_is_told_before_a_number_is_taken(site: Site, hugo: str):
    site.commit(container_yaml="version: {from_rpm: hogo}\n")
    with pytest.raises(BadRequest, match="no RPM hogo for x86_64.*Did you mean hugo?"):
        site.run(yum_repourls=[hugo])
    assert not site.hub.reserved


def test_warnings_are_in_the_answer_and_in_a_log(site: Site):
    site.commit(container_yaml="version: 1\n")
    warning = (
        "container.yaml, line 1: 'version' has no effect: there is one version of this format. "
        "Remove it."
    )
    assert site.run()["user_warnings"] == [warning]
    assert site.log("user_warnings.log") == warning + "\n"


def test_files_of_the_lookaside_cache_are_in_the_plan_and_fetched(site: Site):
    body = b"large"
    checksum = hashlib.sha512(body).hexdigest()
    with file_server() as server:
        lookaside = LookasideConfig(f"{server.url}/{{name}}/{{filename}}/{{hash}}")
        site.config = dataclasses.replace(site.config, lookaside=lookaside)
        server.files[f"/web/big.tar/{checksum}"] = body
        site.commit(sources=f"SHA512 (big.tar) = {checksum}\n")
        site.run()
    (file,) = json.loads(site.log("plan.json"))["files"]
    assert (file["path"], file["download"]["checksums"]) == ("big.tar", {"sha512": checksum})
    assert "big.tar: 5 bytes, from http://127.0.0.1:" in site.log("x86_64.log")


def commit_an_artifact_with_source(site: Site, server: FileServer) -> str:
    """The checksum of the source."""
    server.files = {"/a.jar": b"jar", "/s.zip": b"source"}
    sums = {name: hashlib.sha256(body).hexdigest() for name, body in server.files.items()}
    allowed = ArtifactsConfig((server.url.removeprefix("http://"),))
    site.config = dataclasses.replace(site.config, artifacts=allowed)
    artifact = f"- url: {server.url}/a.jar\n  sha256: {sums['/a.jar']}\n"
    source = f"  source-url: {server.url}/s.zip\n  source-sha256: {sums['/s.zip']}\n"
    site.source.write({"fetch-artifacts-url.yaml": artifact + source})
    site.commit()
    return sums["/s.zip"]


def test_the_source_of_an_artifact_is_kept_with_the_koji_build(site: Site):
    with file_server() as server:
        commit_an_artifact_with_source(site, server)
        site.run()
        asked = [path for path, _ in server.asked]
    (document,) = site.hub.imported
    (kept,) = (out for out in document["output"] if out["type"] == "remote-source-file")
    assert (kept["filename"], kept["filesize"]) == ("s.zip", 6)
    assert sorted(asked) == ["/a.jar", "/s.zip"]


def test_the_source_of_an_artifact_may_be_gone_after_the_build(site: Site):
    with file_server() as server:
        checksum = commit_an_artifact_with_source(site, server)

        def gone() -> None:
            server.files.pop("/s.zip", None)
            (site.config.files.cache / f"sha256-{checksum}").unlink(missing_ok=True)

        site.during = gone
        assert site.run()["koji_builds"] == ["1"]
    names = [output["filename"] for output in site.hub.imported[0]["output"]]
    assert "s.zip" in names


def test_a_source_that_is_gone_is_missed_before_a_number_is_reserved(site: Site):
    with file_server() as server:
        allowed = ArtifactsConfig((server.url.removeprefix("http://"),))
        site.config = dataclasses.replace(site.config, artifacts=allowed)
        text = "".join(
            f"{begin}url: {server.url}/s.zip\n  {key}sha256: {'a' * 64}\n"
            for begin, key in (("- ", ""), ("  source-", "source-"))
        )
        site.source.write({"fetch-artifacts-url.yaml": text})
        site.commit()
        with pytest.raises(BadRequest, match=r"Cannot fetch s.zip: .*/s.zip answered 404"):
            site.run()
    assert not site.hub.reserved


def test_a_file_that_cannot_be_fetched_fails_the_build_and_gives_the_number_back(site: Site):
    with file_server() as server:
        lookaside = LookasideConfig(f"{server.url}/{{name}}/{{filename}}/{{hash}}")
        site.config = dataclasses.replace(site.config, lookaside=lookaside)
        site.commit(sources=f"SHA512 (big.tar) = {'a' * 128}\n")
        with pytest.raises(BuildFailed, match="Cannot fetch big.tar: .* answered 404"):
            site.run()
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]


def test_a_floating_tag_that_cannot_be_moved_is_a_warning(site: Site):
    site.fake.faults.append(Fault("PUT", "/manifests/latest", status=403, times=99))
    answer = site.run()
    assert answer["koji_builds"] == ["1"]
    assert "The tag latest was not moved" in answer["user_warnings"][0]


def configured(site: Site, **sections: Any) -> None:
    """Another configuration of the builder."""
    site.config = replace(site.config, **sections)


REFUSED = {
    "no such target's package": (lambda s: s.hub.packages.clear(), {}, "not in the list of the tag"),
    "a blocked package": (lambda s: s.hub.packages["web-container"].update(blocked=True), {}, "is blocked"),
    "a locked tag": (lambda s: setattr(s.hub, "locked", True), {}, "locked"),
    "no labels": (lambda s: s.commit("FROM fedora:43\n"), {}, "lacks the labels"),
    "no such parent": (lambda s: s.commit(f"FROM none\n{LABELS}"), {}, "does not exist"),
    "a foreign registry": (lambda s: s.commit(f"FROM quay.io/x/y\n{LABELS}"), {}, "not allowed here"),
    "no Dockerfile": (lambda s: s.source.git("rm", "-q", "Dockerfile") or s.source.commit(), {}, "no Dockerfile"),
    "a misspelt settings file": (lambda s: s.commit(container_yml=""), {}, "Rename it to container.yaml"),
    "settings in Git LFS": (lambda s: s.commit(container_yaml=f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\n"), {}, "container.yaml is in Git LFS"),
    "too long a limit": (lambda s: s.commit(container_yaml="buildtime_limit: 99999"), {}, "maximum is"),
    "an arch that the tag lacks": (lambda s: None, {"scratch": True, "arch_override": "s390x"}, "s390x"),
    "a repo URL that is none": (lambda s: None, {"yum_repourls": ["file:///x"]}, "not a URL of a .repo file"),
    "a repo URL of another domain": (lambda s: configured(s, repos=ReposConfig(("r.example.com",))), {"yum_repourls": ["https://e.example.com/x.repo"]}, "not allowed here"),
    "a repo that leads elsewhere": (lambda s: (configured(s, repos=ReposConfig(("r.example.com",))), s.read.update({"https://r.example.com/x.repo": "[x]\nbaseurl=http://e/\n"})), {"yum_repourls": ["https://r.example.com/x.repo"]}, "leads to 'http://e/'"),
    "a target that is closed": (lambda s: configured(s, builder=BuilderConfig(allowed_targets=("f42-*",))), {}, "may not be used .* Use one of: f42-"),
    "a wrong branch": (lambda s: None, {"git_branch": "other"}, "no branch 'other'"),
    "a tag too long": (lambda s: s.commit(container_yaml=f"tags: [{'x' * 129}]"), {}, "at most 128"),
}  # fmt: skip


@pytest.mark.parametrize("change, options, words", REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_built_is_refused_before_a_number_or_a_machine_is_taken(
    site: Site, change: Callable[[Site], Any], options: dict[str, Any], words: str
):
    change(site)
    with pytest.raises(BadRequest, match=words) as caught:
        site.run(**options)
    assert caught.value.do or "blocked" in words
    assert not site.hub.reserved
    assert not site.engine.started
    assert not site.left_over()


def test_a_build_that_fails_gives_its_number_back_as_failed(site: Site):
    site.commit(f"FROM fedora:43\n{LABELS}RUN false\n")
    with pytest.raises(BuildFailed) as caught:
        site.run()
    assert "Stage 'build' failed for x86_64: exit status 1." in str(caught.value)
    assert "RUN false" in str(caught.value) and "x86_64.log" in str(caught.value)
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]
    assert not site.left_over()


def test_a_build_that_fails_late_leaves_nothing_in_the_registry(site: Site):
    site.hub.refuse["CGImport"] = [koji.GenericError("no")]
    with pytest.raises(ServiceError, match="did not import"):
        site.run()
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]
    assert not site.tags()


def test_the_number_of_a_failed_build_is_used_by_the_next(site: Site):
    test_a_build_that_fails_late_leaves_nothing_in_the_registry(site)
    assert site.run()["repositories"][0].endswith(":1.0-1")


def test_a_cancelled_task_ends_its_build_and_gives_its_number_back(site: Site):
    site.hold.clear()
    site.interrupt("CANCELED")
    with pytest.raises(KeyboardInterrupt):
        site.run()
    assert site.engine.cancelled
    assert site.hub.builds[NAME]["state"] == STATES["CANCELED"]
    assert not site.left_over() and not site.engine.names()


def test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site: Site):
    """Kojid is restarted."""
    site.hold.clear()
    site.interrupt("OPEN")
    with pytest.raises(KeyboardInterrupt):
        site.run()
    assert not site.engine.cancelled
    assert site.engine.names()
    assert site.hub.builds[NAME]["state"] == STATES["BUILDING"]
    assert site.left_over()


def test_a_restarted_task_adopts_its_build_and_reserves_nothing_again(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hold.set()
    assert site.run()["koji_builds"] == ["1"]
    assert len(site.hub.reserved) == 1
    assert len(site.engine.started) == 1
    assert site.engine.fresh == [True, False]  # so it is looked for where it may be
    assert not site.left_over()


def test_a_task_that_died_after_the_import_is_not_failed_when_it_starts_again(site: Site):
    """The hub was away when the build was to be tagged, and with it went the task."""

    def die() -> None:
        if site.hub.imported:
            site.during = lambda: None
            raise Restart

    site.during = die
    with pytest.raises(Restart):
        site.run()
    assert site.hub.builds[NAME]["state"] == STATES["COMPLETE"]
    answer = site.run()
    assert answer["koji_builds"] == ["1"]
    assert site.hub.tags == {1: ["f43-candidate"]}
    assert len(site.hub.imported) == 1


def dies_when(site: Site, now: Callable[[], bool], **options: Any) -> None:
    """The task's process, at the first look at that moment."""

    def die() -> None:
        if now():
            site.during = lambda: None
            raise Restart

    site.during = die
    with pytest.raises(Restart):
        site.run(**options)


def test_a_task_that_died_after_its_end_builds_and_tells_nothing_again(site: Site):
    with mail_server() as relay:
        mail = MailConfig(
            host="127.0.0.1", port=relay.port, from_address="a@b.c", additional=("x@y.z",)
        )
        configured(site, mail=mail)
        dies_when(site, lambda: bool(site.hub.imported) and not site.engine.names())
        answer = site.run()
    assert answer["koji_builds"] == ["1"]
    assert answer["repositories"][0].endswith(":1.0-1")
    assert len(site.hub.reserved) == len(site.engine.started) == len(relay.letters) == 1
    assert not site.left_over()


def test_what_is_gone_after_the_import_is_not_missed_by_a_restarted_task(site: Site):
    dies_when(site, lambda: bool(site.hub.imported))
    site.fake.faults.append(Fault("GET", "/blobs/", status=404, times=99))  # the reports
    site.engine.remove(site.engine.started[0], 5)
    answer = site.run()
    assert answer["koji_builds"] == ["1"]
    assert site.hub.tags == {1: ["f43-candidate"]}
    assert site.fake.tags["fedora/web", "latest"] == site.fake.tags["fedora/web", "1.0-1"]
    assert len(site.engine.started) == 1 and not site.left_over()


def test_what_cannot_be_cleared_away_fails_no_finished_build(site: Site):
    def refuse(name: str, patience: float) -> bool:
        raise OSError("No space left on device")

    site.engine.remove = refuse  # type: ignore[method-assign]
    assert site.run()["koji_builds"] == ["1"]
    assert "No space left on device" in site.log()


def test_a_restarted_task_tells_of_each_stage_once(site: Site):
    """It reads the log of the build that it adopts from the beginning."""

    def told() -> None:
        if "x86_64 push: done" in site.log():
            site.during = lambda: None
            site.hub.task_states[7] = koji.TASK_STATES["OPEN"]
            raise KeyboardInterrupt

    site.during = told
    with pytest.raises(KeyboardInterrupt):
        site.run()
    site.run()
    lines = site.log().splitlines()
    assert len(lines) == len(set(lines))
    assert sum("x86_64 push: done" in line for line in lines) == 1


@pytest.mark.parametrize("gone", [koji.AuthLockError, koji.AuthExpired])
def test_a_process_whose_session_is_gone_ends_and_leaves_the_build_to_its_successor(
    site: Site, gone: type[Exception]
):
    """A kojid that was killed is started again, while the process of its task lives on."""
    site.hold.clear()

    def take_over() -> None:
        site.during = lambda: None
        site.hub.refuse = {call: [gone("")] * 9 for call in ("uploadFile", "getTaskInfo")}
        site.hold.set()  # there is more log

    site.during = take_over
    with pytest.raises(ServerExit):
        site.run()
    assert not site.engine.cancelled
    assert site.hub.builds[NAME]["state"] == STATES["BUILDING"]
    assert not site.hub.imported
    site.hub.refuse = {}
    assert site.run()["koji_builds"] == ["1"]
    assert len(site.engine.started) == 1


@pytest.mark.parametrize("error", [ServerExit(), ServerRestart()])
def test_kojids_own_words_for_its_end_leave_the_build_running(site: Site, error: Exception):
    site.hold.clear()

    def told() -> None:
        site.during = lambda: None
        raise error

    site.during = told
    with pytest.raises(type(error)):
        site.run()
    assert not site.engine.cancelled
    assert site.hub.builds[NAME]["state"] == STATES["BUILDING"]


def test_what_was_pushed_is_deleted_though_the_job_cannot_be_removed(site: Site):
    def refuse(name: str, patience: float) -> bool:
        raise OSError("No space left on device")

    site.engine.remove = refuse  # type: ignore[method-assign]
    test_a_build_that_fails_late_leaves_nothing_in_the_registry(site)


@pytest.mark.parametrize("kept", [True, False])
def test_a_task_that_died_while_it_gave_its_number_back_begins_again(site: Site, kept: bool):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hub.builds[NAME]["state"] = STATES["FAILED"]
    if not kept:
        (site.left_over()[0] / "reservation.json").unlink()
    site.hold.set()
    assert site.run()["koji_builds"] == ["1"]
    assert len(site.hub.reserved) == len(site.engine.started) == 2
    assert not site.left_over()


def test_an_arch_that_ends_without_a_word_fails_the_build(site: Site):
    site.hold.clear()

    def kill() -> None:
        site.during = lambda: None
        site.engine.kill(site.engine.started[0], "x86_64")

    site.during = kill
    with pytest.raises(BuildFailed, match="without a word"):
        site.run()
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]


def test_a_hub_that_takes_no_logs_fails_no_build(site: Site):
    site.hub.full = "tasks/"
    assert site.run()["koji_builds"] == ["1"]


def test_repo_files_of_the_user_stand_in_place_of_the_tags(site: Site):
    url = "https://r.example.com/x.repo"
    site.read[url] = "[x]\nbaseurl=https://r.example.com/\n"
    site.run(yum_repourls=[url])
    (repo,) = json.loads(site.log("plan.json"))["repos"]
    assert (repo["url"], repo["text"]) == (url, site.read[url])


def test_a_scratch_build_may_take_packages_from_anywhere(site: Site):
    configured(site, repos=ReposConfig(allowed_domains=("koji.example.com",)))
    url = "https://r.example.com/x.repo"
    site.read[url] = "[x]\nbaseurl=https://r.example.com/\n"
    site.run(yum_repourls=[url], scratch=True)
    assert json.loads(site.log("plan.json"))["repos"][0]["url"] == url


def test_the_proxy_of_the_site_is_in_the_repo_of_the_tag(site: Site):
    configured(site, repos=ReposConfig(proxy="http://proxy:3128"))
    site.run()
    (repo,) = json.loads(site.log("plan.json"))["repos"]
    assert "proxy=http://proxy:3128\n" in repo["text"]


# -- the sweep


def swept(site: Site) -> list[int]:
    return sweep(site.hub, HUB, site.config, site.engine, site.registry)


def test_the_sweep_leaves_a_task_alone_that_is_open(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    assert swept(site) == []
    assert site.engine.names() and not site.engine.cancelled


@pytest.mark.parametrize(
    "state, kept", [("CANCELED", "CANCELED"), ("FAILED", "FAILED"), ("CLOSED", "FAILED")]
)
def test_the_sweep_ends_what_a_task_left_behind(site: Site, state: str, kept: str):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hub.task_states[7] = koji.TASK_STATES[state]
    swept(site)
    assert site.engine.remove(site.engine.started[0], 5)
    swept(site)
    assert site.hub.builds[NAME]["state"] == STATES[kept]
    assert not site.left_over()


def test_the_sweep_ends_the_build_of_a_task_that_the_hub_does_not_know(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    del site.hub.task_states[7]
    swept(site)
    assert site.engine.cancelled


def test_the_sweep_asks_again_when_the_hub_takes_nothing_back(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hub.task_states[7] = koji.TASK_STATES["FAILED"]
    site.hub.refuse["CGRefundBuild"] = [ConnectionError("reset")]
    assert swept(site) == []
    assert site.left_over()
    site.engine.remove(site.engine.started[0], 5)
    assert swept(site) == [7]
    assert site.hub.builds[NAME]["state"] == STATES["FAILED"]


@pytest.mark.parametrize("state", ["CANCELED", "FAILED"])
def test_the_sweep_deletes_what_a_build_pushed_that_koji_never_got(site: Site, state: str):
    dies_when(site, lambda: "1.0-1" in site.tags())
    site.hub.task_states[7] = koji.TASK_STATES[state]
    assert swept(site) == [7]
    assert not site.tags() and not site.left_over()
    assert site.hub.builds[NAME]["state"] == STATES[state]


def test_the_sweep_deletes_nothing_of_a_build_that_koji_has(site: Site):
    dies_when(site, lambda: bool(site.hub.imported))
    site.hub.task_states[7] = koji.TASK_STATES["CANCELED"]
    assert swept(site) == [7]
    assert "1.0-1" in site.tags()


def test_the_sweep_deletes_nothing_of_a_scratch_build_that_is_done(site: Site):
    dies_when(site, lambda: not site.engine.names(), scratch=True)
    site.hub.task_states[7] = koji.TASK_STATES["CANCELED"]
    tags = site.tags()
    assert swept(site) == [7]
    assert tags and site.tags() == tags


def test_the_sweep_of_another_hub_touches_nothing(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hub.task_states.clear()
    assert sweep(site.hub, "https://other/kojihub", site.config, site.engine, site.registry) == []
    assert not site.engine.cancelled


@pytest.mark.parametrize(
    "state, swept_now", [("CANCELED", [8]), ("OPEN", []), ("FREE", []), (None, [])]
)
def test_the_sweep_ends_jobs_of_tasks_that_are_over_though_nobody_here_knows_them(
    site: Site, state: str | None, swept_now: list[int]
):
    """In a cluster there are the jobs of builders that are gone."""
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    (name,) = site.engine.names()
    stranger = name.replace("-7", "-8")
    foreign = "kcb-00000000-9"
    site.engine._jobs.update({stranger: {}, foreign: {}})
    site.hub.task_states[9] = koji.TASK_STATES["CANCELED"]
    if state:
        site.hub.task_states[8] = koji.TASK_STATES[state]
    assert swept(site) == swept_now
    assert sorted(site.engine.names()) == sorted([name, foreign, *[stranger] * (not swept_now)])


def test_the_sweep_goes_on_when_a_cluster_does_not_answer(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    site.hub.task_states[7] = koji.TASK_STATES["CANCELED"]
    site.engine.away = True
    assert swept(site) == []
    assert site.left_over()
    site.engine.away = False
    swept(site)
    assert site.engine.cancelled


def test_the_sweep_removes_what_can_be_removed_though_one_of_the_clusters_is_away(site: Site):
    test_a_task_that_is_told_to_end_while_open_leaves_its_build_running(site)
    stranger = site.engine.names()[0].replace("-7", "-8")
    site.engine._jobs[stranger] = {}
    site.hub.task_states[8] = koji.TASK_STATES["CANCELED"]
    site.engine.cannot_cancel = True  # as a whole: one has not answered
    assert swept(site) == []
    assert stranger not in site.engine.names()


def test_what_a_cluster_tells_is_in_the_log_of_the_task(site: Site):
    site.engine.notes = ["Unschedulable: 0/3 nodes are available."]
    site.run()
    assert " x86_64 cluster: note: Unschedulable: 0/3 nodes are available.\n" in site.log()


def test_a_failure_is_told_though_the_other_arches_cannot_be(site: Site):
    two_arches(site)
    site.fails_for = {"x86_64": "No luck."}
    site.engine.cannot_cancel = True
    with pytest.raises(BuildFailed, match="No luck."):
        site.run()
    assert "could not be told to end" in site.log()


def test_warnings_of_the_plan_are_told_of_a_build_that_fails_too(site: Site):
    site.commit(f"FROM fedora:43\n{LABELS}RUN false\n", container_yaml="version: 1\n")
    with pytest.raises(BuildFailed):
        site.run()
    assert "'version' has no effect" in site.log("user_warnings.log")


def test_an_image_on_nothing_needs_no_repo(site: Site):
    site.commit(f"FROM scratch\n{LABELS}COPY Dockerfile /\n")
    site.hub.refuse["getRepo"] = [koji.GenericError("there is none")]
    assert site.run()["koji_builds"] == ["1"]


@pytest.mark.parametrize("state", ["CANCELED", "FAILED", "FREE"])
def test_a_task_that_is_not_ours_any_more_imports_nothing(site: Site, state: str):
    def change() -> None:
        site.hub.task_states[7] = koji.TASK_STATES[state]

    site.during = change
    with pytest.raises(BuildCancelled, match="ended before its build was imported"):
        site.run()
    assert not site.hub.imported


def test_a_build_that_a_program_asks_for_after_another_says_so(site: Site):
    answer = site.run(triggered_after_koji_task=5, push_url="x")
    image = site.hub.imported[0]["build"]["extra"]["image"]
    assert (image["autorebuild"], image["triggered_after_koji_task"]) == (True, 5)
    assert answer["user_warnings"] == [
        "The option push_url has no effect: images are pushed where the site says."
    ]
