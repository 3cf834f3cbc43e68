"""Asking the hub for a container build. The same questions go to the fake and to a real hub."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import koji
import koji.tasks
import pytest

from tests.fakes.hub import FakeHub

ROOT = pathlib.Path(__file__).parents[2]
SOURCE = "git+https://src.example.com/container/hello#" + "a" * 40
ASKED = {"git_branch": "main"}

WRONG = {
    "an unknown option": (
        (SOURCE, "{target}", {**ASKED, "scrach": True}),
        "Did you mean 'scratch'",
    ),
    "a wrong type": ((SOURCE, "{target}", {**ASKED, "scratch": "yes"}), "should be true or false"),
    "exclusive options": (
        (SOURCE, "{target}", {**ASKED, "scratch": True, "isolated": True, "release": "1.1"}),
        "cannot be combined",
    ),
    "no branch": ((SOURCE, "{target}", {"scratch": True}), "git_branch is missing"),
    "no options": ((SOURCE, "{target}"), "git_branch is missing"),
    "options that are no map": ((SOURCE, "{target}", ["scratch"]), "not a map"),
    "skip_build": ((SOURCE, "{target}", {**ASKED, "skip_build": True}), "has been removed"),
    "an unknown target": ((SOURCE, "no-such-target", ASKED), "No such build target"),
    "a target that is no name": ((SOURCE, 7, ASKED), "not a name"),
    "a URL without a commit": (("git+https://src.example.com/x", "{target}", ASKED), "source URL"),
    "a local path": (("/home/me/hello", "{target}", ASKED), "source URL"),
    "a scheme that Koji does not read": (
        ("file:///x/y#main", "{target}", ASKED),
        "Use one of git://",
    ),
}


@pytest.fixture()
def hub():
    hub = FakeHub()
    hub.add_target("f43-containers", "f43-candidate")
    hub.add_target("f42-containers", "f42-candidate", locked=True)
    return hub


@pytest.fixture(params=["fake", pytest.param("stack", marks=pytest.mark.stack)])
def session(request):
    """A packager's session."""
    if request.param == "stack":
        return request.getfixturevalue("stack").session()
    return request.getfixturevalue("hub").session()


@pytest.fixture()
def target(session):
    """A target that is open for builds."""
    for row in session.getBuildTargets():
        if not session.getTag(row["dest_tag"])["locked"]:
            return row["name"]
    raise AssertionError("there is no target")


def container_tasks(session):
    return {row["id"] for row in session.listTasks(opts={"method": "buildContainer"})}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused_with_a_reason_and_makes_no_task(session, target, case):
    args, reason = WRONG[case]
    before = container_tasks(session)
    with pytest.raises(koji.ParameterError, match=reason) as refused:
        session.buildContainer(*[target if arg == "{target}" else arg for arg in args])
    assert "Traceback" not in str(refused.value)
    assert container_tasks(session) == before


def test_an_unknown_channel_is_refused_in_the_words_of_koji(session, target):
    before = container_tasks(session)
    with pytest.raises(koji.GenericError, match="No such channel: nowhere"):
        session.buildContainer(SOURCE, target, ASKED, channel="nowhere")
    assert container_tasks(session) == before


def test_a_negative_priority_is_for_administrators(session, target):
    before = container_tasks(session)
    with pytest.raises(koji.ActionNotAllowed, match="only admins may create high-priority tasks"):
        session.buildContainer(SOURCE, target, ASKED, priority=-1)
    assert container_tasks(session) == before


@pytest.mark.parametrize("priority", ["5", True, 1.5, [5]])
def test_a_priority_that_is_no_number_is_refused(session, target, priority):
    before = container_tasks(session)
    with pytest.raises(koji.ParameterError, match="should be a number"):
        session.buildContainer(SOURCE, target, ASKED, priority)
    assert container_tasks(session) == before


@pytest.mark.parametrize("priority", [1001, 2**31, 2**62])
def test_a_priority_that_no_database_holds_is_refused(session, target, priority):
    before = container_tasks(session)
    with pytest.raises(koji.ParameterError, match="a number beyond 1000"):
        session.buildContainer(SOURCE, target, ASKED, priority)
    assert container_tasks(session) == before


