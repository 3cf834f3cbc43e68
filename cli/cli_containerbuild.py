"""Koji command-line plugin: `koji container-build` and `koji container-diff`.

Koji imports this file for every command, so whatever costs time is imported when it is used.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from koji.plugin import export_cli

USAGE = "%prog container-build [options] TARGET SCM-URL"
DIFF_USAGE = "%prog container-diff [options] OLD NEW"
DIFF_HELP = """\
What differs between two container builds: packages that Koji knows, labels, layers, size.
OLD and NEW are name-version-release or ids of builds. The exit code is 0 if they could be
compared, whether they differ or not, and 1 if they could not be."""
BACKGROUND = 5  # added to the default priority: later than others


@export_cli  # type: ignore[untyped-decorator]  # Koji has no types
def handle_container_build(goptions: Any, session: Any, args: list[str]) -> int | None:
    "[build] Build a container image"
    from koji_cli.lib import _running_in_bg, activate_session

    from koji_containerbuild.errors import BadRequest

    parser = _parser(quiet=bool(goptions.quiet))
    given, words = parser.parse_args(args)
    if len(words) != 2:
        parser.error("Give exactly two words: a build target and a source URL.")
    try:
        request = _request(words, given)
        activate_session(session, goptions)
        _check_target(session, request)
    except BadRequest as error:
        parser.error(str(error))
    extra: dict[str, Any] = {"priority": BACKGROUND if given.background else None}
    if given.channel_override:
        extra["channel"] = given.channel_override
    source, target, opts = request.source.text, request.target, request.options.to_dict()
    task_id = session.buildContainer(source, target, opts, **extra)
    if not given.quiet:
        print(f"Created task: {task_id}")
        print(f"Task info: {goptions.weburl}/taskinfo?taskID={task_id}", flush=True)
    wanted = given.dry_run or not _running_in_bg()  # a dry run is for its answer
    if given.wait or (given.wait is None and wanted):
        return _wait(goptions, session, task_id, given.quiet)
    return None


@export_cli  # type: ignore[untyped-decorator]  # Koji has no types
def anon_handle_container_diff(goptions: Any, session: Any, args: list[str]) -> int:
    "[info] Show what differs between two container builds"
    from optparse import OptionParser

    from koji_cli.lib import ensure_connection, get_usage_str

    from koji_containerbuild.errors import ContainerBuildError

    parser = OptionParser(usage=get_usage_str(DIFF_USAGE), description=DIFF_HELP)
    parser.add_option("--json", action="store_true", help="Print a JSON object.")
    given, words = parser.parse_args(args)
    if len(words) != 2:
        parser.error("Give exactly two builds.")
    ensure_connection(session, goptions)
    try:
        print(_difference(session, words, as_json=bool(given.json)))
    except ContainerBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _difference(session: Any, words: list[str], as_json: bool) -> str:
    from koji_containerbuild.contract.codec import to_json
    from koji_containerbuild.koji_api.images import named_builds
    from koji_containerbuild.rules.changes import compare
    from koji_containerbuild.rules.changes_text import render

    changes = compare(*named_builds(session, words))
    return to_json(changes) if as_json else render(changes).rstrip()


def _parser(quiet: bool) -> Any:
    """A flag for each row of the option table, and those that every Koji command has."""
    from optparse import SUPPRESS_HELP, OptionParser

    from koji_cli.lib import get_usage_str

    from koji_containerbuild.contract.options import flags

    parser = OptionParser(usage=get_usage_str(USAGE))
    for row in flags():  # what cannot be used yet has a flag too, to be refused in words
        hidden = row.metadata.get("not_yet")
        _add_flag(parser, row, SUPPRESS_HELP if hidden else row.metadata["help"])
    add = parser.add_option
    add("--wait", action="store_true", help="Wait for the build, even in the background.")
    add("--nowait", action="store_false", dest="wait", help="Do not wait for the build.")
    add("--quiet", action="store_true", default=quiet, help="Print the result only.")
    add("--background", action="store_true", help="Run at a lower priority.")
    add("--channel-override", metavar="CHANNEL", help="Use another channel (administrators).")
    return parser


def _add_flag(parser: Any, row: Any, text: str) -> None:
    from koji_containerbuild.contract.options import kind_of

    rules = row.metadata
    how: dict[str, Any] = {"metavar": rules.get("metavar")}
    if row.default is False:
        how = {"action": "store_true"}
    elif row.default == () and not rules.get("words"):
        how.update(action="append", type={str: "string", int: "int"}[kind_of(row)[0]])
    parser.add_option(rules["flag"], dest=row.name, default=None, help=text, **how)


def _request(words: list[str], given: Any) -> Any:
    """What was asked for, checked as the hub checks it. Raises BadRequest."""
    from koji_containerbuild.contract.options import flags, userdata_from_text
    from koji_containerbuild.contract.request import BuildRequest

    opts = {row.name: getattr(given, row.name) for row in flags()}
    opts = {name: value for name, value in opts.items() if value is not None}
    if "userdata" in opts:
        opts["userdata"] = userdata_from_text(opts["userdata"])
    target, source = words
    return BuildRequest.read(source, target, opts)


def _check_target(session: Any, request: Any) -> None:
    from koji_containerbuild.rules.target import check_destination, no_such_target

    target = session.getBuildTarget(request.target)
    if not target:
        raise no_such_target(request.target, [row["name"] for row in session.getBuildTargets()])
    check_destination(target, session.getTag(target["dest_tag"]), request.options.scratch)


def _wait(goptions: Any, session: Any, task_id: int, quiet: bool) -> int:
    """Watch the task to its end. The exit code."""
    from koji_containerbuild.console.screen import Screen
    from koji_containerbuild.console.wait import Site, wait
    from koji_containerbuild.console.watch import Pace

    pace = Pace(goptions.poll_interval, goptions.max_retries * goptions.retry_interval)
    screen = Screen(sys.stdout, _columns, quiet)
    return wait(session, task_id, screen, time, pace, Site(goptions.weburl, _command(goptions)))


def _command(goptions: Any) -> str:
    """How Koji was started, for commands that we name."""
    name = os.path.basename(sys.argv[0]) or "koji"
    return name if goptions.profile in (None, name) else f"{name} -p {goptions.profile}"


def _columns() -> int:
    """The width of the terminal that we write to; 0: it is none."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80
