"""Koji hub plugin: check the request, make the task. Loaded by name from the plugin folder.

It imports nothing beyond Koji, the standard library and the parts of ours that need only that:
a hub plugin that fails to import takes the whole hub down.
"""

from __future__ import annotations

from typing import Any

import koji
import koji.tasks
import kojihub  # a module up to Koji 1.31, then a package that gives the same names
from koji.context import context
from koji.plugin import export

from koji_containerbuild.contract.options import DEFAULT_CHANNEL, LEGACY_SIGNATURE
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.target import check_destination, no_such_target

MOST_PRIORITY = 1000  # up or down; Koji's own are around 20

# The channel and priority policies and kojiweb read a task's parameters by these names.
koji.tasks.LEGACY_SIGNATURES["buildContainer"] = LEGACY_SIGNATURE


@export  # type: ignore[untyped-decorator]  # Koji has no types
def buildContainer(  # noqa: N802 — the name of the call
    src: Any,
    target: Any,
    opts: Any = None,
    priority: Any = None,
    channel: Any = DEFAULT_CHANNEL,
) -> int:
    """Make a task that builds a container image from a commit; give its id.

    `src` is a source URL, `target` a build target's name, `opts` a map of options. `priority` is
    added to the default one; a negative one is for administrators. A request that cannot be built
    is refused here, and no task is made.
    """
    context.session.assertLogin()
    try:
        request = BuildRequest.read(src, target, opts)
        _check_target(request)
        task_opts = {"priority": _priority(priority), "channel": channel or DEFAULT_CHANNEL}
    except BadRequest as error:
        raise koji.ParameterError(str(error)) from error
    # As they came: clients read the request back, and look for git_branch in it.
    task: int = kojihub.make_task("buildContainer", [src, target, opts or {}], **task_opts)
    return task


def _check_target(request: BuildRequest) -> None:
    target = kojihub.get_build_target(request.target)
    if target is None:
        names = [known["name"] for known in kojihub.get_build_targets()]
        raise no_such_target(request.target, names)
    check_destination(target, kojihub.get_tag(target["dest_tag"]), request.options.scratch)


def _priority(offset: Any) -> int:
    do = "Give what to add to the default priority: 5 makes the task wait for others."
    if offset is None:
        offset = 0
    if type(offset) is not int:  # True is an int, too
        raise BadRequest(
            f"The priority is {offset!r:.80}, and should be a number.",
            do=do,
        )
    if offset < 0 and not context.session.hasPerm("admin"):
        raise koji.ActionNotAllowed("only admins may create high-priority tasks")
    if abs(offset) > MOST_PRIORITY:
        raise BadRequest(
            f"The priority is a number beyond {MOST_PRIORITY}.",
            do=do,
        )
    return int(koji.PRIO_DEFAULT + offset)
