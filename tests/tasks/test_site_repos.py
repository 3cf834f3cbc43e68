"""The site's proxy and CAs in the .repo files of a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from koji_containerbuild.config import ReposConfig
from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.tasks.site_repos import as_the_site_fetches

FILES = (RepoFile("koji-containerbuild-x.repo", "[x]\nbaseurl=https://r/\n", "https://r/x.repo"),)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


def test_a_site_that_wants_nothing_changes_nothing():
    assert as_the_site_fetches(FILES, ReposConfig()) == FILES


def test_proxy_and_cas_are_in_every_section_and_the_cas_lie_beside(tmp_path: Path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    site = ReposConfig(proxy="http://proxy:3128", ca_bundle=f"{tmp_path}/ca.pem")
    repo, ca = as_the_site_fetches(FILES, site)
    assert "proxy=http://proxy:3128\n" in repo.text
    assert "sslcacert=/etc/yum.repos.d/koji-containerbuild-ca.pem\n" in repo.text
    assert repo.url == FILES[0].url
    assert ca == RepoFile("koji-containerbuild-ca.pem", CERTIFICATE)


def test_without_repos_there_is_nothing_to_fetch(tmp_path: Path):
    assert as_the_site_fetches((), ReposConfig(ca_bundle=f"{tmp_path}/none")) == ()


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "cannot read"),
        (b"\xff", "cannot read"),
        (b"hello", "no file of certificates"),
        (CERTIFICATE.encode() + b"-----BEGIN RSA PRIVATE KEY-----", "no file of certificates"),
        (b"x" * (1024 * 1024 + 1), "is larger than"),
    ],
)
def test_a_bundle_that_is_none_is_the_administrators_mistake(
    tmp_path: Path, text: bytes | None, words: str
):
    if text is not None:
        (tmp_path / "ca.pem").write_bytes(text)
    with pytest.raises(ConfigError, match=rf"ca_bundle in \[repos\].*{words}"):
        as_the_site_fetches(FILES, ReposConfig(ca_bundle=f"{tmp_path}/ca.pem"))


def test_a_bundle_is_named_by_its_whole_path():
    with pytest.raises(ConfigError, match="from / on"):
        as_the_site_fetches(FILES, ReposConfig(ca_bundle="ca.pem"))


def test_a_password_of_the_proxy_would_be_public():
    with pytest.raises(ConfigError, match="public") as caught:
        as_the_site_fetches(FILES, ReposConfig(proxy="http://me:secret@proxy:1"))
    assert "secret" not in str(caught.value)
