"""A devstack as pods see it, and plans that they build from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from koji_containerbuild.config import Config, RegistryConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.registry.client import Registry
from tests.cluster.pods import Pods
from tests.fakes.plans import PLAN
from tests.stack.builds import unique_name
from tests.stack.searching import files, searching_plan

PLACE = "/run/koji-containerbuild"


@dataclass(frozen=True)
class Site:
    """Pods, and a devstack that they reach."""

    pods: Pods
    stack: Stack

    @property
    def registry(self) -> str:
        return self.stack.addresses.registry

    def built(self, more: str, password: str = "auth.json") -> BuildPlan:
        """A plan whose image searches, and does something more. `password`: the file in the pod."""
        name = unique_name("container/search")
        sources = files(f"{self.registry}/demo/base:1", f"{PLACE}/registry/{password}", more)
        commit = self.stack.git.create(name, sources)
        source = replace(PLAN.source, url=commit.url, commit=commit.sha, branch=commit.branch)
        return searching_plan(self.registry, source)

    def open_registry(self) -> Registry:
        return open_registry(Config(registry=RegistryConfig(url=self.registry, insecure=True)))
