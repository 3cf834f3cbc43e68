"""What builds in a cluster cost the apiserver, and what many at once cost the builder."""

from __future__ import annotations

import time

from tests.bench import waiting
from tests.bench.cluster_site import ClusterSite, follower
from tests.bench.figures import Aim, Figure, against_old, spread
from tests.bench.koji_build import build
from tests.bench.site import asleep

OLD_REQUESTS = 32  # of one quiet arch
STARTS = 15.0  # seconds that twenty followers need until they only wait
QUIET = (5, 35)  # seconds of two builds that say nothing


def quiet_requests(site: ClusterSite) -> list[tuple[str, list[Figure]]]:
    """By the apiserver's audit log. A build that takes longer may ask no more often."""
    counts = []
    for seconds in QUIET:
        before = site.requests()
        build(site, site.commit("asleep", asleep(seconds)))
        counts.append(float(site.requests() - before))
    short, long = counts
    between = QUIET[1] - QUIET[0]
    figures = [
        against_old("of a build of one arch", [long], "", OLD_REQUESTS, Aim(12.0)),
        Figure(f"more for {between} s more of silence", long - short, "", aim=Aim(0.0)),
    ]
    return [("requests to the apiserver", figures)]


def many_in_the_cluster(site: ClusterSite) -> list[tuple[str, list[Figure]]]:
    """Beside them: as many followers of the same pods, at the same time."""
    with waiting.room(site) as kojid:
        with waiting.tasks(site, kojid, waiting.building) as pids:
            ours, cpu = waiting.cost(pids)
            with site.followed(site.build_pods()) as programs:
                time.sleep(STARTS)
                raw, raw_cpu = waiting.cost([program.pid for program in programs])
    what = follower()
    figures: list[Figure] = []
    for name, old, aim in (("PSS", 24.0, 13.0), ("private", 15.0, 8.0), ("RSS", 57.0, None)):
        figures += waiting.memory(name, ours, raw, old, aim, what)
    busy = Figure("CPU of one that waits", max(cpu), "%", spread=spread(cpu), aim=Aim(0.3))
    mean, theirs = (sum(values) / len(values) for values in (cpu, raw_cpu))
    ratio = mean / theirs if theirs else None
    figures += [busy, Figure("the mean of all", mean, "%", theirs, what, ratio)]
    return [(f"{site.at_once} builds at once in a cluster", figures)]
