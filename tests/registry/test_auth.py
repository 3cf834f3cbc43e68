"""Passwords: found where docker and podman put them, and shown to nobody."""

from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path

import pytest

from koji_containerbuild.errors import ConfigError
from koji_containerbuild.registry.auth import AuthFile, Credential


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def write(tmp_path: Path):
    def written(document: object) -> AuthFile:
        path = tmp_path / "auth.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return AuthFile(str(path))

    return written


def user(credential: Credential | None) -> str:
    assert credential
    return base64.b64decode(credential.header.removeprefix("Basic ")).decode()


def test_the_longest_entry_that_fits_is_used(write):
    entries = {"quay.io": auth("a:1"), "quay.io/org": auth("b:2"), "quay.io/org/web": auth("c:3")}
    file = write({"auths": entries})
    assert user(file.find("quay.io", "other/web")) == "a:1"
    assert user(file.find("quay.io", "org/app")) == "b:2"
    assert user(file.find("quay.io", "org/web")) == "c:3"
    assert user(file.find("quay.io", "org/web/deep")) == "c:3"
    assert user(file.find("quay.io", "organ")) == "a:1"
    assert file.find("quay.io:443", "org/web") is None


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"]
)
def test_docker_hub_is_found_under_all_its_names(write, key):
    assert (
        user(write({"auths": {key: auth("hub:1")}}).find("docker.io", "library/busybox")) == "hub:1"
    )


def test_a_registry_that_the_file_does_not_name_is_asked_as_nobody(write):
    assert write({"auths": {"quay.io": auth("a:1")}}).find("example.com", "x") is None
    assert write({}).find("example.com", "x") is None
    assert AuthFile("").find("example.com", "x") is None


@pytest.mark.parametrize(
    "document",
    [{"credHelpers": {"quay.io": "gcloud"}}, {"credsStore": "desktop", "auths": {"quay.io": {}}}],
)
def test_a_credential_helper_is_not_run_but_named(write, document):
    with pytest.raises(ConfigError, match=r"credential helper.*podman login --authfile .* quay.io"):
        write(document).find("quay.io", "web")
    assert write(document).find("example.com", "web") is None


def test_a_password_in_the_file_wins_over_a_helper(write):
    document = {"credHelpers": {"quay.io": "gcloud"}, "auths": {"quay.io": auth("a:1")}}
    assert user(write(document).find("quay.io", "web")) == "a:1"


def test_a_missing_file_is_the_admins_to_mend(tmp_path: Path):
    with pytest.raises(ConfigError, match="nothere cannot be read: No such file"):
        AuthFile(str(tmp_path / "nothere")).find("quay.io", "web")


@pytest.mark.parametrize(
    "document",
    [
        "{ s3cret",
        "[]",
        {"auths": {"quay.io": {"auth": "s3cret"}}},
        {"auths": {"quay.io": "s3cret"}},
    ],
)
def test_a_broken_file_is_named_and_its_secrets_are_not_shown(write, document):
    with pytest.raises(ConfigError, match="auth.json") as caught:
        write(document).find("quay.io", "web")
    shown = traceback.format_exception(type(caught.value), caught.value, caught.tb)
    assert "s3cret" not in "".join(shown)


def test_a_credential_does_not_show_what_it_holds():
    assert "c2VjcmV0" not in repr(Credential("Basic c2VjcmV0", entry="quay.io"))
