"""`python -m koji_containerbuild`: build a git commit on this machine, without Koji; or `check`.

What a packager builds here is what Koji would build of the same commit: the same rules, the same
plan, the same buildroot program. Only the release number and the tags differ, since nobody here
gives them out.
"""

from __future__ import annotations

import argparse
import configparser
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import Field
from pathlib import Path
from typing import Any, Optional

from koji_containerbuild.config import config_path, load
from koji_containerbuild.contract.codec import NotThisRecord
from koji_containerbuild.contract.events import TASK, Event
from koji_containerbuild.contract.options import flags, kind_of
from koji_containerbuild.contract.plan import BuildPlan, RepoFile
from koji_containerbuild.contract.preview import lines, preview
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest, ContainerBuildError
from koji_containerbuild.rules.target import LOCAL, check_allowed

MEANT_FOR_KOJI = (
    "scratch",
    "isolated",
    "userdata",
    "koji_parent_build",
)  # options that say nothing here


def main(words: Optional[Sequence[str]] = None) -> int:
    """0 built, 1 failed, 2 the call is wrong, 130 interrupted."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["check"]:
        from koji_containerbuild.check.command import main as check

        return check(words[1:])
    given = _parser().parse_args(words)
    try:
        return _run(given)
    except BadRequest as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ContainerBuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the build was told to end.", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    # Here, so that --help costs nothing.
    from koji_containerbuild.engines.choose import choose
    from koji_containerbuild.registry.access import open_registry
    from koji_containerbuild.source.download import read_url
    from koji_containerbuild.tasks.prepare import prepare
    from koji_containerbuild.tasks.standalone import Nobody, again, build_alone
    from koji_containerbuild.tasks.tools import Place

    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        path = _config_file(given, work)
        config = load(path)
        if not config.registry.url:
            raise BadRequest("No registry to push to.", do="Give --registry.")
        if given.target != LOCAL:
            check_allowed(given.target, config.builder.allowed_targets)
        registry = stack.enter_context(open_registry(config))
        output = _Output()
        place = Place(config, choose(config, path), registry, output, work, time.time, read_url)
        if given.plan:
            plan = again(_read_plan(given.plan), config, int(time.time()))
        else:
            request = _request(given)
            nobody = Nobody(place, _repos(given), request.options.arch_override)
            plan = prepare(request, nobody, place).plan
        if given.write_plan:
            given.write_plan.write_text(plan.to_json() + "\n", encoding="utf-8")
        if given.dry_run:
            print("\n".join(lines(preview(plan))))
            return 0
        print(f"Building {plan.nvr} for {', '.join(plan.arches)}", flush=True)
        _warn(plan.warnings)
        built = build_alone(plan, place, output)
        _warn(built.warnings)
        for where in built.repositories:
            print(f"Image: {where}")
    return 0


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _config_file(given: argparse.Namespace, work: Path) -> Path:
    """The configuration, with the registry of the command line in it: the buildroot reads it too.

    Who names a registry needs no other configuration.
    """
    path: Path = given.config or config_path()
    if not given.registry:
        return path
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # labels have upper case
    if given.config or path.exists():
        load(path)  # says what is wrong with it
        parser.read(path, encoding="utf-8")
    if not parser.has_section("registry"):
        parser.add_section("registry")
    parser.set("registry", "url", given.registry)
    if given.insecure:
        parser.set("registry", "insecure", "true")
    made = work / "builder.conf"
    with made.open("w", encoding="utf-8") as file:
        parser.write(file)
    return made


def _request(given: argparse.Namespace) -> BuildRequest:
    if not given.source:
        raise BadRequest("Nothing to build.", do="Give a source URL, or --plan FILE.")
    names = [f.name for f in flags() if hasattr(given, f.name)]
    options = {name: getattr(given, name) for name in names if getattr(given, name)}
    options["scratch"] = True  # as every build is whose release number nobody gives out
    return BuildRequest.read(given.source, given.target, options, on_this_machine=True)


def _read_plan(path: Path) -> BuildPlan:
    try:
        return BuildPlan.from_json(path.read_bytes())
    except (OSError, NotThisRecord) as error:
        raise BadRequest(
            f"{path} is not a plan: {error}.", do="Take plan.json of a task."
        ) from error


def _repos(given: argparse.Namespace) -> list[RepoFile]:
    """--repo-file: from this machine."""
    from koji_containerbuild.rules.repos import PREFIX

    found = []
    for path in given.repo_file or ():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"Cannot read the repo file {path}: {error}.") from error
        name = path.name if path.name.startswith(PREFIX) else f"{PREFIX}{path.name}"
        found.append(RepoFile(name, text))
    return found


class _Output:
    """Everything the build says goes to standard output."""

    def write(self, name: str, data: bytes) -> None:
        sys.stdout.buffer.write(data)

    def event(self, stage: str, state: str, seconds: float = 0.0, text: str = "") -> None:
        print(Event(time.time(), TASK, stage, state, seconds, text).line())

    def relay(self, event: Event) -> None:
        """It is in the log already."""

    def flush(self, now: bool = False) -> None:
        sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m koji_containerbuild",
        description="Build a container image of a git commit on this machine, without Koji, "
        "and push it to a registry under a tag of its own.",
        epilog="The configuration is that of a Koji builder (docs/operating.md). "
        "Another command, `check`, verifies a builder host; see `check --help`.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="as Koji takes it: git+https://HOST/REPO#COMMIT; or file:///REPO#COMMIT",
    )
    parser.add_argument(
        "--target",
        default=LOCAL,
        metavar="NAME",
        help="the Koji target whose rules in the configuration apply (default: %(default)s)",
    )
    parser.add_argument("--plan", type=Path, help="build a plan again: plan.json of a Koji task")
    parser.add_argument("--write-plan", type=Path, metavar="FILE", help="keep the plan")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--registry", default="", metavar="HOST[:PORT]", help="where to push to")
    parser.add_argument("--insecure", action="store_true", help="that registry is plain http")
    parser.add_argument(
        "--repo-file", type=Path, action="append", metavar="FILE", help="a .repo file to use"
    )
    for option in flags():
        if option.name not in MEANT_FOR_KOJI and not option.metadata.get("not_yet"):
            _add_flag(parser, option)
    return parser


def _add_flag(parser: argparse.ArgumentParser, option: Field[Any]) -> None:
    kind = kind_of(option)
    rules: dict[str, Any] = {"metavar": option.metadata.get("metavar")}
    if kind is bool:
        rules = {"action": "store_true"}
    if isinstance(kind, list) and not option.metadata.get("words"):
        rules |= {"action": "append", "type": kind[0]}
    help_text = option.metadata["help"].replace("%", "%%")
    parser.add_argument(option.metadata["flag"], dest=option.name, help=help_text, **rules)


if __name__ == "__main__":
    sys.exit(main())
