"""`koji container-build`: what it refuses, what it sends, what it prints, how it exits."""

from __future__ import annotations

import json
import optparse
import pathlib
import re

import koji.plugin
import pytest

from koji_containerbuild.contract.options import flags
from tests.fakes.hub import FakeHub
from tests.fakes.koji_session import FakeKojiSession

CLI_PLUGINS = str(pathlib.Path(__file__).parents[2] / "cli")
SOURCE = "git+https://src.example.com/container/hello#" + "a" * 40
WEB = "https://koji.example.com/koji"
RIGHT = ("f43-containers", SOURCE, "--git-branch", "f43")


@pytest.fixture()
def hub():
    hub = FakeHub()
    hub.add_target("f43-containers", "f43-candidate")
    hub.add_target("f42-containers", "f42-candidate", locked=True)
    hub.builds[7] = {"nvr": "hello-1-2"}
    return hub


@pytest.fixture()
def koji_cli(hub):
    """Run the command as `koji` does; the session it used is `.session`."""
    plugin = koji.plugin.PluginTracker(path=CLI_PLUGINS).load("cli_containerbuild", reload=True)

    def run(*words, **goptions):
        values = {"quiet": False, "weburl": WEB, "profile": "koji", "authtype": "noauth",
                  "noauth": True, "poll_interval": 6, "max_retries": 30, "retry_interval": 20,
                  "cert": "", **goptions}  # fmt: skip
        run.session = hub.session()
        return plugin.handle_container_build(optparse.Values(values), run.session, list(words))

    return run


