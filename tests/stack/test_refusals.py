"""What cannot be built is refused early, in words that say what to do, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.seed import DEST_TAG, TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Source

SMALL = "FROM scratch\n@LABELS@\nCOPY file /file\n"
FILES = {"file": "x"}
EARLY = 10.0  # seconds from the request to the end, on a loaded machine


@pytest.fixture(scope="module")
def small(builds: Builds) -> Source:
    return builds.source(SMALL, FILES)


@pytest.fixture(autouse=True)
def nothing_is_left(builds: Builds) -> Iterator[None]:
    yield
    assert builds.building() == []


def call_by_name(stack: Stack, source: Source, target: str, opts: str):
    """As cekit does."""
    words = f"{{'src': '{source.commit.source}', 'target': '{target}', 'opts': {opts}}}"
    return stack.koji("call", "--python", "buildContainer", "--kwargs", words)


def call_by_place(stack: Stack, source: Source, target: str, opts: str):
    words = (f"'{source.commit.source}'", f"'{target}'", opts)
    return stack.koji("call", "--python", "buildContainer", *words)


@pytest.mark.parametrize("call", [call_by_name, call_by_place])
def test_koji_call_makes_a_task(stack: Stack, builds: Builds, small: Source, call):
    done = call(stack, small, TARGET, "{'git_branch': 'f43', 'scratch': True}")
    built = Asked(builds, int(done.stdout)).done()
    assert built.state == "CLOSED", built.fault


AT_THE_HUB = [
    (
        TARGET,
        "{'git_branch': 'f43', 'scrath': True}",
        "Unknown option 'scrath'. Did you mean 'scratch'?",
    ),
    (
        "f43-container-candidat",
        "{'git_branch': 'f43'}",
        "No such build target: 'f43-container-candidat'. "
        "Did you mean 'f43-container-candidate' or 'f43-container-multi'?",
    ),
    (
        TARGET,
        "{'scratch': True}",
        "The option git_branch is missing. Say which branch the commit is on: --git-branch BRANCH.",
    ),
    (
        TARGET,
        "{'git_branch': 'f43', 'scratch': 'yes'}",
        "The option scratch is 'yes', and should be true or false. "
        "See `koji container-build --help`.",
    ),
    (
        TARGET,
        "{'git_branch': 'f43', 'scratch': True, 'isolated': True, 'release': '1.1'}",
        "isolated cannot be combined with scratch. Leave one of them out.",
    ),
    (
        TARGET,
        "{'git_branch': 'f43', 'arch_override': 'x86_64'}",
        "arch_override needs scratch or isolated. Add one of these, or leave arch_override out.",
    ),
    (
        TARGET,
        "{'git_branch': 'f43', 'release': 'one'}",
        "The release is 'one', which is no release. "
        "Begin with a digit; then letters and digits, joined by single dots or underscores.",
    ),
]


@pytest.mark.parametrize("call", [call_by_name, call_by_place])
@pytest.mark.parametrize("case", AT_THE_HUB)
def test_the_hub_refuses_and_makes_no_task(
    stack: Stack, builds: Builds, small: Source, call, case: tuple[str, str, str]
):
    target, opts, words = case
    before = builds.tasks()
    done = call(stack, small, target, opts)
    assert done.returncode != 0
    assert done.stderr.strip().endswith(words)
    assert "Traceback" not in done.stderr
    assert builds.tasks() == before


def test_the_command_refuses_in_the_words_of_the_hub(stack: Stack, builds: Builds, small: Source):
    before = builds.tasks()
    done = stack.koji("container-build", TARGET, small.commit.source)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("--git-branch BRANCH.")
    done = stack.koji("container-build", "nowhere", small.commit.source, "--git-branch", "f43")
    assert done.returncode == 2
    assert "No such build target: 'nowhere'. See `koji list-targets`." in done.stderr
    assert builds.tasks() == before


def refused(builds: Builds, source: Source | str, **opts) -> str:
    """What a task says that was refused, early."""
    built = builds.start(source, **opts).done()
    assert built.state == "FAILED"
    assert built.seconds < EARLY
    assert "x86_64.log" not in built.outputs  # no machine was taken
    assert "Traceback" not in built.fault
    return built.fault


def test_a_package_that_is_not_in_the_tag(builds: Builds):
    source = builds.source(SMALL, FILES, listed=False)
    assert refused(builds, source) == (
        f"The package {source.component} is not in the list of the tag {DEST_TAG}.\n"
        f"Ask an admin: koji add-pkg --owner USER {DEST_TAG} {source.component}"
    )


def test_koji_resubmit_builds_what_was_refused_once_the_reason_is_gone(
    stack: Stack, builds: Builds
):
    source = builds.source(SMALL, FILES, listed=False)
    refused = builds.start(source, userdata={"ticket": 7}).done()
    assert refused.state == "FAILED"
    stack.admin.add_package(source.component)
    done = stack.koji("resubmit", "--nowait", "--quiet", str(refused.task))
    assert done.returncode == 0, done.stderr
    newest = max(task["id"] for task in builds.session.listTasks({"method": "buildContainer"}))
    assert newest > refused.task
    again = Asked(builds, newest).done()
    assert again.state == "CLOSED", again.fault
    request = [builds.session.getTaskRequest(task) for task in (refused.task, newest)]
    assert request[0] == request[1]
    assert again.build and again.build["extra"]["custom_user_metadata"] == {"ticket": 7}


def test_a_dry_run_says_what_the_build_then_is(stack: Stack, builds: Builds):
    source = builds.source(SMALL, FILES)
    words = ("container-build", TARGET, source.commit.source, "--git-branch=f43")
    done = stack.koji(*words, "--dry-run", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Would build {source.component}-1-1; nothing was reserved.\n")
    assert "  Koji tag    f43-container-candidate\n" in done.stdout
    assert not builds.session.getBuild(f"{source.component}-1-1")
    built = builds.start(source).done()
    assert built.nvr == f"{source.component}-1-1"
    for tag in built.build["extra"]["image"]["index"]["floating_tags"]:  # type: ignore[index]
        assert tag in done.stdout


def test_a_package_that_is_blocked(builds: Builds):
    source = builds.source(SMALL, FILES)
    builds.stack.admin.session.packageListBlock(DEST_TAG, source.component)
    fault = refused(builds, source)
    assert fault.startswith(f"The package {source.component} is blocked in the tag {DEST_TAG}.")


def test_labels_that_are_missing(builds: Builds):
    source = builds.source('FROM scratch\nLABEL name="demo/x"\nCOPY file /file\n', FILES)
    assert refused(builds, source) == (
        "The Dockerfile lacks the labels com.redhat.component and version.\n"
        'Add, in its last stage: LABEL com.redhat.component="web-container" version="1.0"'
    )


def test_a_parent_from_a_registry_that_is_not_allowed(stack: Stack, builds: Builds):
    source = builds.source("FROM quay.io/fedora/fedora:43\n@LABELS@\n")
    assert refused(builds, source) == (
        "The parent image quay.io/fedora/fedora:43 (line 1 of the Dockerfile) is from the registry "
        "quay.io, which is not allowed here.\n"
        f"Use an image from {stack.addresses.registry}."
    )


def test_a_parent_that_is_not_there(stack: Stack, builds: Builds):
    source = builds.source("FROM demo/nothing:1\n@LABELS@\n")
    assert refused(builds, source) == (
        f"The parent image {stack.addresses.registry}/demo/nothing:1 (line 1 of the Dockerfile) "
        "does not exist.\n"
        "Check the FROM line."
    )


def test_a_commit_that_is_not_on_the_branch(builds: Builds):
    source = builds.source(SMALL, FILES)
    name = f"container/{source.name}"
    other = builds.stack.git.commit(name, {"file": "y"}, branch="other")
    assert refused(builds, other.source) == (
        f"The commit {other.sha} is not on the branch f43 of {other.url}.\n"
        "Push it there, or give the right --git-branch."
    )


def test_a_commit_that_is_nowhere(builds: Builds, small: Source):
    nowhere = "0123456789" * 4
    assert refused(builds, f"{small.commit.url}#{nowhere}") == (
        f"The commit {nowhere} is not on the branch f43 of {small.commit.url}.\n"
        "Push it, or give the right --git-branch."
    )


def test_a_branch_that_is_not_there(builds: Builds, small: Source):
    assert refused(builds, small, git_branch="f44") == (
        f"{small.commit.url} has no branch 'f44'.\nPush the branch, or give another --git-branch."
    )


def test_a_host_that_koji_may_not_build_from(builds: Builds):
    fault = refused(builds, "git://git.example.com/container/web.git#" + "a" * 40)
    assert fault.startswith("This builder may not build from git://git.example.com/container/web")
    assert fault.endswith("\nUse a source that the site allows, or ask the admin (allowed_scms).")


def test_a_repository_without_a_dockerfile(builds: Builds):
    source = builds.source(SMALL, FILES)
    source = builds.change(source, {"Dockerfile": None})
    assert refused(builds, source) == (
        "There is no Dockerfile in the source.\nCommit one and push it."
    )


def test_a_floating_tag_that_is_too_long(builds: Builds):
    source = builds.source(SMALL, {**FILES, "container.yaml": f"tags: [{'x' * 129}]\n"})
    assert refused(builds, source) == (
        f"The tag '{'x' * 40}…' (container.yaml) has 129 characters; "
        "a registry takes at most 128.\nMake it shorter."
    )


def test_a_version_that_makes_the_primary_tag_too_long(builds: Builds):
    source = builds.source(SMALL, FILES, version="1" * 127)
    assert refused(builds, source) == (
        f"The tag '{'1' * 40}…' (version-release) has 129 characters; "
        "a registry takes at most 128.\nMake it shorter."
    )


def test_a_release_that_grows_makes_the_primary_tag_too_long(builds: Builds):
    """1-9 fits, 1-10 does not: known only when Koji has named the release."""
    source = builds.source(SMALL, FILES, version="1" * 126)
    first = builds.start(source, release="9").done()
    assert first.state == "CLOSED", first.fault
    fault = refused(builds, source)
    assert "(version-release) has 129 characters" in fault


def test_a_build_that_exists(builds: Builds):
    source = builds.source('FROM scratch\n@LABELS@\nLABEL release="7"\nCOPY file /file\n', FILES)
    first = builds.start(source).done()
    assert first.release == "7", first.fault
    assert refused(builds, source) == (
        f"The build {source.component}-1-7 exists already.\n"
        "Give another release, or none: then the next free one is used."
    )
    assert builds.state_of(first.nvr) == "COMPLETE"


def test_a_misspelt_key_of_container_yaml(builds: Builds):
    source = builds.source(SMALL, {**FILES, "container.yaml": "platfroms: {only: [x86_64]}\n"})
    assert refused(builds, source) == (
        "container.yaml, line 1: unknown key 'platfroms'.\nDid you mean 'platforms'?"
    )
