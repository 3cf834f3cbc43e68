"""The repositories of tests/repos, built: what comes of the right ones, what is said of the wrong.

All are asked for at once, as on a busy day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from koji_containerbuild.devstack.git_server import Link
from tests.stack.builds import Asked, Builds, Built, unique_name
from tests.stack.images import Image

REPOS = Path(__file__).parents[1] / "repos"
EXPECT = "expect.yaml"
RIGHT = sorted(path.name for path in (REPOS / "right").iterdir())
WRONG = sorted(path.name for path in (REPOS / "wrong").iterdir())
PATIENCE = 600  # seconds for all of them, on two busy cores


def expected(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / EXPECT).read_text()) or {}


def files(folder: Path) -> dict[str, bytes | Link]:
    """`dot.gitattributes` and the like have a name that means nothing to our own repository."""
    found: dict[str, bytes | Link] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder)).replace("dot.", ".")
        if path.is_symlink():
            found[name] = Link(str(path.readlink()))
        elif path.is_file() and path.name != EXPECT:
            found[name] = path.read_bytes()
    return found


class Asking:
    """One repository, pushed, and its build asked for."""

    def __init__(self, folder: Path, builds: Builds) -> None:
        self.expect = expected(folder)
        self._builds = builds
        if self.expect.get("package"):
            builds.stack.admin.add_package(self.expect["package"])
        name = f"container/{unique_name(folder.name)}"
        self.commit = builds.stack.git.create(name, files(folder))
        usual = {"scratch": True} if folder.parent.name == "right" else {"dry_run": True}
        opts = self.expect.get("options", usual)
        where = f"?{self.expect['subfolder']}" if self.expect.get("subfolder") else ""
        self.asked: Asked = builds.start(f"{self.commit.url}{where}#{self.commit.sha}", **opts)

    def done(self) -> Built:
        return self.asked.done(PATIENCE)

    def plain(self, text: str) -> str:
        """Without what differs from run to run."""
        stack = self._builds.stack
        for value, mark in (
            (self.commit.url, "@URL@"),
            (self.commit.sha, "@COMMIT@"),
            (stack.addresses.registry, "@REGISTRY@"),
            (stack.addresses.files, "@TOPURL@"),
            (stack.addresses.lookaside.partition("://")[2], "@LOOKASIDE@"),
        ):
            text = text.replace(value, mark)
        return re.sub(r"(@sha256:)[0-9a-f]{64}", r"\1…", text)


@pytest.fixture(scope="module")
def asked(builds: Builds) -> Mapping[str, Asking]:
    folders = [REPOS / "wrong" / name for name in WRONG] + [REPOS / "right" / n for n in RIGHT]
    return {f"{path.parent.name}/{path.name}": Asking(path, builds) for path in folders}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_these_words(asked: Mapping[str, Asking], name: str):
    asking = asked[f"wrong/{name}"]
    built = asking.done()
    assert built.state == "FAILED", built.result
    assert asking.plain(built.fault) == asking.expect["message"]


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_built(asked: Mapping[str, Asking], builds: Builds, name: str):
    asking = asked[f"right/{name}"]
    built, expect = asking.done(), asking.expect
    assert built.state == "CLOSED", built.fault
    assert built.result is not None
    warnings = [asking.plain(text) for text in built.result.get("user_warnings", [])]
    assert warnings == (expect.get("warnings") or [])
    if "dry_run" in built.result:
        told = built.result["dry_run"]
        assert told["nvr"].rpartition("-")[0] == expect["nvr"]
        assert [*told["tags"], *told["floating_tags"]] == expect["tags"]
        return
    image = builds.image(built)
    check_image(image, expect)


def check_image(image: Image, expect: Mapping[str, Any]) -> None:
    labels = image.labels
    assert f"{labels['com.redhat.component']}-{labels['version']}" == expect["nvr"]
    wanted = expect.get("labels") or {}
    assert {key: labels.get(key) for key in wanted} == wanted
    env = dict(entry.split("=", 1) for entry in image.config["config"].get("Env") or ())
    wanted = expect.get("env") or {}
    assert {key: env.get(key) for key in wanted} == wanted
    for path, content in (expect.get("files") or {}).items():
        found = image.top[path][1].decode() if path in image.top else None
        assert found == content, path
