"""The reports of a build: what they compare with, and that they fail no build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import koji
import pytest

from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.image import (
    ArchImage,
    Buildroot,
    ImageIndex,
    Layer,
    Rpm,
    StageTime,
)
from koji_containerbuild.contract.plan import Parent
from koji_containerbuild.koji_api.metadata import Facts, OutputFile, document
from koji_containerbuild.koji_api.task_logs import TaskLogs
from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules.manifests import DOCKER_LIST, DOCKER_MANIFEST
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.changes import change_documents, change_report
from koji_containerbuild.tasks.follow import LineReader
from koji_containerbuild.tasks.timeline import arch_stages, task_stages, timeline_documents
from tests.fakes.koji_session import FakeKojiSession
from tests.fakes.plans import PLAN
from tests.fakes.registry import FakeRegistry

TAG = "f43-candidate"


def image(hub: FakeKojiSession, rpms: str, parent: str = "", **labels: str) -> ArchImage:
    """Of packages like bash-5.2; one that Koji has has Koji's checksum."""
    installed = []
    for name, _, version in (word.rpartition("-") for word in rpms.split()):
        known = hub.getRPM({"name": name, "version": version, "release": "1", "arch": "x86_64"})
        md5 = known["payloadhash"] if known else "f" * 32
        installed.append(Rpm(name, version, "1", None, "x86_64", md5, None))
    config = {"config": {"Labels": labels}, "rootfs": {"diff_ids": ["base", rpms]}}
    return ArchImage(
        "x86_64", "sha256:1", DOCKER_MANIFEST, 1, f"sha256:{rpms}", config, parent or None,
        (Layer("base", 1 << 20), Layer(rpms, 1 << 10)), tuple(installed), None,
        Buildroot("h", "fedora", "x86_64", "none", (), ()), (0, 0), (), (),
    )  # fmt: skip


def as_build(hub: FakeKojiSession, nvr: str, of: ArchImage, *tags: str) -> int:
    """The image as the build that we import of it."""
    file = OutputFile("image.tar.gz", 1, "0" * 32, "x86_64")
    index = ImageIndex("sha256:2", DOCKER_LIST)
    facts = Facts(PLAN, "cg", "builder1", "job", (of,), index, {"x86_64": file}, (), 1, 2)
    return hub.add_build(nvr, document(facts)["output"], *tags)


@pytest.fixture
def hub() -> FakeKojiSession:
    hub = FakeKojiSession()
    for version in ("5.1", "5.2"):
        hub.add_rpm("bash", version)
    hub.add_rpm("jq", "1.7")
    return hub


@pytest.fixture
def tools(hub: FakeKojiSession, tmp_path: Path) -> Iterator[Any]:
    with (
        FakeRegistry() as fake,
        Registry(RegistrySettings(insecure=(fake.host,)), sleep=lambda s: None) as registry,
    ):
        logs = TaskLogs(hub, "tasks/7", tmp_path)
        yield SimpleNamespace(session=hub, registry=registry, logs=logs, host=fake.host)


def test_the_first_build_says_that_it_is_the_first(hub, tools):
    text = change_documents(PLAN, [image(hub, "bash-5.2")], tools, ())["changes.log"]
    assert "This is the first build of the image that Koji knows." in text
    assert "FROM scratch" in text


def test_the_report_names_what_changed_since_the_previous_build(hub, tools):
    as_build(hub, "web-container-1.0-2", image(hub, "bash-5.1", release="2"), TAG)
    new = image(hub, "bash-5.2 jq-1.7", release="3")
    found = change_documents(PLAN, [new], tools, ())
    assert "From web-container-1.0-2 to web-container-1.0-3\n" in found["changes.log"]
    assert "Updated: 1\n  bash  5.1-1 -> 5.2-1\n" in found["changes.log"]
    assert "Added: 1\n  jq  1.7-1\n" in found["changes.log"]
    (arch,) = json.loads(found["changes.json"])["previous"]["changes"]["arches"]
    assert arch["labels"] == [{"name": "release", "old": "2", "new": "3"}]


def test_the_parent_is_the_one_of_the_builds_that_the_image_stands_on(hub, tools):
    other = as_build(hub, "other-1-1", image(hub, "jq-1.7"))
    base = as_build(hub, "base-1-1", image(hub, "bash-5.2"))
    new = image(hub, "bash-5.2 jq-1.7", parent="sha256:bash-5.2")
    changes = change_report(PLAN, [new], tools, [other, base]).parent.changes
    assert changes.old == "base-1-1"
    assert [package.name for package in changes.arches[0].packages.added] == ["jq"]


