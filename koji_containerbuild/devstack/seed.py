"""What the fresh Koji is told: users, host, tags, target, packages, builds, a repo.

Every step looks first, so that running it again changes nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import koji

from koji_containerbuild.devstack import postgres
from koji_containerbuild.devstack.places import Places
from koji_containerbuild.errors import ServiceError

ADMIN = "kojiadmin"
PACKAGER = "packager"
HOST = "builder1"
CONTENT_GENERATOR = "koji-containerbuild"
CHANNELS = ("default", "createrepo", "container-binary", "container-source")
BUILD_TAG = "f43-container-build"
DEST_TAG = "f43-container-candidate"
TARGET = "f43-container-candidate"
MULTI_BUILD_TAG = "f43-container-multi-build"  # the same for two arches; it has no repo at first
MULTI_TARGET = "f43-container-multi"
BUILD_TYPES = ("operator-manifests", "remote-sources", "icm", "remote-source-file")
REPO_SECONDS = 120.0


def first_users(places: Places) -> None:
    """What only SQL can do: the first admin, and the host's password."""
    postgres.sql(
        places,
        "INSERT INTO users (name, status, usertype) VALUES (%s, 0, 0) ON CONFLICT DO NOTHING",
        (ADMIN,),
    )
    postgres.sql(
        places,
        "INSERT INTO user_perms (user_id, perm_id, creator_id)"
        " SELECT u.id, p.id, u.id FROM users u, permissions p"
        " WHERE u.name = %s AND p.name = 'admin' AND NOT EXISTS"
        " (SELECT 1 FROM user_perms x WHERE x.user_id = u.id AND x.perm_id = p.id AND x.active)",
        (ADMIN,),
    )


@dataclass(frozen=True)
class Admin:
    """Things an admin does, in one line each; `session` is logged in as one."""

    session: Any
    places: Places

    def add_user(self, name: str) -> None:
        """A user without rights; Stack.session(name) logs in as them."""
        if not self.session.getUser(name):
            self.session.createUser(name)

    def add_package(self, name: str, tag: str = DEST_TAG, owner: str = PACKAGER) -> None:
        """Allow builds of this name in the tag."""
        listed = self.session.listPackages(tagID=tag)
        if name not in {package["package_name"] for package in listed}:
            self.session.packageListAdd(tag, name, owner=owner)

    def add_tag(self, name: str, **options: Any) -> None:
        """A tag; options as for Koji's createTag."""
        if not self.session.getTag(name):
            self.session.createTag(name, **options)

    def add_target(self, name: str, build_tag: str, dest_tag: str) -> None:
        """A build target."""
        if not self.session.getBuildTarget(name):
            self.session.createBuildTarget(name, build_tag, dest_tag)

    def add_host(self, name: str) -> None:
        """A builder of x86_64 that may import builds; its password is its name."""
        for channel in CHANNELS:
            if not self.session.getChannel(channel):
                self.session.addChannel(channel)
        if not self.session.getHost(name):
            self.session.addHost(name, ["x86_64"])
            self.session.editHost(name, capacity=20.0)
            # No API sets a password; plain text is how Koji 1.30 stores it.
            statement = "UPDATE users SET password = %s WHERE name = %s"
            postgres.sql(self.places, statement, (name, name))
        has = {channel["name"] for channel in self.session.listChannels(name)}
        for channel in CHANNELS:
            if channel not in has:
                self.session.addHostToChannel(name, channel)
        self.allow_generator(name, CONTENT_GENERATOR)

    def allow_generator(self, user: str, generator: str) -> None:
        """Let the user import builds as this content generator."""
        allowed = self.session.listCGs().get(generator, {"users": []})["users"]
        if user not in allowed:
            self.session.grantCGAccess(user, generator, create=True)

    def upload(self, path: Path, folder: str) -> None:
        """To the hub's work folder. Koji's client (1.36.1) never closes the file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.session.uploadWrapper(str(path), folder)

    def import_build(self, rpms: Iterable[Path], tag: str) -> str:
        """Import one source rpm with its binary ones, and tag the build; its name.

        Signatures in the files are recorded, as `koji import-sig` would.
        """
        ordered = sorted(rpms, key=lambda path: not path.name.endswith(".src.rpm"))
        nvr = ordered[0].name[: -len(".src.rpm")]
        if not self.session.getBuild(nvr):
            folder = f"cli-import/{nvr}.{time.time_ns()}"
            for path in ordered:
                self.upload(path, folder)
                self.session.importRPM(folder, path.name)
        self.add_package(koji.parse_NVR(nvr)["name"], tag)
        if tag not in {one["name"] for one in self.session.listTags(nvr)}:
            self.session.tagBuildBypass(tag, nvr)
        return nvr

    def fresh_repo(self, tag: str = BUILD_TAG) -> int:
        """The id of a repo of the tag as it is now; runs a newRepo task if there is none."""
        repo = self.session.getRepo(tag, state=koji.REPO_READY)
        tags = [self.session.getTag(tag, strict=True)["id"]]
        if repo and not self.session.tagChangedSinceEvent(repo["create_event"], tags):
            return int(repo["id"])
        task = self.session.newRepo(tag)
        deadline = time.monotonic() + REPO_SECONDS
        while not self.session.taskFinished(task):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Task {task} (newRepo {tag}) is not finished after {REPO_SECONDS:.0f} s.",
                    do="See log/kojid.log in the state folder: is the machine's load too high?",
                )
            time.sleep(0.1)
        repo_id, _event = self.session.getTaskResult(task)
        return int(repo_id)


def seed(admin: Admin) -> None:
    """All but the builds: they need kojid and the rpms."""
    admin.add_user(PACKAGER)
    admin.add_host(HOST)
    admin.add_tag(BUILD_TAG, arches="x86_64")
    admin.add_tag(DEST_TAG)
    admin.add_target(TARGET, BUILD_TAG, DEST_TAG)
    admin.add_tag(MULTI_BUILD_TAG, arches="x86_64 aarch64", parent=BUILD_TAG)
    admin.add_target(MULTI_TARGET, MULTI_BUILD_TAG, DEST_TAG)
    admin.add_package("hello-container")
    known = {kind["name"] for kind in admin.session.listBTypes()}
    for kind in BUILD_TYPES:
        if kind not in known:
            admin.session.addBType(kind)
