"""Files come whole and right, or not at all, from servers of all kinds."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from koji_containerbuild.contract.plan import Download
from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.source.fetch import FetchLimits
from koji_containerbuild.source.file_cache import FileCache
from tests.fakes.clock import FakeClock
from tests.fakes.file_server import (
    FileServer,
    both,
    broken_after,
    chunked,
    file_server,
    header,
    other_content,
    status,
    without_ranges,
)

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA512 = hashlib.sha512(BODY).hexdigest()


class Site:
    def __init__(self, server: FileServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.said: list[str] = []
        self.slept: list[float] = []
        self.limits = FetchLimits(file_mib=8, file_seconds=60, cache_mib=100)
        server.files["/big.tar"] = BODY

    @property
    def cache(self) -> FileCache:
        return FileCache(self.folder, self.limits, self.said.append, self.slept.append)

    def wanted(self, path: str = "/big.tar", **checksums: str) -> Download:
        return Download(f"{self.server.url}{path}", checksums or {"sha512": SHA512})

    def get(self, wanted: Download | None = None) -> bytes:
        out = io.BytesIO()
        self.cache.copy("big.tar", wanted or self.wanted(), out)
        return out.getvalue()

    @property
    def ranges(self) -> list[str]:
        return [wanted for _, wanted in self.server.asked]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with file_server() as server:
        yield Site(server, tmp_path / "cache")


def test_a_file_comes_whole_and_is_told_in_one_line(site: Site):
    assert site.get() == BODY
    (line,) = site.said
    assert line.startswith(f"big.tar: 1.0 MiB, from {site.server.url}/big.tar in ")


def test_the_next_build_does_not_ask_the_server(site: Site):
    site.get()
    assert site.get() == BODY
    assert len(site.server.asked) == 1
    assert site.said[-1] == "big.tar: 1.0 MiB, kept from an earlier build"


def test_all_declared_checksums_must_be_right(site: Site):
    md5 = hashlib.md5(BODY).hexdigest()
    assert site.get(site.wanted(md5=md5, sha512=SHA512)) == BODY
    with pytest.raises(BadRequest, match="its md5 is "):
        site.get(site.wanted(md5="0" * 32, sha512=SHA512))


def test_a_connection_that_breaks_off_is_taken_up_where_it_was(site: Site):
    site.server.habits = [broken_after(400_000), broken_after(500_000)]
    assert site.get() == BODY
    assert site.ranges == ["", "bytes=400000-", "bytes=900000-"]
    assert site.slept == [1.0, 1.0]
    assert site.said[0] == "big.tar: the connection broke off, with 0.4 MiB there; trying again"


def test_a_server_that_knows_no_ranges_gives_it_from_the_start(site: Site):
    site.server.habits = [broken_after(400_000), without_ranges]
    assert site.get() == BODY


def test_a_server_that_gives_another_range_is_asked_again(site: Site):
    site.server.habits = [broken_after(9), header("Content-Range", "bytes 0-9/10")]
    assert site.get() == BODY


def test_the_next_build_goes_on_with_what_an_earlier_one_has_left(site: Site):
    site.folder.mkdir()
    (site.folder / f"sha512-{SHA512}.part").write_bytes(BODY[:1000])
    assert site.get() == BODY
    assert site.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("left", [b"another file", BODY + b"more"], ids=["other", "longer"])
def test_what_is_left_of_another_file_does_no_harm(site: Site, left: bytes):
    site.folder.mkdir()
    (site.folder / f"sha512-{SHA512}.part").write_bytes(left)
    assert site.get() == BODY


def test_a_part_that_is_the_whole_is_taken(site: Site):
    site.folder.mkdir()
    (site.folder / f"sha512-{SHA512}.part").write_bytes(BODY)
    assert site.get() == BODY


def test_a_wrong_file_is_fetched_once_more(site: Site):
    site.server.habits = [other_content(b"an error page")]
    assert site.get() == BODY
    assert site.ranges == ["", ""]


def test_a_file_that_stays_wrong_is_named_with_both_checksums(site: Site):
    site.server.files["/big.tar"] = b"wrong"
    with pytest.raises(BadRequest) as caught:
        site.get()
    assert str(caught.value) == (
        f"big.tar from {site.server.url}/big.tar is not the file that the source names: "
        f"its sha512 is {hashlib.sha512(b'wrong').hexdigest()} (5 bytes), and should be {SHA512}. "
        "Correct the checksum, or upload the right file."
    )
    assert len(site.server.asked) == 2
    assert not (site.folder / f"sha512-{SHA512}").exists()


def test_a_file_that_is_mended_after_a_failure_is_fetched_from_new(site: Site):
    site.server.files["/big.tar"] = b"wrong"
    with pytest.raises(BadRequest):
        site.get()
    site.server.files["/big.tar"] = BODY
    assert site.get() == BODY


def test_a_length_that_is_not_true_does_not_end_in_a_wrong_file(site: Site):
    site.server.habits = [header("Content-Length", str(len(BODY) + 10))]
    assert site.get() == BODY


def test_a_file_of_no_known_length_is_taken(site: Site):
    site.server.habits = [header("Content-Length", "")]
    assert site.get() == BODY


def test_a_file_in_chunks_is_taken_and_a_break_in_them_is_seen(site: Site):
    site.server.habits = [both(chunked, broken_after(400_000)), without_ranges]
    assert site.get() == BODY
    assert "the connection broke off" in site.said[0]
    site.server.habits = [chunked]
    assert site.get(site.wanted(md5=hashlib.md5(BODY).hexdigest())) == BODY


def test_a_redirect_is_followed_and_an_odd_one_is_a_failure_in_words(site: Site):
    moved = both(status(302), header("Location", "/big.tar"))
    site.server.habits = [moved]
    assert site.get(site.wanted("/old")) == BODY
    site.server.habits = [both(status(302), header("Location", "http://[x/\xff"))] * 5
    with pytest.raises(ServiceError, match=r"^Cannot fetch big.tar from "):
        site.get(site.wanted("/old", md5="0" * 32))


def test_a_redirect_to_a_host_that_the_site_does_not_name_is_refused_unasked(site: Site):
    with file_server() as other:
        other.files["/big.tar"] = BODY
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        moved = both(status(302), header("Location", f"{elsewhere}/big.tar"))
        site.server.habits = [moved]
        with pytest.raises(BadRequest, match="localhost.*which is not allowed here"):
            site.get()
        assert other.asked == []
        site.limits = replace(site.limits, places=(elsewhere.removeprefix("http://"),))
        site.server.habits = [moved]
        assert site.get() == BODY


def test_a_redirect_out_of_the_place_of_a_host_is_refused(site: Site):
    place = site.server.url.removeprefix("http://") + "/pub"
    site.limits = replace(site.limits, places=(place,))
    site.server.habits = [both(status(302), header("Location", "/big.tar"))]
    with pytest.raises(BadRequest, match="which is not allowed here"):
        site.get(site.wanted("/pub/x"))


def test_a_length_in_odd_digits_is_no_length(site: Site):
    site.server.habits = [header("Content-Length", "\xb2")]
    assert site.get() == BODY


def test_a_compression_that_the_server_claims_is_left_alone(site: Site):
    """Some call every .tar.gz so; the checksum is that of the file."""
    site.server.habits = [header("Content-Encoding", "gzip")]
    assert site.get() == BODY


def test_a_busy_server_is_given_time_and_then_given_up(site: Site):
    site.server.habits = [status(503), status(429)]
    assert site.get() == BODY
    assert site.slept == [1.0, 2.0]
    site.slept.clear()
    site.server.habits = [status(503)] * 9
    with pytest.raises(
        ServiceError, match=r"^Cannot fetch big.tar from .*: the server answered 503"
    ):
        site.get(site.wanted(sha256="0" * 64))
    assert site.slept == [1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_not_there_is_a_failure_in_words(site: Site):
    with pytest.raises(ServiceError, match=r"^Cannot fetch big.tar from http://127.0.0.1:1/x: "):
        site.get(Download("http://127.0.0.1:1/x", {"md5": "0" * 32}))


def test_a_file_that_is_not_there_is_not_asked_for_twice(site: Site):
    with pytest.raises(BadRequest, match=r"^Cannot fetch big.tar: .*/none answered 404\. Is the"):
        site.get(site.wanted("/none"))
    assert len(site.server.asked) == 1


def test_a_file_above_the_limit_is_refused_before_it_is_read(site: Site):
    site.server.files["/big.tar"] = b"x" * (9 << 20)
    with pytest.raises(BadRequest, match="is larger than 8 MiB, the limit of this site"):
        site.get()
    assert (site.folder / f"sha512-{SHA512}.part").stat().st_size == 0


def test_a_file_that_hides_its_length_is_stopped_at_the_limit(site: Site):
    site.server.files["/big.tar"] = b"x" * (9 << 20)
    site.server.habits = [header("Content-Length", "")]
    with pytest.raises(BadRequest, match="is larger than 8 MiB"):
        site.get()
    assert (site.folder / f"sha512-{SHA512}.part").stat().st_size <= 8 << 20


def test_a_file_that_takes_too_long_is_given_up_and_its_part_kept(site: Site):
    clock = FakeClock()

    def time_flies() -> float:
        clock.sleep(11)
        return clock.time()

    site.server.files["/big.tar"] = BODY * 4
    cache = FileCache(site.folder, site.limits, site.said.append, site.slept.append, time_flies)
    with pytest.raises(ServiceError, match="took more than 60 s; .* are there"):
        cache.copy("big.tar", site.wanted(), io.BytesIO())
    assert re.fullmatch(r"big.tar: [\d.]+ (MiB|bytes) of 4.0 MiB so far", site.said[0])
    site.server.files["/big.tar"] = BODY
    assert site.get() == BODY


def test_nothing_of_a_netrc_is_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.get()
    assert site.server.credentials == []


def test_a_file_that_the_disk_has_damaged_is_fetched_again(site: Site):
    site.get()
    (site.folder / f"sha512-{SHA512}").write_bytes(b"damaged")
    assert site.get() == BODY
    assert len(site.server.asked) == 2


def test_builds_that_fetch_the_same_at_once_ask_once(site: Site):
    got: list[bytes] = []
    site.server.habits = [lambda answer: setattr(answer, "pause", 0.3)]
    threads = [threading.Thread(target=lambda: got.append(site.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [BODY] * 4
    assert len(site.server.asked) == 1
    assert "big.tar: another build fetches it, waiting" in site.said


def test_what_was_not_used_for_the_longest_time_makes_room(site: Site):
    for n in range(4):
        body = bytes([n]) * (1 << 20)
        site.server.files[f"/{n}"] = body
        site.get(site.wanted(f"/{n}", md5=hashlib.md5(body).hexdigest()))
    for n, path in enumerate(sorted(site.folder.iterdir())):
        os.utime(path, (n, n))
    newest = {path.name for path in sorted(site.folder.iterdir())[2:]}
    site.limits = FetchLimits(8, 60, cache_mib=2)
    site.cache.prune()
    assert {path.name for path in site.folder.iterdir()} == newest


def test_an_old_part_goes_unless_somebody_is_at_it(site: Site):
    site.folder.mkdir()
    old, used, fresh = (site.folder / f"{name}.part" for name in ("old", "used", "fresh"))
    for path in (old, used, fresh):
        path.write_bytes(b"x")
    long_ago = time.time() - 30 * 86400
    os.utime(old, (long_ago, long_ago))
    os.utime(used, (long_ago, long_ago))
    with used.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        site.cache.prune()
    assert sorted(path.name for path in site.folder.iterdir()) == ["fresh.part", "used.part"]


def test_a_break_and_a_wrong_rest_end_after_a_known_number_of_requests(site: Site):
    """A server that changes the file between two requests is not asked for ever."""
    site.server.habits = [both(other_content(b"y" * 5000), broken_after(100))] * 300
    with pytest.raises((BadRequest, ServiceError)):
        site.get()
    assert len(site.server.asked) <= 120
