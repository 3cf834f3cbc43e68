"""A plan to begin a test with; `dataclasses.replace` makes another of it."""

from __future__ import annotations

from koji_containerbuild.contract.plan import (
    BuildPlan,
    Destination,
    KojiFacts,
    Limits,
    Source,
)
from koji_containerbuild.rules.nvr import NVR

PLAN = BuildPlan(
    nvr=NVR("web-container", "1.0", "3"),
    scratch=False,
    isolated=False,
    source=Source(
        "https://src.example.com/web",
        "a" * 40,
        "f43",
        "",
        "https://src.example.com/web#" + "a" * 40,
    ),
    arches=("x86_64",),
    parents=(),
    repos=(),
    labels={
        "com.redhat.component": "web-container",
        "name": "fedora/web",
        "version": "1.0",
        "vendor": "Fedora",
        "release": "3",
    },
    destination=Destination(
        "reg.example.com/fedora/web", "f43-x7k2q-2026", "1.0-3", ("latest", "1.0")
    ),
    limits=Limits(600),
    created=1_700_000_000,
    koji=KojiFacts(7, "packager", "f43", "f43-candidate", "f43-build", 12, 99),
)
