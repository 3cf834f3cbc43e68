"""The BuildConfigs of an OpenShift: are they as docs/operating.md says that they must be?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.check.images import image_there
from koji_containerbuild.check.named import account_there, has_key, secret_there
from koji_containerbuild.check.section import PATIENCE, Section, node_arch
from koji_containerbuild.engines.api import Api
from koji_containerbuild.engines.objects import CONFIG
from koji_containerbuild.engines.openshift import Builds
from koji_containerbuild.errors import ContainerBuildError
from koji_containerbuild.registry.client import Registry

_HISTORY = ("successfulBuildsHistoryLimit", "failedBuildsHistoryLimit")  # OpenShift's default is 5
LEAST_HISTORY = 100  # builds: more than end before a builder has looked


def build_configs(section: Section, api: Api, seconds: int, registry: Registry) -> Iterator[Fact]:
    """One for each arch, and what they name. `seconds`: the longest build."""
    specs = []
    mend = section.apply("70-buildconfigs.yaml")
    builds = Builds(section.name, section.cluster, PATIENCE)
    for arch in section.cluster.arches:
        what = section.of(f"there is a BuildConfig for {arch}, as it should be")
        try:
            spec = builds.config_of(arch)["spec"]
        except ContainerBuildError as error:
            yield wrong(what, error.what, mend)
            continue
        finally:
            builds.api.close()
        specs.append(spec)
        troubles = " ".join(_troubles(spec, arch, seconds))
        yield wrong(what, troubles, mend) if troubles else ok(what)
        yield from _image(section, arch, _custom(spec).get("from") or {}, registry)
    for name in dict.fromkeys(filter(None, (spec.get("serviceAccount") for spec in specs))):
        yield from account_there(section, api, name)
    mounts = {name: path for spec in specs for path, name in _secrets(spec).items()}
    for name, path in mounts.items():
        if path == CONFIG:
            mend = section.apply("60-buildroot-config.yaml")
            yield secret_there(section, api, name, has_key("builder.conf"), mend)
        else:
            yield secret_there(section, api, name, has_key(".dockerconfigjson"))


def _image(
    section: Section, arch: str, image: Mapping[str, Any], registry: Registry
) -> Iterator[Fact]:
    name = str(image.get("name"))
    what = section.of(f"the image of the buildroot is there: {name}")
    if image.get("kind") == "DockerImage":
        yield image_there(what, name, (arch,), registry)
    elif image:
        place = image.get("namespace") or section.cluster.namespace
        words = f"{section.client} -n {place} get {image.get('kind')} {name}"
        yield not_tried(what, f"It is an {image.get('kind')}. As an admin: {words}")


def _troubles(spec: Mapping[str, Any], arch: str, seconds: int) -> Iterator[str]:
    """The rows of the table; at runPolicy the engine itself looks."""
    if _custom(spec):
        yield from _not_mounted(spec)
    else:
        yield "Its strategy is not Custom."
    limits = {name: spec.get(name, 5) for name in _HISTORY}
    if min(limits.values()) < LEAST_HISTORY:
        told = ", ".join(f"{name} {value}" for name, value in limits.items())
        yield f"Builds are deleted before anybody sees how they ended: {told}."
    deadline = spec.get("completionDeadlineSeconds")  # without it there is none
    if deadline is not None and deadline <= seconds:
        yield f"OpenShift ends builds after {deadline} s, and max_build_seconds is {seconds}."
    selector = spec.get("nodeSelector") or {}
    for label, value in (("kubernetes.io/arch", node_arch(arch)), ("kubernetes.io/os", "linux")):
        if selector.get(label) != value:
            yield f"Its nodeSelector has not {label}: {value}."
    if not spec.get("serviceAccount"):
        yield "It names no serviceAccount, so the pod has one with permissions."


def _not_mounted(spec: Mapping[str, Any]) -> Iterator[str]:
    paths = set(_secrets(spec))
    if CONFIG not in paths:
        yield f"It mounts no Secret with builder.conf at {CONFIG}."
    if not paths - {CONFIG}:
        yield "It mounts no Secret with the password of the registry."


def _custom(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return (spec.get("strategy") or {}).get("customStrategy") or {}


def _secrets(spec: Mapping[str, Any]) -> dict[str, str]:
    """Names by the paths where they are mounted."""
    mounts = _custom(spec).get("secrets") or ()
    return {str(each["mountPath"]): str(each["secretSource"]["name"]) for each in mounts}
