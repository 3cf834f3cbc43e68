"""`python -m tests.bench`: our figures, as ratios against what runs beside them on this machine.

Needs root, as the devstack does, which is brought up in $KCB_STATE (.state-test if that is not
set) and ended afterwards unless it ran before; groups that begin with `cluster-` have a Kubernetes
in $KCB_CLUSTER_STATE (.state-test-cluster) and a devstack beside it. Times alone say little on a
machine that others use: look at the ratios, and at the spread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from koji_containerbuild.devstack.places import REPO, find_places
from koji_containerbuild.devstack.seed import DEST_TAG
from koji_containerbuild.devstack.stack import Stack
from tests.bench.cluster_builds import many_in_the_cluster, quiet_requests
from tests.bench.cluster_lines import many_lines
from tests.bench.cluster_site import ClusterSite, cluster_site
from tests.bench.figures import Figure, table
from tests.bench.images import long_image, small_image
from tests.bench.log_latency import cluster_log_latency, log_latency
from tests.bench.site import PACKAGE, Site
from tests.bench.startup import builder_plugin, command_line
from tests.bench.waiting import many_at_once

S = TypeVar("S")
GROUPS: dict[str, Callable[[Site], list[tuple[str, list[Figure]]]]] = {
    "small": small_image,
    "long": long_image,
    "cli": command_line,
    "plugin": builder_plugin,
    "logs": log_latency,
    "many": many_at_once,
}
IN_CLUSTER: dict[str, Callable[[ClusterSite], list[tuple[str, list[Figure]]]]] = {
    "cluster-requests": quiet_requests,
    "cluster-logs": cluster_log_latency,
    "cluster-lines": many_lines,
    "cluster-many": many_in_the_cluster,
}


def main(words: Sequence[str] | None = None) -> int:
    """0 unless something could not be run. A missed aim is said; with --strict it is an error, too."""
    given = _parser().parse_args(words)
    names = given.only or [*GROUPS, *IN_CLUSTER]
    found = Found([_load()], [], [])
    here = [name for name in names if name in GROUPS]
    if here:
        with _koji_site(given) as site:
            for name in here:
                found.add(name, GROUPS[name], site)
    there = [name for name in names if name in IN_CLUSTER]
    if there:
        with cluster_site(given.runs, given.quick) as in_cluster:
            for name in there:
                found.add(name, IN_CLUSTER[name], in_cluster)
    return found.told(given.json, given.strict)


@contextmanager
def _koji_site(given: argparse.Namespace) -> Iterator[Site]:
    stack = Stack(find_places(os.environ.get("KCB_STATE") or str(REPO / ".state-test")))
    ran_before = all(one.pid for one in stack.status())
    stack.up()
    try:
        stack.admin.add_package(PACKAGE, DEST_TAG)
        yield Site(stack, given.runs, given.quick)
    finally:
        stack.close()
        if not ran_before:
            stack.down()


@dataclass
class Found:
    """What was measured."""

    loads: list[float]
    tables: list[tuple[str, list[Figure]]]
    broken: list[str]

    def add(self, name: str, group: Callable[[S], list[tuple[str, list[Figure]]]], site: S) -> None:
        """Measure a group, and print it."""
        try:
            found = group(site)
        except Exception:  # noqa: BLE001 — the others can be measured all the same
            traceback.print_exc()
            self.broken.append(name)
            return
        self.loads.append(_load())
        self.tables += found
        for title, figures in found:
            print(f"\n{table(title, figures)}", flush=True)

    def told(self, json_file: Path | None, strict: bool) -> int:
        """The end of it all; the exit code."""
        aims = [figure for _title, figures in self.tables for figure in figures if figure.aim]
        missed = [figure.name for figure in aims if not figure.met]
        words = f" Missed: {'; '.join(missed)}." if missed else ""
        print(f"\n{len(aims) - len(missed)} of {len(aims)} aims met.{words}")
        loads = " ".join(f"{one:.1f}" for one in self.loads)
        print(f"Load of the machine, {os.cpu_count()} cores: {loads}")
        if self.broken:
            print(f"Could not be run: {', '.join(self.broken)}")
        if json_file:
            json_file.write_text(_document(self.tables, self.loads))
        return 1 if self.broken or (strict and missed) else 0


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
    parser.add_argument("--quick", action="store_true", help="one long build, of 10 s; 10 at once")
    parser.add_argument(
        "--only", choices=(*GROUPS, *IN_CLUSTER), action="append", help="this group (repeatable)"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 where an aim is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
