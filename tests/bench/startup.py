"""What the plugins cost those who only load them: every `koji` command, and kojid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from koji_containerbuild.devstack import koji_source
from tests.bench.figures import Aim, Figure, against_old, alone, beside
from tests.bench.site import Site

HELPS = 15
IMPORTS = 7


def command_line(site: Site) -> list[tuple[str, list[Figure]]]:
    """Koji loads the plugin for every command; ours should cost no more than the others."""
    plain: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    for turn in range(HELPS + 1):
        both = (plain, ("--help",)), (ours, ("container-build", "--help"))
        for costs, words in both if turn % 2 else reversed(both):
            cost = _koji(site, words)
            if turn:  # the first only warms up
                costs.append(cost)
    figures = []
    for name, place in (("koji container-build --help", 0), ("the same, CPU time", 1)):
        mine, base = ([cost[place] for cost in costs] for costs in (ours, plain))
        figures.append(beside(name, mine, base, Aim(1.03, of_ratio=True), "koji --help"))
    return [(f"command line ({HELPS} runs)", figures)]


def _koji(site: Site, words: tuple[str, ...]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU."""
    begun, before = time.monotonic(), os.times()
    site.stack.koji(*words, check=True)
    seconds, after = time.monotonic() - begun, os.times()
    cpu = after.children_user + after.children_system
    return seconds, cpu - before.children_user - before.children_system


def builder_plugin(site: Site) -> list[tuple[str, list[Figure]]]:
    """A task is a fork of kojid, so this is paid once for each start of kojid."""
    source = koji_source.fetch(site.stack.places.cache)
    repo = site.stack.places.repo
    env = {**os.environ, "PYTHONPATH": koji_source.python_path(source, repo)}
    script = Path(__file__).with_name("import_cost.py")
    command = [sys.executable, "-W", "ignore", str(script), str(source), str(repo)]
    costs = []
    for _ in range(IMPORTS + 1):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        costs.append(json.loads(done.stdout))
    costs = costs[1:]
    both = [cost["kojid"] + cost["plugin"] for cost in costs]
    figures = [
        beside("kojid with our plugin", both, [cost["kojid"] for cost in costs], what="kojid"),
        against_old("our plugin, ms", [1000 * c["plugin"] for c in costs], "ms", 131.0),
        against_old("our plugin, memory", [c["memory"] for c in costs], "MiB", 16.0),
        alone("modules that only we load", [c["modules"] for c in costs], ""),
    ]
    return [(f"import of the builder plugin ({IMPORTS} runs)", figures)]