def test_a_parent_that_koji_does_not_know_is_read_from_the_registry(hub, tools):
    config = {"config": {"Labels": {"vendor": "Demo"}}, "rootfs": {"diff_ids": ["base"]}}
    spec = Pullspec(tools.host, "fedora", "43")
    digest = tools.registry.put_blob(spec, json.dumps(config).encode())
    parents = [
        Parent("fedora:43", str(spec), str(spec.at_digest("sha256:" + "1" * 64))),
        Parent("x", f"{tools.host}/x:1", f"{tools.host}/x@sha256:{'2' * 64}"),
    ]
    new = image(hub, "bash-5.2", parent=digest)
    report = change_report(replace(PLAN, parents=tuple(parents)), [new], tools, ())
    assert report.parent.changes.old == str(spec)
    (arch,) = report.parent.changes.arches
    assert (arch.packages, arch.old_size, arch.new_size) == (None, 1 << 20, (1 << 20) + 1024)
    assert [label.name for label in arch.labels] == ["vendor"]


def test_a_package_that_koji_does_not_have_is_not_called_new_each_time(hub, tools):
    old = image(hub, "bash-5.2 foreign-1")
    as_build(hub, "web-container-1.0-2", old, TAG)
    report = change_report(PLAN, [old], tools, ())
    assert report.not_in_koji == ("foreign-1-1.x86_64",)
    assert report.previous.changes.arches[0].nothing
    assert "Koji does not have\n" in report.text()


def test_koji_is_not_asked_of_packages_that_another_build_has(hub, tools):
    old = image(hub, "bash-5.1 jq-1.7")
    base = as_build(hub, "base-1-1", image(hub, "bash-5.2"))
    as_build(hub, "web-container-1.0-2", old, TAG)
    new = image(hub, "bash-5.2 jq-1.7", parent="sha256:bash-5.2")
    hub.refuse["getRPM"] = [koji.GenericError("asked")]
    assert "asked" not in change_documents(PLAN, [new], tools, [base])["changes.log"]


def test_a_label_that_koji_cannot_hold_is_no_change(hub, tools):
    old = image(hub, "bash-5.2", bell="\x07")
    as_build(hub, "web-container-1.0-2", old, TAG)
    assert change_report(PLAN, [old], tools, ()).previous.changes.arches[0].nothing


@pytest.mark.parametrize("call", ["listTagged", "getBuild", "listRPMs", "getRPM"])
@pytest.mark.parametrize("error", [koji.GenericError("database"), ConnectionError("reset")])
def test_a_hub_that_does_not_tell_fails_no_build(hub, tools, call, error):
    as_build(hub, "web-container-1.0-2", image(hub, "bash-5.1"), TAG)
    new = image(hub, "bash-5.2 new-1")
    hub.refuse[call] = [error]
    found = change_documents(PLAN, [new], tools, ())
    assert str(error) in found["changes.log"]
    assert "Not compared" in json.loads(found["changes.json"])["previous"]["missing"]
    assert b"task changes: note: Not compared" in tools.logs.task_log.read_bytes()


def test_a_registry_that_lost_the_parent_fails_no_build(hub, tools):
    parents = (Parent("x", f"{tools.host}/x:1", f"{tools.host}/x@sha256:{'2' * 64}"),)
    new = image(hub, "bash-5.2", parent="sha256:" + "3" * 64)
    found = change_documents(replace(PLAN, parents=parents), [new], tools, ())
    assert "is not in its registry any more" in found["changes.log"]


# -- the timeline


def test_the_timeline_has_the_stages_of_task_and_arches_as_they_began(hub, tools):
    tools.logs.relay(Event(112.0, "task", "index", "done", 1.0))
    tools.logs.relay(Event(101.0, "task", "source", "done", 1.0))
    built = replace(image(hub, ""), timeline=(StageTime("build", 9.0, 102.0),))
    found = timeline_documents(PLAN, [built], tools)
    stages = [(one["who"], one["stage"]) for one in json.loads(found["timeline.json"])["stages"]]
    assert stages == [("task", "source"), ("x86_64", "build"), ("task", "index")]
    title, chart = found["timeline.log"].split("\n\n")
    assert title.startswith(
        "Timeline of web-container-1.0-3 up to its import, from 1970-01-01 00:01"
    )
    assert [line.count("#") > 0 for line in chart.splitlines()] == [True] * 3


def test_a_stage_that_did_not_end_and_a_time_that_nobody_told_are_left_out(hub):
    lines = [Event(1.0, "task", "source", "started").line(), "no event",
             Event(1.0, "task", "source", "failed").line()]  # fmt: skip
    assert not list(task_stages(lines))
    old = replace(image(hub, ""), timeline=(StageTime("build", 9.0),))
    assert not list(arch_stages([old]))


def test_an_arch_cannot_speak_for_the_task():
    forged = Event(1.0, "task", "of x86_64 too", "done", 5.0).line() + "\n"
    right = Event(1.0, "x86_64", "build", "done", 5.0).line() + "\n"
    events = list(LineReader("x86_64").events((forged + right).encode()))
    assert [event.arch for event in events] == ["x86_64"]
