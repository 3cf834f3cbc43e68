"""The image in the registry is the one that the Dockerfile describes, and nothing more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Built, Source
from tests.stack.images import LIST, MANIFEST, Image

# Every instruction that sets something in the config, and USER in the middle.
EVERYTHING = """\
ARG PARENT=demo/base
FROM ${PARENT}:1 AS only
@LABELS@
LABEL summary="all of it" quoted="a \\"b\\" \\$c"
ENV ONE=1 TWO="two words" \\
    THREE=${ONE}3
ARG BUILD_ARG=default
SHELL ["/bin/sh", "-e", "-c"]
RUN echo $BUILD_ARG > /argument && ls /etc/yum.repos.d | wc -l > /seen
USER 1000:1000
RUN id > /tmp/who
WORKDIR /srv
WORKDIR data
VOLUME ["/srv/data", "/cache"]
EXPOSE 8080 9090/udp
HEALTHCHECK --interval=7s --timeout=3s --retries=2 CMD ["/bin/true"]
STOPSIGNAL SIGQUIT
ONBUILD COPY . /app
ONBUILD RUN echo onbuild > /onbuild
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo done"]
"""

REPOS_OF_ITS_OWN = """\
FROM demo/base:1
@LABELS@
RUN echo "[own]" > /etc/yum.repos.d/own.repo && chmod 600 /etc/yum.repos.d/own.repo
COPY copied.repo /etc/yum.repos.d/copied.repo
RUN echo x > /etc/yum.repos.d/gone.repo
RUN rm /etc/yum.repos.d/gone.repo
"""

REPOS_REMOVED = """\
FROM demo/base:1
@LABELS@
RUN dnf -y install hello && dnf clean all && rm -rf /etc/yum.repos.d/*
"""

REPO_FOLDER_REMOVED = """\
FROM demo/base:1
@LABELS@
RUN rm -rf /etc/yum.repos.d && echo x > /file
"""

STAGES = """\
FROM demo/base:1 AS build
RUN dnf -y install hello && echo made > /made && mkdir /tree && echo deep > /tree/deep
FROM demo/base:1
@LABELS@
COPY --from=build /made /made
COPY --from=0 /tree /copied/tree
"""

STAGES_TO_SCRATCH = """\
FROM demo/base:1 AS build
RUN echo made > /made
FROM scratch
@LABELS@
COPY --from=build /made /made
"""

SCRATCH = """\
FROM scratch
@LABELS@
COPY file /folder/file
ENTRYPOINT ["/folder/file"]
"""

USER_STAYS = """\
FROM demo/base:1
@LABELS@
RUN dnf -y install hello && dnf clean all
USER 1001
RUN id > /tmp/who
"""

NO_RUN = """\
FROM demo/base:1
@LABELS@
COPY file /file
"""

PARENT_WITH_ONBUILD = """\
FROM demo/base:1
@LABELS@
ONBUILD RUN echo from the parent >> /triggered
ONBUILD COPY file /from-the-child
"""

HELP = "# NAME\nhelp - of this image\n"
DOCKERFILES = {
    "everything": (EVERYTHING, {"help.md": HELP}),
    "own repos": (REPOS_OF_ITS_OWN, {"copied.repo": "[copied]\n"}),
    "repos removed": (REPOS_REMOVED, {}),
    "repo folder removed": (REPO_FOLDER_REMOVED, {}),
    "stages": (STAGES, {}),
    "stages to scratch": (STAGES_TO_SCRATCH, {}),
    "scratch": (SCRATCH, {"file": "#!/bin/sh\n"}),
    "user": (USER_STAYS, {"help.md": HELP}),
    "ignored": (NO_RUN.replace("COPY", "# COPY"), {"file": "x", ".dockerignore": "*\n"}),
    "no run": (NO_RUN, {"file": "x", "help.md": HELP}),
    "onbuild": (PARENT_WITH_ONBUILD, {}),
}


AT_ONCE = 2  # builds


class Gallery:
    """One image of each Dockerfile."""

    def __init__(self, builds: Builds) -> None:
        self.builds = builds
        self.sources: dict[str, Source] = {}
        self._asked: dict[str, Asked] = {}
        self._images: dict[str, Image] = {}
        for key, (dockerfile, files) in DOCKERFILES.items():
            self.sources[key] = builds.source(dockerfile, files)
            for earlier in list(self._asked.values())[: 1 - AT_ONCE]:
                earlier.done()
            self._asked[key] = builds.start(self.sources[key])

    def built(self, key: str) -> Built:
        return self._asked[key].done()

    def __getitem__(self, key: str) -> Image:
        if key not in self._images:
            built = self.built(key)
            assert built.state == "CLOSED", built.fault
            self._images[key] = self.builds.image(built)
        return self._images[key]


@pytest.fixture(scope="module")
def gallery(builds: Builds) -> Gallery:
    return Gallery(builds)


@pytest.fixture(scope="module")
def base(stack: Stack) -> Image:
    return Image.pull(f"{stack.addresses.registry}/demo/base:1")


@pytest.fixture(scope="module")
def raw(
    stack: Stack, gallery: Gallery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    """What plain buildah makes of the same Dockerfile."""
    folder = tmp_path_factory.mktemp("raw")
    source = gallery.sources["everything"]
    git = ["git", "-C", str(stack.places.git / f"container/{source.name}.git")]
    text = subprocess.run(
        [*git, "show", "HEAD:Dockerfile"], capture_output=True, text=True, check=True
    ).stdout
    default = f"ARG PARENT={stack.addresses.registry}/demo/base"
    (folder / "Dockerfile").write_text(text.replace("ARG PARENT=demo/base", default))
    store = ("--root", f"{folder}/store", "--runroot", f"{folder}/run")

    def buildah(*words: str) -> None:
        command = ["buildah", *store, "--storage-driver", "overlay", *words]
        subprocess.run(command, check=True, capture_output=True)

    spec = f"{stack.addresses.registry}/raw/{source.name}:1"
    place = ("--isolation", "oci", "--runtime", "runc", "--network", "host")
    wanted = ("--format", "docker", "--identity-label=false", "--tls-verify=false")
    buildah("bud", "-q", *wanted, *place, "-t", spec, str(folder))
    buildah("push", "-q", "--tls-verify=false", "--format", "v2s2", spec, f"docker://{spec}")
    yield Image.pull(spec)
    buildah("rmi", "--all", "--force")


def names(image: Image) -> set[str]:
    """Paths of the newest layer that are no folders."""
    return {name for name, (entry, _) in image.top.items() if not entry.isdir()}


def test_the_index_is_a_manifest_list_with_one_image_for_amd64(gallery: Gallery):
    image = gallery["everything"]
    assert image.index_type == image.index["mediaType"] == LIST
    (entry,) = image.index["manifests"]
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert entry["mediaType"] == image.manifest["mediaType"] == MANIFEST
    assert (image.config["architecture"], image.config["os"]) == ("amd64", "linux")


@pytest.mark.parametrize(
    "key", ["everything", "own repos", "repos removed", "stages", "user", "no run", "ignored"]
)
def test_an_image_has_its_parents_layers_and_exactly_one_more(
    gallery: Gallery, base: Image, key: str
):
    image = gallery[key]
    assert image.layers[:-1] == base.layers
    assert image.config["rootfs"]["diff_ids"][:-1] == base.config["rootfs"]["diff_ids"]
    filled = [one for one in image.config["history"] if not one.get("empty_layer")]
    assert len(filled) == len(image.layers)


@pytest.mark.parametrize("key", ["scratch", "stages to scratch"])
def test_an_image_from_scratch_has_one_layer(gallery: Gallery, key: str):
    assert len(gallery[key].layers) == 1


def test_labels_say_when_what_and_from_where(gallery: Gallery):
    image, source = gallery["everything"], gallery.sources["everything"]
    labels = image.labels
    assert labels["vcs-ref"] == source.commit.sha
    assert labels["vcs-type"] == "git"
    assert labels["release"] == gallery.built("everything").release
    assert labels["architecture"] == "x86_64"
    assert labels["com.redhat.component"] == source.component
    assert labels["vendor"] == "Demo"
    assert labels["build-date"] == image.config["created"].partition(".")[0].rstrip("Z") + "Z"
    assert labels["quoted"] == 'a "b" $c'
    assert not [name for name in labels if name.startswith("io.buildah")]


CONFIG = (
    "User Entrypoint Cmd Volumes ExposedPorts Healthcheck StopSignal OnBuild Shell Env WorkingDir"
)


@pytest.mark.parametrize("key", CONFIG.split())
def test_the_config_is_that_of_a_plain_build_of_the_same_dockerfile(
    gallery: Gallery, raw: Image, key: str
):
    ours, plain = gallery["everything"].config["config"], raw.config["config"]
    assert plain.get(key), "the Dockerfile is meant to set it"
    assert ours.get(key) == plain[key]


def test_the_config_has_no_other_settings_than_a_plain_build(gallery: Gallery, raw: Image):
    def told(config: dict[str, Any]) -> dict[str, Any]:
        odd = ("Labels", "Image", "Hostname")
        return {name: value for name, value in config.items() if value and name not in odd}

    assert told(gallery["everything"].config["config"]) == told(raw.config["config"])
    added = set(gallery["everything"].labels) - set(raw.labels)
    assert added == {"build-date", "vcs-ref", "vcs-type"}  # the parent has a release, too


@pytest.mark.parametrize("key", list(DOCKERFILES))
def test_nothing_in_an_image_speaks_of_the_repos_of_its_build(gallery: Gallery, key: str):
    image = gallery[key]
    text = json.dumps(image.config) + json.dumps(image.manifest)
    assert "koji-containerbuild-f43" not in text
    assert "yum.repos.d" not in text or key.startswith(("own", "repo", "everything"))
    assert "with-repos" not in text and "localhost/" not in text
    assert not [name for name in image.top if "koji-containerbuild" in name]
    for name, (entry, content) in image.top.items():
        assert b"koji-containerbuild-f43" not in content, name
        stub = entry.isreg() and not entry.size and name.startswith("etc/") and "/.wh." not in name
        assert not stub or name in STUBS_OF_BUILDAH, f"{name} is empty"


# Plain buildah leaves them after a RUN when the parent has no such files.
STUBS_OF_BUILDAH = ("etc/hostname", "etc/hosts", "etc/resolv.conf")


def test_the_layer_has_nothing_more_than_that_of_a_plain_build_but_what_we_add(
    gallery: Gallery, raw: Image
):
    added = set(gallery["everything"].top) - set(raw.top)
    name = f"demo-{gallery.sources['everything'].name}-1-1"
    assert added - {"root"} == {
        "help.1",
        "root/buildinfo",
        f"root/buildinfo/Dockerfile-{name}",
        f"root/buildinfo/Dockerfile.original-{name}",
    }
    assert set(raw.top) <= set(gallery["everything"].top)


@pytest.mark.parametrize("key", ["everything", "stages", "user", "no run", "ignored", "scratch"])
def test_the_repo_folder_is_not_touched(gallery: Gallery, key: str):
    assert not [name for name in gallery[key].top if name.startswith("etc/yum.repos.d")]


def test_the_repos_were_there_during_the_build(gallery: Gallery):
    _, seen = gallery["everything"].top["seen"]
    assert seen.strip() == b"1"


def test_a_dockerfile_keeps_the_repo_files_that_it_writes(gallery: Gallery):
    image = gallery["own repos"]
    found = {name: one for name, one in image.top.items() if "yum.repos.d/" in name}
    assert set(found) == {"etc/yum.repos.d/own.repo", "etc/yum.repos.d/copied.repo"}
    entry, content = found["etc/yum.repos.d/own.repo"]
    assert (content, entry.mode & 0o777) == (b"[own]\n", 0o600)


def test_a_dockerfile_may_remove_all_repo_files(gallery: Gallery):
    found = [name for name in names(gallery["repos removed"]) if "yum.repos.d" in name]
    assert found == []
    assert "usr/bin/hello" in names(gallery["repos removed"])


def test_a_dockerfile_may_remove_the_repo_folder(gallery: Gallery):
    found = [name for name in gallery["repo folder removed"].top if "yum.repos.d" in name]
    assert found == ["etc/.wh.yum.repos.d"]


def test_files_are_copied_out_of_another_stage(gallery: Gallery):
    image = gallery["stages"]
    assert image.top["made"][1] == b"made\n"
    assert image.top["copied/tree/deep"][1] == b"deep\n"
    assert "usr/bin/hello" not in image.top
    assert gallery["stages to scratch"].top["made"][1] == b"made\n"


@pytest.mark.parametrize("key", ["everything", "user", "no run"])
def test_the_help_page_and_the_dockerfiles_are_in_the_image_and_are_roots(
    gallery: Gallery, key: str
):
    image, source = gallery[key], gallery.sources[key]
    page, text = image.top["help.1"]
    assert text.lstrip().startswith(b".nh") or b".TH" in text
    name = f"demo-{source.name}-1-{gallery.built(key).release}"
    rewritten, new = image.top[f"root/buildinfo/Dockerfile-{name}"]
    original, old = image.top[f"root/buildinfo/Dockerfile.original-{name}"]
    assert (page.uid, rewritten.uid, original.uid) == (0, 0, 0)
    assert old.decode().splitlines()[-1] == DOCKERFILES[key][0].splitlines()[-1]
    assert b"FROM demo/base:1" in old or b"FROM ${PARENT}:1" in old
    assert b"demo/base@sha256:" in new and b'"vcs-ref"=' in new


@pytest.mark.parametrize("key", ["scratch", "ignored", "stages to scratch", "onbuild"])
def test_the_dockerfile_is_in_every_image_and_no_help_page_without_help_md(
    gallery: Gallery, key: str
):
    found = {name for name in names(gallery[key]) if name.startswith(("root/", "help"))}
    name = f"demo-{gallery.sources[key].name}-1-{gallery.built(key).release}"
    assert found == {
        f"root/buildinfo/Dockerfile-{name}",
        f"root/buildinfo/Dockerfile.original-{name}",
    }


def test_user_is_the_one_of_the_dockerfile_and_runs_what_comes_after_it(gallery: Gallery):
    image = gallery["user"]
    assert image.config["config"]["User"] == "1001"
    assert image.top["tmp/who"][1].startswith(b"uid=1001 gid=0")
    assert "usr/bin/hello" in image.top


def test_a_dockerignore_that_ignores_everything_does_not_reach_what_we_add(gallery: Gallery):
    image = gallery["ignored"]
    assert "file" not in image.top
    assert image.labels["vcs-ref"] == gallery.sources["ignored"].commit.sha


def test_the_triggers_of_a_parent_run_in_its_child_once(stack: Stack, gallery: Gallery):
    parent = gallery["onbuild"]
    triggers = ["RUN echo from the parent >> /triggered", "COPY file /from-the-child"]
    assert parent.config["config"]["OnBuild"] == triggers
    assert "triggered" not in parent.top
    name = gallery.sources["onbuild"].name
    seen = "test -f /triggered && test -f /from-the-child && ls /etc/yum.repos.d | wc -l > /seen"
    dockerfile = f"FROM demo/{name}:latest\n@LABELS@\nRUN {seen}\n"
    built = gallery.builds.good(dockerfile, {"file": "child"})
    child = gallery.builds.image(built)
    assert child.layers[:-1] == parent.layers
    assert child.top["triggered"][1] == b"from the parent\n"
    assert child.top["from-the-child"][1] == b"child"
    assert child.top["seen"][1].strip() == b"1"
    assert not child.config["config"].get("OnBuild")


def test_the_same_commit_gives_the_same_files_twice(gallery: Gallery):
    """Only labels and what carries release or date differ."""
    first = gallery["stages"]
    again = gallery.builds.start(gallery.sources["stages"]).done()
    assert again.state == "CLOSED", again.fault
    second = gallery.builds.image(again)
    kept = {name for name in first.top if "buildinfo/" not in name}
    assert kept == {name for name in second.top if "buildinfo/" not in name}
    assert first.layers[:-1] == second.layers[:-1]
    assert all(first.top[name][1] == second.top[name][1] for name in kept)


COPIED = """\
FROM demo/base:1 AS build
RUN echo x > /etc/own
FROM demo/base:1
@LABELS@
COPY --from=build /etc {folder}
"""


@pytest.mark.parametrize("folder", ["/etc", "/copied"])
def test_a_copied_folder_of_another_stage_brings_no_repo_file_along(builds: Builds, folder: str):
    image = builds.image(builds.good(COPIED.format(folder=folder)))
    assert f"{folder[1:]}/own" in image.top
    assert not [name for name in image.top if "koji-containerbuild-" in Path(name).name]


CHAIN = """\
FROM demo/base:1 AS one
RUN echo 1 > /tmp/one && echo 1 > /tmp/gone && mkdir /tmp/d && echo 1 > /tmp/d/one
FROM one AS two
RUN rm -rf /tmp/gone && echo 2 > /tmp/d/two
FROM two
RUN echo 3 > /tmp/d/one
@LABELS@
"""


def test_stages_that_stand_on_stages_give_one_layer_all_the_same(builds: Builds):
    image = builds.image(builds.good(CHAIN))
    assert len(image.layers) == 2
    assert {"tmp/one", "tmp/d/one", "tmp/d/two"} <= set(image.top)
    assert "tmp/gone" not in image.top
