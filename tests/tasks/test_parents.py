"""Parents: each is looked up once, pinned, and fit for every arch, or refused in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from koji_containerbuild.config import Config, ParentsConfig, RegistryConfig
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules import manifests
from koji_containerbuild.rules.manifests import Platform, build_index, goarch, sha256, to_bytes
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.dockerfile import parse
from koji_containerbuild.tasks.parents import Parents, resolve_parents
from koji_containerbuild.tasks.standalone import Nobody
from koji_containerbuild.tasks.tools import Place
from tests.fakes.registry import FakeRegistry

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass
class Site:
    fake: FakeRegistry
    registry: Registry

    @property
    def config(self) -> Config:
        return Config(
            registry=RegistryConfig(url=self.fake.host, insecure=True),
            parents=ParentsConfig(organization="org", allowed_registries=("other.example.com",)),
        )

    def spec(self, name: str) -> Pullspec:
        return Pullspec.parse(f"{self.fake.host}/{name}")

    def image(
        self,
        name: str,
        arch: str = "x86_64",
        layer: dict[str, Any] | None = None,
        config_type: str = CONFIG,
        **settings: Any,
    ) -> str:
        """An image of one layer; its digest."""
        spec = self.spec(name)
        config = to_bytes({"architecture": goarch(arch), "os": "linux", "config": {}, **settings})
        blob = self.registry.put_blob(spec, b"layer")
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifests.DOCKER_MANIFEST,
            "config": {"mediaType": config_type, "digest": self.registry.put_blob(spec, config)},
            "layers": [{"mediaType": LAYER, "digest": blob, **(layer or {})}],
        }
        return self.registry.put_manifest(spec, to_bytes(manifest), manifests.DOCKER_MANIFEST)

    def index(self, name: str, *arches: str) -> str:
        entries = [
            Platform(goarch(arch), "linux", "", self.image(f"{name}-{arch}", arch),
                     manifests.DOCKER_MANIFEST, 7)
            for arch in arches
        ]  # fmt: skip
        body = build_index(entries, manifests.DOCKER_LIST)
        return self.registry.put_manifest(self.spec(name), body, manifests.DOCKER_LIST)

    def put(self, name: str, body: bytes, media_type: str) -> None:
        """Whatever it is, without a look at it."""
        repository, _, tag = name.partition(":")
        self.fake.tags[repository, tag] = sha256(body)
        self.fake.manifests[repository, sha256(body)] = (media_type, body)

    def resolve(self, dockerfile: str, *arches: str) -> Parents:
        place = SimpleNamespace(engine=SimpleNamespace(arches=()))
        nobody = Nobody(cast(Place, place), (), ())
        wanted = arches or ("x86_64",)
        return resolve_parents(parse(dockerfile), wanted, self.config, self.registry, nobody)


@pytest.fixture
def site() -> Iterator[Site]:
    with FakeRegistry() as fake:
        with Registry(RegistrySettings(insecure=(fake.host,)), sleep=lambda s: None) as registry:
            yield Site(fake, registry)


def test_a_short_name_gets_registry_organization_and_tag(site: Site):
    digest = site.image("org/base:latest")
    (parent,) = site.resolve("FROM base\n").pinned
    assert parent.written == "base"
    assert parent.resolved == f"{site.fake.host}/org/base:latest"
    assert parent.pinned == f"{site.fake.host}/org/base@{digest}"


def test_a_digest_stays_that_digest(site: Site):
    digest = site.image("org/base:1")
    for written in (f"base@{digest}", f"base:1@{digest}", f"{site.fake.host}/org/base@{digest}"):
        (parent,) = site.resolve(f"FROM {written}\n").pinned
        assert parent.pinned == f"{site.fake.host}/org/base@{digest}"


def test_an_image_that_is_written_in_two_ways_is_looked_up_once(site: Site):
    site.image("org/base:latest")
    parents = site.resolve("FROM base AS one\nFROM base:latest AS two\nFROM base\n").pinned
    assert [parent.written for parent in parents] == ["base", "base:latest"]
    assert site.fake.count("GET", "/manifests/") == 1


def test_the_environment_is_that_of_what_the_last_stage_stands_on(site: Site):
    site.image("org/a:1", config={"Env": ["A=1"]})
    site.image("org/b:1", config={"Env": ["B=2=3", "C"]})
    found = site.resolve("FROM b:1 AS base\nFROM a:1 AS other\nFROM base\n")
    assert found.environment == {"B": "2=3", "C": ""}


def test_an_index_with_all_arches_is_pinned_as_a_whole(site: Site):
    digest = site.index("org/base:1", "x86_64", "aarch64", "s390x")
    (parent,) = site.resolve("FROM base:1\n", "x86_64", "aarch64").pinned
    assert parent.pinned.endswith(f"@{digest}")


def test_an_arch_that_is_lacking_is_named_with_image_line_and_those_that_are_there(site: Site):
    site.index("org/base:1", "x86_64", "aarch64")
    words = (
        r"org/base:1 \(line 2 of the Dockerfile\) has no image for s390x; it has aarch64, x86_64\."
    )
    with pytest.raises(BadRequest, match=words):
        site.resolve("ARG X\nFROM base:1\n", "x86_64", "s390x")


def test_an_image_for_one_arch_must_be_of_that_arch(site: Site):
    site.image("org/base:1", "aarch64")
    site.resolve("FROM base:1\n", "aarch64")
    with pytest.raises(BadRequest, match="is for linux on aarch64, and the build is for x86_64"):
        site.resolve("FROM base:1\n", "x86_64")
    with pytest.raises(BadRequest, match="one arch only, and the build is for x86_64, aarch64"):
        site.resolve("FROM base:1\n", "x86_64", "aarch64")


@pytest.mark.parametrize("word", ["linux/amd64", "amd64", "$TARGETPLATFORM", "linux/$BUILDARCH"])
def test_a_platform_that_is_what_is_built_is_fine(site: Site, word: str):
    site.image("org/base:1")
    assert site.resolve(f"FROM --platform={word} base:1\n").pinned


REFUSED = {
    "no such image": ("FROM none:1", r"org/none:1 \(line 1 of the Dockerfile\) does not exist"),
    "another registry": ("FROM quay.io/a/b", r"quay.io/a/b \(line 1 .* registry quay.io, which is not"),
    "no reference": ("ARG A\nFROM A:1", "Line 2 of the Dockerfile: The repository of the image ref"),
    "a base image of Koji": ("FROM koji/image-build", "asks Koji for a base image"),
    "a base image of Koji, with a file": ("FROM koji/image-build:x.conf", "asks Koji for a base image"),
    "another platform": ("FROM --platform=linux/arm64 base:1", "Line 1 .*linux.arm64 is not what is built, which is linux/amd64"),
    "another platform of scratch": ("FROM --platform=windows scratch", "windows is not what is built"),
    "a variant": ("FROM --platform=linux/amd64/v8 base:1", "is not what is built"),
    "foreign layers": ("FROM foreign:1", r"org/foreign:1 \(line 1 .*layers that are not in its registry"),
    "foreign layers of another stage": ("FROM foreign:1 AS x\nFROM base:1", "not in its registry"),
    "layers with URLs": ("FROM urls:1", "not in its registry"),
    "layers that a Docker manifest cannot hold": ("FROM zstd:1", "layers of the type .*zstd"),
    "an artifact": ("FROM artifact:1", "is no image: its config is of the type application/x"),
    "another system": ("FROM windows:1", "is for windows on x86_64"),
    "schema 1": ("FROM old:1", "of a kind that cannot be used: .*v1.prettyjws"),
    "a manifest without layers": ("FROM empty:1", "names no config and no layers"),
    "a manifest that is none": ("FROM text:1", "is not JSON"),
    "an index that is none": ("FROM list:1", "has a broken index"),
}  # fmt: skip


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=list(REFUSED))
def test_what_nothing_can_be_built_on_is_refused(site: Site, text: str, words: str):
    site.image("org/base:1")
    site.image("org/foreign:1", layer={"mediaType": f"{LAYER}".replace("diff", "foreign.diff")})
    site.image("org/urls:1", layer={"urls": ["https://example.com/x"]})
    site.image("org/zstd:1", layer={"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"})
    site.image("org/artifact:1", config_type="application/x")
    site.image("org/windows:1", os="windows")
    site.put(
        "org/old:1",
        b'{"schemaVersion": 1}',
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    )
    site.put("org/empty:1", json.dumps({"schemaVersion": 2}).encode(), manifests.OCI_MANIFEST)
    site.put("org/text:1", b"hello", manifests.DOCKER_MANIFEST)
    site.put("org/list:1", b'{"manifests": 1}', manifests.DOCKER_LIST)
    with pytest.raises(BadRequest, match=words) as caught:
        site.resolve(text)
    assert caught.value.do or "JSON" in words


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"OnBuild": ["ENV a=b", "COPY --from=org/x:1 /x /x"]}, "'ONBUILD COPY --from=org/x:1 /x"),
        ({"OnBuild": ["RUN --mount=type=bind,from=x,target=/x ls"]}, "takes files from 'x'"),
        ({"OnBuild": 7}, "is broken: its ONBUILD triggers cannot be read"),
        ({"OnBuild": [7]}, "cannot be read"),
        ({"OnBuild": "RUN ls"}, "cannot be read"),
        (["OnBuild"], "cannot be read"),
    ],
)
def test_triggers_of_a_parent_that_reach_out_or_are_none_are_refused(
    site: Site, settings: Any, words: str
):
    site.image("org/base:1", config=settings)
    with pytest.raises(
        BadRequest, match=f"org/base:1 .line 1 of the Dockerfile.* {words}"
    ) as caught:
        site.resolve("FROM base:1 AS x")
    assert caught.value.do


def test_other_triggers_of_a_parent_are_let_be(site: Site):
    site.image("org/base:1", config={"OnBuild": ["COPY . /src", "RUN make"]})
    site.image("org/other:1", config=None)
    assert len(site.resolve("FROM base:1 AS x\nFROM other:1").pinned) == 2


@pytest.mark.parametrize("kind", ["containers-storage:x/y", "oci-archive:/x", "docker-archive:/x",
                                  "dir:/x", "docker://x/y", "docker-daemon:x:1", "oci:/x"])  # fmt: skip
def test_an_image_is_never_taken_from_elsewhere_than_a_registry(site: Site, kind: str):
    with pytest.raises(BadRequest, match="Line 1 of the Dockerfile"):
        site.resolve(f"FROM {kind}")


def test_layers_of_another_stage_may_be_of_any_kind(site: Site):
    site.image("org/zstd:1", layer={"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"})
    assert len(site.resolve("FROM zstd:1 AS x\nFROM scratch\n").pinned) == 1
