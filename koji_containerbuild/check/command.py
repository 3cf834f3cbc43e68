"""`koji-containerbuild check`: one line for each thing that a build needs of this host."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from koji_containerbuild.check.fact import Fact, ok, wrong
from koji_containerbuild.config import CLUSTERS, Config, config_path, load
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.koji_api import kojid_conf


def main(words: Sequence[str]) -> int:
    """0: nothing is wrong; 1: something is; 2: the call is; 130: interrupted."""
    given = parser().parse_args(words)
    facts = []
    try:
        for fact in check(given):
            facts.append(fact)
            if not given.json:
                print("\n".join(fact.lines()), flush=True)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    if given.json:
        print(json.dumps([fact.as_dict() for fact in facts], indent=1, ensure_ascii=False))
    else:
        print(_summary(facts))
    return 1 if any(fact.state == "WRONG" for fact in facts) else 0


def _summary(facts: Sequence[Fact]) -> str:
    counts = Counter(fact.state for fact in facts)
    return f"{len(facts)} lines: {counts['WRONG']} wrong, {counts['NOT TRIED']} not tried."


def check(given: argparse.Namespace) -> Iterator[Fact]:
    """All facts, as they are found."""
    # Here, so that --help costs nothing.
    from koji_containerbuild.check.host import check_host, check_kojid, read_kojid

    path = given.config or config_path()
    try:
        config = load(path)
    except ConfigError as error:
        yield wrong("the configuration can be read", error.what, error.do)
        config = None
    else:
        yield ok("the configuration can be read", str(path))
    yield from check_kojid(given.kojid_conf)
    if config is None:
        return
    yield from check_host(config)
    conf = read_kojid(given.kojid_conf)
    if not isinstance(conf, Fact):
        from koji_containerbuild.check.hub import check_hub
        from koji_containerbuild.engines.local import LocalEngine

        local = LocalEngine(config.builder.work_dir / "jobs", path)
        yield from check_hub(config, conf, partial(local.lacks, runs=True), given.host)
    yield from _elsewhere(config, given)


def _elsewhere(config: Config, given: argparse.Namespace) -> Iterator[Fact]:
    from koji_containerbuild.check.registries import check_registries
    from koji_containerbuild.registry.access import open_registry

    with open_registry(config) as registry:
        yield from check_registries(config, registry, given.repository)
        if config.builder.engine == CLUSTERS:
            from koji_containerbuild.check.clusters import check_clusters

            yield from check_clusters(config, registry)


def parser() -> argparse.ArgumentParser:
    """The words of the command."""
    made = argparse.ArgumentParser(
        prog="koji-containerbuild check",
        description="Verify what a build needs of this builder host, of Koji, of the registry and "
        "of the clusters. Nothing is changed. Each line is OK, WRONG with what to run to mend it, "
        "or NOT TRIED with the reason.",
    )
    made.add_argument("--config", type=Path, help="the configuration file")
    made.add_argument(
        "--kojid-conf",
        type=Path,
        default=kojid_conf.DEFAULT_PATH,
        metavar="FILE",
        help="kojid's configuration (default: %(default)s)",
    )
    made.add_argument("--host", default="", metavar="NAME", help="what Koji calls this host")
    made.add_argument(
        "--repository",
        default="koji-containerbuild/check",
        metavar="NAME",
        help="repository of the registry that an upload is begun in, and given up again "
        "(default: %(default)s)",
    )
    made.add_argument("--json", action="store_true", help="a list of objects, for programs")
    return made
