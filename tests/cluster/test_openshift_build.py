"""A whole build by the engine `openshift`, from BuildConfigs of fedora-infra, in a real cluster.

The image of the buildroot is the real one, with its own command. The controller is emulated.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines.base import Engine, Job
from koji_containerbuild.engines.local import LocalEngine
from koji_containerbuild.engines.openshift import OpenShiftEngine
from tests.cluster.containers import processes
from tests.cluster.openshift_site import OpenShiftSite
from tests.cluster.pods import until
from tests.cluster.site import PLACE, Site
from tests.stack.builds import unique_name
from tests.stack.images import Image
from tests.stack.searching import NOTHING, WORD, found_in

pytestmark = pytest.mark.cluster


@pytest.fixture
def openshift(site: Site, tmp_path: Path) -> OpenShiftSite:
    made = OpenShiftSite(site.pods, tmp_path)
    login = json.dumps({"auths": {"images.example.com": {"auth": WORD}}})
    config = f"""
[registry]
url = {site.registry}
insecure = true
auth_file = {PLACE}/registry/.dockerconfigjson
[buildroot]
storage = /var/lib/containers/koji-containerbuild
network = host
min_free_mib = 0
"""
    made.secret("registry", **{".dockerconfigjson": login})
    made.secret("config", **{"builder.conf": config})
    made.configs({}, registry=f"{PLACE}/registry", config="/etc/koji-containerbuild")
    return made


def run(engine: Engine, job: Job) -> tuple[Outcome, bytes]:
    engine.start(job)
    news = list(engine.follow(job, 0.1))
    log = b"".join(each.log for each in news)
    assert engine.remove(job.name, 30)
    return next(each.outcome for each in news if each.outcome), log


def again(plan: BuildPlan) -> BuildPlan:
    """Under another tag."""
    to = dataclasses.replace(plan.destination, unique_tag=unique_name("again"))
    return dataclasses.replace(plan, destination=to)


def test_the_image_is_that_of_the_local_engine_and_its_run_sees_no_secret(
    openshift: OpenShiftSite, site: Site, tmp_path: Path
):
    plan = site.built("RUN printf 'a\\377b\\r\\n\\r.'\n", ".dockerconfigjson")
    engine = OpenShiftEngine("one", openshift.config())
    there, log = run(engine, Job("kcb-1-1", plan))
    engine.close()
    assert not there.failure, log.decode(errors="replace")
    assert b"a\xffb\r\n\r." in log
    assert found_in(log.replace(b"\xff", b"?")) == NOTHING
    local = LocalEngine(tmp_path / "jobs", site.stack.places.builder_conf)
    here, local_log = run(local, Job("kcb-1-2", again(plan)))
    assert not here.failure, local_log.decode(errors="replace")
    images = [Image.pull(f"{plan.destination.repository}@{each.image}") for each in (there, here)]
    assert images[0].layers == images[1].layers
    assert images[0].config["config"] == images[1].config["config"]


def test_a_cancelled_build_ends_within_seconds(openshift: OpenShiftSite, site: Site):
    engine = OpenShiftEngine("one", openshift.config())
    job = Job("kcb-1-1", site.built("RUN echo sleeping; sleep 1000\n"))
    engine.start(job)
    said = b""
    for news in engine.follow(job, 0.1):
        said += news.log
        if b"\nsleeping\n" in said:
            break
    engine.cancel(job.name)
    until("no process of it is left", lambda: not list(processes(openshift.pods)), 10)
    assert [n.outcome.cancelled for n in engine.follow(job, 0.1) if n.outcome] == [True]
    assert engine.remove(job.name, 30)
    engine.close()
