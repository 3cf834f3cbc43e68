"""What is said when a task has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from koji_containerbuild.contract.preview import Preview
from koji_containerbuild.contract.preview import lines as preview_lines

KNOWN = ("repositories", "koji_builds", "user_warnings", "dry_run")


def succeeded(
    result: Mapping[str, Any], builds: Mapping[str, Optional[Mapping[str, Any]]], weburl: str
) -> list[str]:
    """The result of a task that was closed; `builds` is getBuild of each id in it.

    >>> succeeded({"repositories": ["r.example/web:1-2"], "koji_builds": ["7"]},
    ...           {"7": {"nvr": "web-1-2"}}, "https://koji.example")
    ['Image: r.example/web:1-2', 'Build: web-1-2 https://koji.example/buildinfo?buildID=7']
    """
    if result.get("dry_run"):
        return preview_lines(Preview.from_dict(result["dry_run"]))
    lines = [f"Image: {image}" for image in result.get("repositories") or ()]
    for build_id in result.get("koji_builds") or ():
        build = builds.get(build_id)
        nvr = f"{build['nvr']} " if build else ""
        lines.append(f"Build: {nvr}{weburl}/buildinfo?buildID={build_id}")
    lines += [f"Warning: {text}" for text in result.get("user_warnings") or ()]
    return lines + [f"{key}: {value}" for key, value in sorted(result.items()) if key not in KNOWN]


def failed(fault: str, task_id: int, logs: Sequence[str], weburl: str, command: str) -> list[str]:
    """Why it failed, in the words of the task, and where to read on.

    `logs` are the names of the task's output files, `command` is how Koji was started.
    """
    lines = [f"Task {task_id} failed.", *fault.strip().splitlines()]
    names = [name for name in sorted(logs) if name.endswith(".log")]
    if names:
        lines.append(f"Logs: {', '.join(names)}")
        lines.append(f"  Read them:  {command} watch-logs {task_id}")
        lines.append(f"  Keep them:  {command} download-logs {task_id}")
    return [*lines, f"Task info: {weburl}/taskinfo?taskID={task_id}"]


def cancelled(task_id: int, weburl: str) -> list[str]:
    """Somebody stopped it."""
    return [f"Task {task_id} was cancelled.", f"Task info: {weburl}/taskinfo?taskID={task_id}"]


def left(task_id: int, command: str) -> list[str]:
    """We stop watching; the task does not stop."""
    return [
        f"No longer watching. The build goes on as task {task_id}.",
        f"  Watch it again:  {command} watch-task {task_id}",
        f"  Stop it:         {command} cancel {task_id}",
    ]
