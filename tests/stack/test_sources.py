"""Files that are not in git: from the lookaside cache, from a URL, from another Koji build."""

from __future__ import annotations

import hashlib

from koji_containerbuild.devstack import base_build
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds, Source

BODY = bytes(range(256)) * 8192  # 2 MiB
DOCKERFILE = """\
FROM demo/base:1
@LABELS@
COPY big.bin /big.bin
COPY artifacts /artifacts
"""


def with_lookaside(stack: Stack, builds: Builds, line: str = "") -> Source:
    """A repository whose `sources` names big.bin, with this line or the right one."""
    source = builds.source("FROM demo/base:1\n@LABELS@\nCOPY big.bin /big.bin\n")
    upload = stack.lookaside.upload(f"container/{source.name}", "big.bin", BODY)
    return builds.change(source, {"sources": line or upload})


def test_files_from_all_three_places_are_in_the_image(stack: Stack, builds: Builds):
    url = stack.lookaside.publish("free/tool.zip", b"tool")
    code = stack.lookaside.publish("free/tool-src.tar.gz", b"source")
    source = builds.source(
        DOCKERFILE,
        {
            "fetch-artifacts-url.yaml": f"- url: {url}\n  target: bin/tool.zip\n"
            f"  sha256: {hashlib.sha256(b'tool').hexdigest()}\n"
            f"  source-url: {code}\n  source-md5: {hashlib.md5(b'source').hexdigest()}\n",
            "fetch-artifacts-koji.yaml": f"- nvr: {base_build.NVR}\n"
            "  archives:\n  - filename: docker-image-*.x86_64.tar.gz\n",
        },
    )
    line = stack.lookaside.upload(f"container/{source.name}", "big.bin", BODY)
    built = builds.start(builds.change(source, {"sources": line})).done()
    assert built.state == "CLOSED", built.fault
    base = builds.session.getBuild(base_build.NVR)["id"]
    archives = builds.session.listArchives(buildID=base, type="image")
    (archive,) = (one for one in archives if one["filename"].endswith(".x86_64.tar.gz"))
    image = builds.image(built)
    assert image.top["big.bin"][1] == BODY
    assert image.top["artifacts/bin/tool.zip"][1] == b"tool"
    fetched = image.top[f"artifacts/{archive['filename']}"][1]
    assert hashlib.md5(fetched).hexdigest() == archive["checksum"]
    (made,) = builds.session.listArchives(buildID=built.build["id"], type="image")
    used = builds.session.listArchives(imageID=made["id"])
    assert [one["id"] for one in used] == [archive["id"]]
    (kept,) = builds.session.listArchives(buildID=built.build["id"], type="remote-source-file")
    assert (kept["filename"], kept["extra"]["source-url"]) == ("tool-src.tar.gz", code)


def test_a_wrong_checksum_fails_the_build_and_names_file_url_and_both_sums(
    stack: Stack, builds: Builds
):
    source = with_lookaside(stack, builds)
    right, wrong = hashlib.sha512(BODY).hexdigest(), hashlib.sha512(b"other").hexdigest()
    place = f"container/{source.name}/big.bin/sha512/{wrong}/big.bin"
    url = stack.lookaside.publish(place, BODY)
    changed = builds.change(source, {"sources": f"SHA512 (big.bin) = {wrong}\n"})
    built = builds.start(changed).done()
    assert built.state == "FAILED"
    for words in ("Stage 'fetch source' failed", "big.bin", url, right, wrong):
        assert words in built.fault


def test_the_second_build_takes_the_file_from_the_builder(stack: Stack, builds: Builds):
    source = with_lookaside(stack, builds)
    builds.start(source, scratch=True).done()
    built = builds.start(source, scratch=True).done()
    assert built.state == "CLOSED", built.fault
    log = builds.output(built.task, "x86_64.log").decode()
    assert "big.bin: 2.0 MiB, kept from an earlier build" in log