def test_an_administrator_has_limits_too(hub):
    with pytest.raises(koji.ParameterError, match="a number beyond 1000"):
        hub.session("admin").buildContainer(SOURCE, "f43-containers", ASKED, priority=-(2**40))


def test_the_task_carries_the_request_as_it_was_given(session, target):
    """rpkg sends every option, None where there is nothing to say, and skip_build false."""
    opts = {**ASKED, "scratch": True, "skip_build": False, "release": None, "compose_ids": None}
    task_id = session.buildContainer(SOURCE, target, opts, priority=5)
    try:
        task = session.getTaskInfo(task_id, request=True)
        assert task["method"] == "buildContainer"
        assert task["request"] == [SOURCE, target, opts]
        assert task["priority"] == koji.PRIO_DEFAULT + 5
    finally:
        if isinstance(session, koji.ClientSession):
            session.cancelTask(task_id)


def test_an_administrator_may_go_first(hub):
    task_id = hub.session("admin").buildContainer(SOURCE, "f43-containers", ASKED, priority=-5)
    assert hub.tasks[task_id]["priority"] == koji.PRIO_DEFAULT - 5


def test_without_a_wish_priority_and_channel_are_the_usual_ones(hub):
    task_id = hub.session().buildContainer(SOURCE, "f43-containers", ASKED, None, None)
    assert hub.tasks[task_id]["priority"] == koji.PRIO_DEFAULT
    assert hub.tasks[task_id]["channel"] == "container-binary"


def test_somebody_who_is_not_logged_in_is_refused(hub):
    with pytest.raises(koji.ActionNotAllowed, match="logged in"):
        hub.session("").buildContainer(SOURCE, "f43-containers", ASKED)
    assert not hub.tasks


def test_an_unknown_target_names_the_nearest(hub):
    with pytest.raises(koji.ParameterError, match="Did you mean 'f43-containers'"):
        hub.session().buildContainer(SOURCE, "f43-container", ASKED)


def test_a_locked_tag_takes_scratch_builds_only(hub):
    with pytest.raises(koji.ParameterError, match="is locked. Add --scratch"):
        hub.session().buildContainer(SOURCE, "f42-containers", ASKED)
    assert not hub.tasks
    assert hub.session().buildContainer(SOURCE, "f42-containers", {**ASKED, "scratch": True})


def test_a_target_whose_tag_is_gone_is_refused(hub):
    hub.tags.clear()
    with pytest.raises(koji.ParameterError, match="does not exist. Ask an administrator"):
        hub.session().buildContainer(SOURCE, "f43-containers", ASKED)


def test_policies_see_source_target_and_options_by_name(hub):
    task_id = hub.session().buildContainer(SOURCE, "f43-containers", ASKED)
    assert hub.tasks[task_id]["params"] == {
        "src": SOURCE, "target": "f43-containers", "opts": ASKED,
    }  # fmt: skip


def test_the_plugin_loads_where_there_is_only_koji_and_the_standard_library():
    """A hub plugin that fails to import takes the whole hub offline."""
    code = f"""
import sys, types
sys.modules["kojihub"] = types.ModuleType("kojihub")
import koji.plugin, koji.context, koji.tasks
before = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
koji.plugin.PluginTracker(path={str(ROOT / "hub")!r}).load("hub_containerbuild")
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
parts = {{".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("koji_c")}}
print(sorted(new - set(sys.stdlib_module_names)), sorted(parts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign, parts = (
        ast.literal_eval(f"[{part}]") for part in done.stdout.strip()[1:-1].split("] [")
    )
    assert foreign == ["_koji_plugin__hub_containerbuild", "koji_containerbuild"]
    assert set(parts) <= {
        "koji_containerbuild",
        "koji_containerbuild.contract",
        "koji_containerbuild.errors",
        "koji_containerbuild.rules",
    }


@pytest.mark.parametrize("opts", [{**ASKED, "scratch": True}, {"git_branch": "main"}])
def test_policies_and_kojiweb_read_the_request_by_name(hub, opts):
    """The hub's channel and priority policies see source, target and scratch by this."""
    params = koji.tasks.parse_task_params("buildContainer", [SOURCE, "f43-containers", opts])
    assert params == {"src": SOURCE, "target": "f43-containers", "opts": opts}
