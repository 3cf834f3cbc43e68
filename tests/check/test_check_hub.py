"""What the check makes of the hub's answers; tests/stack asks a real hub."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from koji_containerbuild.check.fact import Fact
from koji_containerbuild.check.hub import HubAnswers, check_hub, login, of_answers, of_targets
from koji_containerbuild.config import ArtifactsConfig, BuilderConfig, Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.koji_api.kojid_conf import KojidConf
from tests.fakes.koji_session import FakeKojiSession


def runs_all(arch: str) -> str:
    return ""


GOOD = HubAnswers(
    version=(1, 30),
    methods=frozenset({"buildContainer", "getHost"}),
    user={"name": "builder1"},
    host={"name": "builder1", "id": 1, "enabled": True},
    channels={"container-binary": {"name": "container-binary", "enabled": True}},
    own_channels=frozenset({"container-binary"}),
    generators={"koji-containerbuild": ["builder1"]},
    build_types=frozenset({"image", "remote-source-file"}),
    takes_archives=True,
    targets=[{"name": "f43", "build_tag": 1, "build_tag_name": "f43-build"}],
)
WITH_ARTIFACTS = Config(artifacts=ArtifactsConfig(allowed_domains=("example.com",)))


def facts(found: HubAnswers, config: Config = WITH_ARTIFACTS) -> list[Fact]:
    return list(of_answers(found, config, "builder1", "https://koji.example.com/kojihub"))


def test_nothing_is_wrong_where_the_hub_knows_all():
    assert {fact.state for fact in facts(GOOD)} == {"OK"}


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"version": (1, 20)}, "Koji 1.30 or newer"),
        ({"methods": frozenset()}, "Plugins = hub_containerbuild"),
        ({"host": None}, "koji add-host builder1 x86_64"),
        ({"host": {"name": "builder1", "id": 1, "enabled": False}}, "koji enable-host builder1"),
        ({"channels": {}}, "koji add-channel container-binary"),
        (
            {"own_channels": frozenset({"default"})},
            "koji add-host-to-channel builder1 container-binary",
        ),
        (
            {"channels": {"container-binary": {"enabled": False}}},
            "koji enable-channel container-binary",
        ),
        ({"generators": {}}, "koji grant-cg-access --new builder1 koji-containerbuild"),
        (
            {"generators": {"koji-containerbuild": ["builder2"]}},
            "koji grant-cg-access builder1 koji-containerbuild",
        ),
        ({"build_types": frozenset({"remote-source-file"})}, "koji call addBType image"),
        ({"build_types": frozenset({"image"})}, "koji call addBType remote-source-file"),
        ({"takes_archives": False}, "koji call addArchiveType tar"),
    ],
)
def test_what_is_missing_in_koji_is_the_one_thing_wrong_and_named_with_its_command(
    change: dict[str, Any], mend: str
):
    wrong = [fact for fact in facts(dataclasses.replace(GOOD, **change)) if fact.state == "WRONG"]
    assert len(wrong) == 1
    assert mend in wrong[0].mend


def test_the_type_of_sources_is_not_needed_where_no_artifacts_are_allowed():
    found = dataclasses.replace(GOOD, build_types=frozenset({"image"}))
    assert {fact.state for fact in facts(found, Config())} == {"OK"}


def test_a_target_that_the_configuration_names_must_have_arches_and_a_repo():
    session = FakeKojiSession()
    session.getBuildConfig = lambda tag: {"arches": session.arches}  # type: ignore[method-assign]
    config = Config(builder=BuilderConfig(allowed_targets=("f4*",)))
    assert {fact.state for fact in of_targets(GOOD.targets, config, session, runs_all)} == {"OK"}
    session.arches = ""
    *_, last = of_targets(GOOD.targets, config, session, runs_all)
    assert (last.state, last.mend) == ("WRONG", "koji edit-tag f43-build --arches x86_64")


def test_an_arch_of_the_build_tag_that_no_cluster_has_is_wrong():
    session = FakeKojiSession()
    session.getBuildConfig = lambda tag: {"arches": "x86_64 s390x"}  # type: ignore[method-assign]
    builder = BuilderConfig(engine="clusters", allowed_targets=("f43",))
    config = Config(builder=builder, clusters={"one": ClusterConfig(arches=("x86_64", "aarch64"))})
    *_, last = of_targets(GOOD.targets, config, session, runs_all)
    assert (last.state, "No cluster has s390x," in last.said) == ("WRONG", True)


def test_an_arch_of_the_build_tag_whose_programs_this_host_cannot_run_is_wrong():
    session = FakeKojiSession()
    session.getBuildConfig = lambda tag: {"arches": "x86_64 s390x"}  # type: ignore[method-assign]
    config = Config(builder=BuilderConfig(allowed_targets=("f43",)))

    def lacks(arch: str) -> str:
        return "an emulator for s390x" if arch == "s390x" else ""

    *_, last = of_targets(GOOD.targets, config, session, lacks)
    assert (last.state, "this host lacks an emulator for s390x." in last.said) == ("WRONG", True)
    assert "qemu-user-static" in last.mend


@dataclasses.dataclass(frozen=True)
class Lockable(KojidConf):
    """kojid's configuration, where it is known whether kojid has the session."""

    at_work: bool = True

    def log_in(self) -> bool:
        return self.at_work


@pytest.mark.parametrize(
    ("at_work", "heard", "state", "said"),
    [
        (True, 5, "OK", ""),
        (False, 5, "WRONG", "It is not logged in."),
        (False, None, "WRONG", "It is not logged in."),
        (True, 7200, "WRONG", "heard nothing of it for 120 minutes"),
    ],
)
def test_a_kojid_that_is_not_at_work_is_wrong(
    at_work: bool, heard: float | None, state: str, said: str
):
    conf = Lockable("http://h", user="builder1", at_work=at_work)
    good, working = login(conf, None if heard is None else time.time() - heard)
    assert (good.state, working.state, said in working.said) == ("OK", state, True)
    assert ("systemctl start kojid" in working.mend) == (state == "WRONG")


def test_patterns_that_no_target_fits_are_wrong():
    config = Config(builder=BuilderConfig(allowed_targets=("eln*",)))
    (fact,) = of_targets(GOOD.targets, config, FakeKojiSession(), runs_all)
    assert fact.state == "WRONG"
    assert "koji add-target" in fact.mend


def test_a_hub_that_cannot_be_reached_is_one_fact():
    conf = KojidConf("http://127.0.0.1:1/kojihub", user="builder1")
    (fact,) = check_hub(Config(), conf, runs_all)
    assert fact.state == "WRONG"
    assert "Koji did not answer" in fact.said


def test_a_password_of_kojid_is_not_shown():
    assert "secret" not in repr(KojidConf("http://h", user="b", password="secret"))
