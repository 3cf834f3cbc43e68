"""The command: python -m koji_containerbuild.devstack up|demo|status|down|reset|cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from koji_containerbuild.devstack import demo, example
from koji_containerbuild.devstack.cluster import command as cluster
from koji_containerbuild.devstack.places import find_places
from koji_containerbuild.devstack.profile import home_profile
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.errors import ContainerBuildError

DOWN = 3  # exit code of `status`, as systemctl's

HELP = """\
A real Koji 1.30 (hub, web, kojid) with PostgreSQL, a registry, dist-git and a small RPM
distribution, on 127.0.0.1 of this machine unless --host says else. Needs root. What it keeps is in
the state folder; downloads and built rpms are in $KCB_CACHE (~/.cache/koji-containerbuild).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["cluster"]:  # with a help and a state folder of its own
        return cluster.main(words[1:])
    arguments = _parser().parse_args(words)
    stack = Stack(find_places(arguments.state))
    try:
        if arguments.command == "up":
            return _up(stack, arguments)
        if arguments.command == "demo":
            up = _up(stack, arguments)
            demo.show(stack)
            return up
        if arguments.command == "status":
            return _status(stack)
        if arguments.command == "down":
            stack.down()
        else:
            stack.reset()
    except ContainerBuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _up(stack: Stack, arguments: argparse.Namespace) -> int:
    begin = time.monotonic()
    print(f"Bringing up the devstack in {stack.places.state}")
    ports = dict(arguments.port)
    stack.up(say=_say, ports=ports, host=arguments.host, home_profile=arguments.profile)
    print(f"Up after {time.monotonic() - begin:.1f} s.\n")
    print(_addresses(stack))
    print(_usage(stack, at_home=arguments.profile))
    return 0


def _status(stack: Stack) -> int:
    parts = stack.status()
    for part in parts:
        print(f"{part.name:<10} {'runs, pid ' + str(part.pid) if part.pid else 'does not run'}")
    if not all(part.pid for part in parts):
        return DOWN
    print("\n" + _addresses(stack))
    return 0


def _addresses(stack: Stack) -> str:
    found = stack.addresses
    return f"""\
kojiweb     {found.web}/
hub         {found.hub}
            {found.hub_ssl}  (with a certificate)
registry    {found.registry}
dist-git    {found.git}/
files       {found.files}/
logs        {stack.places.log}/
"""


def _usage(stack: Stack, *, at_home: bool) -> str:
    koji = "koji" if at_home and home_profile().exists() else f"koji -c {stack.places.koji_conf}"
    head = stack.git.head(example.NAME)
    source = head.source if head else ""
    return f"""\
Try it (as user packager; -p devstack-admin is the admin):
  {koji} -p devstack hello
  {koji} -p devstack container-build f43-container-candidate --git-branch f43 \\
      '{source}'
A koji outside our venv needs PYTHONPATH={stack.places.repo} for the container-build command.
"""


def _say(line: str) -> None:
    print(line, flush=True)


def _port(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    if not number.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} is not PART=NUMBER, as in registry=5000")
    return name, int(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m koji_containerbuild.devstack", description=HELP
    )
    commands = parser.add_subparsers(dest="command", required=True)
    what = {
        "up": "start what does not run; safe to repeat",
        "status": f"what runs, and the addresses; exit code 0 if all is up, {DOWN} if not",
        "demo": "up, then build the worked example and show what came of it",
        "down": "end all parts; what they know stays",
        "reset": "end all parts and delete the state folder (the cache stays)",
    }
    commands.add_parser("cluster", help="a Kubernetes on this machine: `cluster --help`")
    for name, help_text in what.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument(
            "--state", metavar="DIR", help="state folder; default: $KCB_STATE, else ./.state"
        )
        if name in ("up", "demo"):
            command.add_argument(
                "--no-profile",
                dest="profile",
                action="store_false",
                help="do not write ~/.koji/config.d/devstack.conf",
            )
            command.add_argument(
                "--host",
                metavar="ADDRESS",
                help="listen on this address of the machine and be named by it, so that the pods "
                "of a cluster reach it; remembered; default: 127.0.0.1",
            )
            command.add_argument(
                "--port",
                action="append",
                default=[],
                type=_port,
                metavar="PART=NUMBER",
                help="use this port for hub, hub_ssl, registry or git",
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
