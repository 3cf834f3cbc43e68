"""Which Koji builds the parents are: found by their labels, believed by their digests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from koji_containerbuild.contract.plan import ParentBuild
from koji_containerbuild.errors import BadRequest, BuildCancelled
from koji_containerbuild.koji_api.lookups import CANCELED, Lookups
from koji_containerbuild.koji_api.parents import Name, builds_of_images
from koji_containerbuild.rules.levels import FAIL, IGNORE, WARN
from koji_containerbuild.rules.nvr import name_or_id
from koji_containerbuild.rules.parents import Candidate, KojiImage, doubt, in_place_of
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.parents import Origins, Replacement
from koji_containerbuild.tasks.tools import Task, Tools

PAUSE = 5  # seconds between two questions about a build that is not done


def origins(images: Sequence[Candidate], task: Task, tools: Tools, scratch: bool) -> Origins:
    """Raises BadRequest where the site wants parents to be the Koji builds that they name.

    A scratch build waits for nobody, and is only warned.
    """
    policy = tools.config.parents
    seconds = 0 if scratch or policy.provenance == IGNORE else policy.wait_seconds
    builds = _when_done([image.nvr for image in images if image.nvr], seconds, task, tools)
    found: list[Optional[ParentBuild]] = []
    told: dict[str, list[str]] = {IGNORE: [], WARN: [], FAIL: []}
    for image in images:
        build = builds.get(image.nvr or "")
        why_not = doubt(image, build)
        if why_not:
            level = policy.digest_mismatch if why_not.digest else policy.provenance
            told[level].append(why_not.text)
        found.append(ParentBuild(build.id, build.nvr) if build and not why_not else None)
    if told[FAIL] and not scratch:
        raise BadRequest(
            " ".join(told[FAIL]),
            do="Here a parent must be the image of the Koji build that it names; --scratch builds "
            "without.",
        )
    return Origins(tuple(found), (*told[FAIL], *told[WARN]))


def _when_done(
    nvrs: Iterable[str], seconds: int, task: Task, tools: Tools
) -> dict[Name, Optional[KojiImage]]:
    """A parent that was pushed a moment ago may not be imported yet."""
    builds = builds_of_images(tools.session, nvrs)
    waited = 0
    while waited < seconds:
        open_ones = [nvr for nvr, one in builds.items() if one and one.state == "BUILDING"]
        if not open_ones:
            break
        if not waited:
            text = f"waiting up to {seconds} s for {', '.join(map(str, open_ones))} to be done"
            tools.logs.event("parents", "note", text=text)
            tools.logs.flush()
        tools.sleep(PAUSE)
        waited += PAUSE
        if Lookups(tools.session).task_state(task.id) == CANCELED:
            raise BuildCancelled("The task was cancelled while it waited for a parent's build.")
        builds.update(builds_of_images(tools.session, open_ones))
    return builds


def replacement(name: str, wanted: Pullspec, arches: Sequence[str], tools: Tools) -> Replacement:
    """The image of the Koji build `name`, an NVR or id, if it can be the parent.

    Raises BadRequest.
    """
    key = name_or_id(name)
    build = builds_of_images(tools.session, [key])[key]
    if build is None:
        raise BadRequest(
            f"koji_parent_build: Koji knows no build {name}.", do="Look at `koji list-builds`."
        )
    spec = in_place_of(wanted, build, arches)
    return Replacement(spec, ParentBuild(build.id, build.nvr))
