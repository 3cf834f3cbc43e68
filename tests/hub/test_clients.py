"""The calls that other people's programs make, as they make them: rpkg, cekit, Freshmaker, ART.

The same questions go to the fake and to a real hub.
"""

from __future__ import annotations

import json
from typing import Any

import koji
import pytest

from tests.fakes.hub import FakeHub

SOURCE = "git+https://src.example.com/container/hello#" + "a" * 40
# What rpkg sends for every option that was not given (cli.py, container_build_koji).
RPKG: dict[str, Any] = {
    "scratch": False,
    "isolated": False,
    "skip_build": False,
    "release": None,
    "koji_parent_build": None,
    "yum_repourls": None,
    "git_branch": "f43",
    "signing_intent": None,
    "compose_ids": None,
    "dependency_replacements": None,
}
URLS = ["https://repos.example.com/a.repo", "https://repos.example.com/b.repo"]
# positional arguments after source and target; named ones
CALLS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "rpkg": ([RPKG], {"priority": None}),
    "rpkg --scratch": ([{**RPKG, "scratch": True}], {"priority": None}),
    "rpkg --scratch --arches": (
        [{**RPKG, "scratch": True, "arch_override": "x86_64 aarch64"}],
        {"priority": None},
    ),
    "rpkg --isolated --build-release": (
        [{**RPKG, "isolated": True, "release": "3.1"}],
        {"priority": None},
    ),
    "rpkg --repo-url": ([{**RPKG, "yum_repourls": URLS}], {"priority": None}),
    "rpkg --repo-url, none given": ([{**RPKG, "yum_repourls": []}], {"priority": None}),
    "rpkg --background": ([RPKG], {"priority": 5}),
    "rpkg --koji-parent-build": (
        [{**RPKG, "koji_parent_build": "base-container-1-1"}],
        {"priority": None},
    ),
    "cekit": (
        [],
        {"opts": {"scratch": True, "git_branch": "f43", "yum_repourls": URLS}},
    ),
    "freshmaker": ([{"scratch": False, "git_branch": "f43", "yum_repourls": URLS}], {}),
    "freshmaker, isolated on a parent": (
        [
            {
                "scratch": False,
                "isolated": True,
                "koji_parent_build": "base-container-1-1",
                "yum_repourls": [],
                "git_branch": "f43",
                "release": "2.1582020101",
            }
        ],
        {},
    ),
    "freshmaker, a dry run of its own": (
        [{"scratch": True, "git_branch": "f43", "arch_override": "x86_64"}],
        {},
    ),
    "art-tools": (
        [],
        {
            "opts": {"scratch": False, "yum_repourls": URLS, "git_branch": "f43"},
            "channel": "container-binary",
        },
    ),
    "art-tools, scratch": (
        [],
        {"opts": {"scratch": True, "git_branch": "f43"}, "channel": "container-binary"},
    ),
    "koji container-build of the old plugin": (
        [{"git_branch": "f43", "userdata": {"ticket": "X-1", "list": [1, None, True]}}],
        {"priority": 5},
    ),
    "the old plugin with a channel": ([{"git_branch": "f43"}], {"channel": "container-binary"}),
}
# What these programs can send too, and we cannot do yet: refused at once, in words.
NOT_YET = {
    "rpkg --signing-intent": ({**RPKG, "signing_intent": "release"}, "signing_intent"),
    "rpkg --compose-id": ({**RPKG, "compose_ids": [1, 2]}, "compose_ids"),
    "rpkg flatpak-build": ({**RPKG, "flatpak": True}, "flatpak"),
    "rpkg --replace-dependency": (
        {**RPKG, "scratch": True, "dependency_replacements": ["gomod:example.com/x:v1"]},
        "dependency_replacements",
    ),
    "rpkg --skip-build of old": ({**RPKG, "skip_build": True}, "skip_build"),
}


@pytest.fixture()
def hub() -> FakeHub:
    hub = FakeHub()
    hub.add_target("f43-container-candidate", "f43-candidate")
    return hub


@pytest.fixture(params=["fake", pytest.param("stack", marks=pytest.mark.stack)])
def session(request: pytest.FixtureRequest) -> Any:
    if request.param == "stack":
        return request.getfixturevalue("stack").session()
    return request.getfixturevalue("hub").session()


@pytest.mark.parametrize("client", CALLS)
def test_a_task_is_made_and_its_request_read_back(session: Any, client: str):
    words, named = CALLS[client]
    target = session.getBuildTargets()[0]["name"]
    task = session.buildContainer(SOURCE, target, *words, **named)
    info = session.getTaskInfo(task, request=True)
    if hasattr(session, "cancelTask"):
        session.cancelTask(task)
    opts = words[0] if words else named["opts"]
    assert info["request"] == [SOURCE, target, opts]
    assert info["method"] == "buildContainer"
    assert info["priority"] == koji.PRIO_DEFAULT + (named.get("priority") or 0)


@pytest.mark.parametrize("client", NOT_YET)
def test_what_cannot_be_done_yet_is_refused_by_name(session: Any, client: str):
    opts, name = NOT_YET[client]
    target = session.getBuildTargets()[0]["name"]
    with pytest.raises(koji.ParameterError, match=f"The option {name} cannot be used"):
        session.buildContainer(SOURCE, target, opts, priority=None)


OPTS = {"git_branch": "f43", "scratch": True}
NAMED = {"src": SOURCE, "target": "f43-container-candidate", "opts": OPTS}
KOJI_CALL = {
    "--python": ["--python", "buildContainer", repr(SOURCE), repr(NAMED["target"]), repr(OPTS)],
    "--python, opts by name": [
        "--python", "buildContainer", repr(SOURCE), repr(NAMED["target"]), f"opts={OPTS!r}",
    ],
    "--kwargs": ["--python", "buildContainer", "--kwargs", repr(NAMED)],
    "--json-input": [
        "--json-input", "buildContainer", *map(json.dumps, (SOURCE, NAMED["target"], OPTS)),
    ],
    "--json-input --kwargs": ["--json-input", "buildContainer", "--kwargs", json.dumps(NAMED)],
}  # fmt: skip


@pytest.mark.stack()
@pytest.mark.parametrize("form", KOJI_CALL)
def test_koji_call_prints_the_number_of_a_task(stack: Any, form: str):
    """The real command; cekit reads the number off standard output."""
    done = stack.koji("call", *KOJI_CALL[form])
    assert done.returncode == 0, done.stderr
    task = int(done.stdout)
    info = stack.session().getTaskInfo(task, request=True)
    stack.session().cancelTask(task)
    assert info["request"] == [SOURCE, NAMED["target"], OPTS]
