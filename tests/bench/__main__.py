"""`python -m tests.bench`: our figures, as ratios against what runs beside them on this machine.

Needs root, as the devstack does, which is brought up in $KCB_STATE (.state-test if that is not
set) and ended afterwards unless it ran before. Times alone say little on a machine that others
use: look at the ratios, and at the spread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from koji_containerbuild.devstack.places import REPO, find_places
from koji_containerbuild.devstack.seed import DEST_TAG
from koji_containerbuild.devstack.stack import Stack
from tests.bench.figures import Figure, table
from tests.bench.images import long_image, small_image
from tests.bench.log_latency import log_latency
from tests.bench.site import PACKAGE, Site
from tests.bench.startup import builder_plugin, command_line
from tests.bench.waiting import many_at_once

GROUPS: dict[str, Callable[[Site], list[tuple[str, list[Figure]]]]] = {
    "small": small_image,
    "long": long_image,
    "cli": command_line,
    "plugin": builder_plugin,
    "logs": log_latency,
    "many": many_at_once,
}


def main(words: Sequence[str] | None = None) -> int:
    """0 unless something could not be run: a missed aim is said, and is no error."""
    given = _parser().parse_args(words)
    stack = Stack(find_places(os.environ.get("KCB_STATE") or str(REPO / ".state-test")))
    ran_before = all(one.pid for one in stack.status())
    stack.up()
    try:
        stack.admin.add_package(PACKAGE, DEST_TAG)
        return _measure(Site(stack, given.runs, given.quick), given)
    finally:
        stack.close()
        if not ran_before:
            stack.down()


def _measure(site: Site, given: argparse.Namespace) -> int:
    loads, measured, broken = [_load()], [], []
    for name in given.only or GROUPS:
        try:
            found = GROUPS[name](site)
        except Exception:  # noqa: BLE001 — the others can be measured all the same
            traceback.print_exc()
            broken.append(name)
            continue
        loads.append(_load())
        measured += found
        for title, figures in found:
            print(f"\n{table(title, figures)}", flush=True)
    print(f"\n{_summary(measured)}")
    print(f"Load of the machine, {os.cpu_count()} cores: {' '.join(f'{one:.1f}' for one in loads)}")
    if broken:
        print(f"Could not be run: {', '.join(broken)}")
    if given.json:
        given.json.write_text(_document(measured, loads))
    return 1 if broken else 0


def _summary(measured: list[tuple[str, list[Figure]]]) -> str:
    aims = [figure for _title, figures in measured for figure in figures if figure.aim]
    missed = [figure.name for figure in aims if not figure.met]
    words = f"{len(aims) - len(missed)} of {len(aims)} aims met."
    return f"{words} Missed: {'; '.join(missed)}." if missed else words


def _document(measured: list[tuple[str, list[Figure]]], loads: list[float]) -> str:
    tables = [
        {"title": title, "figures": [{**asdict(one), "met": one.met} for one in figures]}
        for title, figures in measured
    ]
    return json.dumps({"cores": os.cpu_count(), "loads": loads, "tables": tables}, indent=1) + "\n"


def _load() -> float:
    return os.getloadavg()[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="pairs of small builds")
    parser.add_argument("--quick", action="store_true", help="one long build, of 10 s")
    parser.add_argument("--only", choices=GROUPS, action="append", help="this group (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