WRONG = {
    "one word": (("f43-containers",), "exactly two words"),
    "three words": ((*RIGHT, "more"), "exactly two words"),
    "no branch": (("f43-containers", SOURCE), "git_branch is missing. Say which branch"),
    "no commit": (("f43-containers", "git+https://h/x", "--git-branch", "x"), "source URL"),
    "scratch and isolated": ((*RIGHT, "--scratch", "--isolated", "--release=1.1"), "combined"),
    "arches alone": ((*RIGHT, "--arch-override=x86_64"), "needs scratch or isolated"),
    "isolated without a release": ((*RIGHT, "--isolated"), "needs release"),
    "userdata that is no JSON": ((*RIGHT, "--userdata", "{a"), "--userdata is not JSON"),
    "userdata that is no object": ((*RIGHT, "--userdata", "[1]"), "not a JSON object"),
    "composes": ((*RIGHT, "--compose-id", "1"), "composes are not supported"),
    "an unknown target": (("f43-container", *RIGHT[1:]), "Did you mean 'f43-containers'"),
    "a locked tag": (("f42-containers", *RIGHT[1:]), "is locked. Add --scratch"),
    "an unknown flag": ((*RIGHT, "--scrach-it"), "no such option: --scrach-it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_exits_with_2_says_why_and_makes_no_task(hub, koji_cli, capsys, case):
    words, reason = WRONG[case]
    with pytest.raises(SystemExit) as exit:
        koji_cli(*words)
    assert exit.value.code == 2
    assert reason in capsys.readouterr().err
    assert "buildContainer" not in hub.calls


def test_the_words_are_those_of_the_hub(hub, koji_cli, capsys):
    with pytest.raises(SystemExit):
        koji_cli("f42-containers", *RIGHT[1:])
    with pytest.raises(koji.ParameterError) as refused:
        hub.session().buildContainer(SOURCE, "f42-containers", {"git_branch": "f43"})
    assert str(refused.value) in capsys.readouterr().err


def test_only_what_was_given_is_sent(hub, koji_cli):
    assert koji_cli(*RIGHT) is None
    assert hub.tasks[1]["request"] == [SOURCE, "f43-containers", {"git_branch": "f43"}]
    assert hub.tasks[1]["priority"] == koji.PRIO_DEFAULT
    assert hub.tasks[1]["channel"] == "container-binary"


def test_flags_become_options(hub, koji_cli):
    koji_cli(*RIGHT, "--scratch", "--release=5", "--arch-override=x86_64,aarch64",
             "--repo-url=http://r/a.repo", "--repo-url=http://r/b.repo", "--userdata",
             '{"a": [1]}', "--background", "--channel-override=slow")  # fmt: skip
    assert hub.tasks[1]["request"][2] == {
        "git_branch": "f43", "scratch": True, "release": "5", "arch_override": "x86_64 aarch64",
        "yum_repourls": ["http://r/a.repo", "http://r/b.repo"], "userdata": {"a": [1]},
    }  # fmt: skip
    assert hub.tasks[1]["priority"] == koji.PRIO_DEFAULT + 5
    assert hub.tasks[1]["channel"] == "slow"


def test_every_option_with_a_flag_is_understood(koji_cli, capsys):
    """A row added to the table is a flag at once."""
    plugin = koji.plugin.PluginTracker(path=CLI_PLUGINS).load("cli_containerbuild", reload=True)
    parser = plugin._parser(quiet=False)
    assert {row.metadata["flag"] for row in flags()} <= set(parser._long_opt)
    shown = parser.format_help()
    for row in flags():
        assert (row.metadata["flag"] in shown) == (not row.metadata.get("not_yet"))


def test_a_scratch_build_may_go_for_a_locked_tag(hub, koji_cli):
    koji_cli("f42-containers", *RIGHT[1:], "--scratch")
    assert len(hub.tasks) == 1


def test_the_task_is_named_with_a_link(koji_cli, capsys):
    koji_cli(*RIGHT, "--nowait")
    assert capsys.readouterr().out == f"Created task: 1\nTask info: {WEB}/taskinfo?taskID=1\n"


def test_nowait_leaves_the_session_as_it_is(hub, koji_cli):
    assert koji_cli(*RIGHT, "--nowait") is None
    assert koji_cli.session.logged_in
    assert "getTaskInfo" not in hub.calls


def test_in_the_background_it_waits_only_if_told(hub, koji_cli):
    """The tests have no terminal, which counts as background."""
    assert koji_cli(*RIGHT) is None
    assert "getTaskInfo" not in hub.calls


def test_wait_gives_the_result_and_exit_code_0(hub, koji_cli, capsys):
    result = {"repositories": ["r.example.com/hello:1-2"], "koji_builds": ["7"]}
    hub.builder = lambda task_id: hub.close(task_id, result)
    assert koji_cli(*RIGHT, "--wait", "--quiet") == 0
    assert capsys.readouterr().out == (
        f"Image: r.example.com/hello:1-2\nBuild: hello-1-2 {WEB}/buildinfo?buildID=7\n"
    )


def test_a_dry_run_is_waited_for_and_told(hub, koji_cli, capsys):
    told = {"nvr": "hello-1-2", "arches": ["x86_64"]}
    result = {"repositories": [], "koji_builds": [], "dry_run": told}
    hub.builder = lambda task_id: hub.close(task_id, result)
    assert koji_cli(*RIGHT, "--dry-run", "--quiet") == 0
    assert capsys.readouterr().out == (
        "Would build hello-1-2; nothing was reserved.\n  arches      x86_64\n"
    )


def test_wait_for_a_build_that_fails_gives_exit_code_1(hub, koji_cli, capsys):
    hub.builder = lambda task_id: hub.fail(task_id, 1005, "No such commit.")
    assert koji_cli(*RIGHT, "--wait", profile="fedora") == 1
    assert "No such commit." in capsys.readouterr().err


def test_what_the_hub_refuses_is_left_to_koji_to_print(hub, koji_cli):
    """`koji` prints the error's name and words, and exits with 1."""
    with pytest.raises(koji.GenericError, match="No such channel: nowhere"):
        koji_cli(*RIGHT, "--channel-override=nowhere")


# -- container-diff


@pytest.fixture()
def container_diff():
    """Run the command as `koji` does, on a hub with two builds."""
    plugin = koji.plugin.PluginTracker(path=CLI_PLUGINS).load("cli_containerbuild", reload=True)
    hub = FakeKojiSession()
    for version in ("5.1", "5.2"):
        hub.add_rpm("bash", version)
        component = {"name": "bash", "version": version, "release": "1", "arch": "x86_64"}
        extra = {"image": {"arch": "x86_64"}, "docker": {"config": {}}}
        image = {"type": "docker-image", "filename": "x", "extra": extra}
        hub.add_build(f"web-{version}-1", [{**image, "components": [component]}])

    def run(*words, **refuse):
        hub.refuse.update(refuse)
        values = optparse.Values({"force_auth": False})
        return plugin.anon_handle_container_diff(values, hub, list(words))

    return run


def test_two_builds_are_compared(container_diff, capsys):
    assert container_diff("web-5.1-1", "2") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("From web-5.1-1 to web-5.2-1\n")
    assert "Updated: 1\n  bash  5.1-1 -> 5.2-1\n" in shown


def test_the_difference_can_be_had_as_json(container_diff, capsys):
    assert container_diff("--json", "web-5.2-1", "web-5.1-1") == 0
    (arch,) = json.loads(capsys.readouterr().out)["arches"]
    assert arch["packages"]["downgraded"][0]["new"] == "5.1-1"


def test_what_cannot_be_compared_is_exit_code_1(container_diff, capsys):
    assert container_diff("web-5.1-1", "web-9-9") == 1
    assert "There is no build web-9-9." in capsys.readouterr().err
    assert container_diff("1", "2", getBuild=[koji.GenericError("busy")]) == 1
    assert "busy" in capsys.readouterr().err


def test_one_build_is_not_two(container_diff):
    with pytest.raises(SystemExit) as exit:
        container_diff("web-5.1-1")
    assert exit.value.code == 2


# -- on the devstack, with the `koji` of this environment


@pytest.mark.stack()
def test_the_real_command_makes_a_task_on_a_real_hub(stack):
    target = stack.session().getBuildTargets()[0]["name"]
    done = stack.koji("container-build", target, SOURCE, "--git-branch=f43", "--nowait")
    assert done.returncode == 0, done.stderr
    task_id = int(done.stdout.split("Created task: ")[1].split()[0])
    task = stack.session().getTaskInfo(task_id, request=True)
    stack.session().cancelTask(task_id)
    assert task["request"] == [SOURCE, target, {"git_branch": "f43"}]
    watched = stack.koji("watch-task", str(task_id))
    assert watched.returncode == 1


@pytest.mark.stack()
def test_the_real_command_refuses_and_exits_with_2(stack):
    done = stack.koji("container-build", "no-such-target", SOURCE, "--git-branch=f43")
    assert done.returncode == 2
    assert "No such build target: 'no-such-target'" in done.stderr


@pytest.mark.stack()
def test_koji_call_makes_a_task_too(stack):
    """cekit asks this way, and reads the task's id off standard output."""
    target = stack.session().getBuildTargets()[0]["name"]
    wish = f"{{'src': {SOURCE!r}, 'target': {target!r}, 'opts': {{'git_branch': 'f43'}}}}"
    done = stack.koji("call", "--python", "buildContainer", "--kwargs", wish)
    assert done.returncode == 0, done.stderr
    stack.session().cancelTask(int(done.stdout))


@pytest.mark.stack()
def test_the_real_command_waits_for_a_build_that_fails_and_says_why(stack):
    target = stack.session().getBuildTargets()[0]["name"]
    missing = f"{stack.addresses.git}/container/hello.git#{'0' * 40}"
    done = stack.koji("container-build", target, missing, "--git-branch=f43", "--wait", "--scratch")
    task_id = int(done.stdout.split("Created task: ")[1].split()[0])
    assert done.returncode == 1
    # "free -> open -> failed", or less of it: kojid may have begun before the command looks
    said = rf"^{task_id} buildContainer: .*failed$"
    assert re.search(said, done.stdout, re.MULTILINE), done.stdout
    assert f"Task {task_id} failed." in done.stderr
    assert f"koji -p devstack watch-logs {task_id}" in done.stderr
