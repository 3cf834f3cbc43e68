"""The log of a build in the cluster: soon, and all of it, whatever the build's other arch does.

The bounds are loose, since the machine may be busy. `make bench` has the figures.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from koji_containerbuild.config import Config, RegistryConfig
from koji_containerbuild.devstack.cluster.site import KojiSite
from koji_containerbuild.devstack.seed import BUILD_TAG, DEST_TAG
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.rules.pullspec import Pullspec
from tests.bench.cluster_lines import LINES, printing
from tests.bench.figures import part
from tests.bench.log_latency import lateness
from tests.bench.site import words
from tests.cluster.running_builds import LONG
from tests.cluster.test_faults import configured
from tests.stack.builds import Asked, Builds, wait_until
from tests.stack.hanging import Switch
from tests.stack.images import LIST, MANIFEST, Image

pytestmark = pytest.mark.cluster

TICKS = 150
LATE = 2.0  # seconds from written to readable
ALL_LINES = 30.0  # seconds from the first to the last
TARGET = "f43-container-two"
RUNS = "FROM demo/base:two\n@LABELS@\nCOPY script /\nRUN sh /script\n"
# One arch talks when it is told to; the other one runs all that time, and says nothing.
SCRIPT = f"""\
ask() {{ wget -q -O - @URL@; }}
if [ "$SILENT" ]; then
    echo silent; while [ "$(ask)" != end ]; do sleep 0.5; done
else
    while [ "$(ask)" != talk ]; do usleep 100000; done
    {words(TICKS, 0.04)}
    {printing("echo that was slow")}
fi
"""


@pytest.fixture
def two(koji_site: KojiSite, builds: Builds) -> Iterator[Builds]:
    """A target for two arches, both of which the cluster's node runs."""
    koji_site.up("kubernetes")
    admin = builds.stack.admin
    admin.add_tag(TARGET, arches="x86_64 i686", parent=BUILD_TAG)
    admin.add_target(TARGET, TARGET, DEST_TAG)
    admin.fresh_repo(TARGET)
    add_base(builds.stack.addresses.registry)
    with configured(koji_site, arches="x86_64, i686"):
        yield builds


def add_base(registry: str) -> None:
    """demo/base:two, the base image for two arches; of the one that is silent the variable says so."""
    spec = Pullspec.parse(f"{registry}/demo/base:1")
    image = Image.pull(str(spec))
    settings = image.config["config"]
    silent = {**settings, "Env": [*settings.get("Env", ()), "SILENT=yes"]}
    entries = []
    with open_registry(Config(registry=RegistryConfig(url=registry, insecure=True))) as client:

        def push(architecture: str, settings: dict[str, Any]) -> None:
            config = {**image.config, "architecture": architecture, "config": settings}
            blob = json.dumps(config).encode()
            about = {**image.manifest["config"], "size": len(blob)}
            about["digest"] = client.put_blob(spec, blob)
            body = json.dumps({**image.manifest, "config": about}).encode()
            digest = client.put_manifest(spec.at_tag(architecture), body, MANIFEST)
            entries.append(
                {"mediaType": MANIFEST, "size": len(body), "digest": digest,
                 "platform": {"os": "linux", "architecture": architecture}}
            )  # fmt: skip

        push("amd64", settings)
        push("386", silent)
        index = {"schemaVersion": 2, "mediaType": LIST, "manifests": entries}
        client.put_manifest(spec.at_tag("two"), json.dumps(index).encode(), LIST)


def test_beside_a_silent_arch_lines_come_soon_and_all_of_very_many_come_once_and_in_order(
    two: Builds, switch: Switch
):
    source = two.source(RUNS, {"script": SCRIPT.replace("@URL@", switch.url)})
    asked = two.start(source, TARGET, scratch=True)
    wait_until(lambda: b"\nsilent\n" in asked.log("i686.log"), LONG)
    switch.answer = "talk"
    late, begin, end = read(asked)
    assert len(late) == TICKS
    assert part(late, 0.95) < LATE
    assert end - begin < ALL_LINES
    assert asked.log("i686.log").endswith(b"\nsilent\n"), "it is silent still"
    switch.answer = "end"
    built = asked.done(LONG)
    assert built.state == "CLOSED", built.fault
    numbers = re.findall(rb"^line (\d+) x+$", asked.log(), re.M)
    assert numbers == [b"%08d" % number for number in range(1, LINES + 1)]


def read(asked: Asked) -> tuple[list[float], float, float]:
    """Through the hub, until the last line: how late each tick came; when the first and the last line did."""
    late: list[float] = []
    offset, rest, first, last = 0, b"", 0.0, 0.0
    deadline = time.monotonic() + LONG
    while not last:
        assert time.monotonic() < deadline, rest
        output = asked.session.downloadTaskOutput
        data = output(asked.task, "x86_64.log", offset=offset, size=4 << 20)
        offset += len(data)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        late += lateness(whole + newline)
        if b"line 00000001 " in whole:
            first = time.monotonic()
        if b"line %08d " % LINES in whole:
            last = time.monotonic()
        time.sleep(0.02)
    return late, first, last
