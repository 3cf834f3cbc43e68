"""A hub as a builder host sees it, with state: targets, reservations, imports, tags, uploads.

Its answers and refusals are those of Koji 1.35 (kojihub.py); tests/stack holds them to the truth.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import koji

STATES = koji.BUILD_STATES
_NONE: Mapping[str, str] = {}


class FakeKojiSession:
    """koji.ClientSession of a host, for the calls that we use."""

    def __init__(self, version: str = "1.35.0") -> None:
        self.version = version
        self.callnum = 0  # koji's own count of the session's calls
        self.connections = 1
        self.arches = "x86_64"
        self.tag_extra: dict[str, Any] = {}
        self.locked = False
        self.packages: dict[str, dict[str, Any]] = {"web-container": {"blocked": False}}
        self.task_states: dict[int, int] = {7: koji.TASK_STATES["OPEN"]}
        self.builds: dict[str, dict[str, Any]] = {}
        self.tokens: dict[int, str] = {}
        self.tags: dict[int, list[str]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.imported: list[dict[str, Any]] = []
        self.rpms: dict[tuple[str, ...], dict[str, Any]] = {}  # that Koji has: by n, v, r, arch
        self.archives: list[dict[str, Any]] = []
        self.sigs: dict[int, tuple[str, ...]] = {}  # key ids by RPM id
        self.archive_rpms: dict[int, list[dict[str, Any]]] = {}
        self.reserved: list[dict[str, Any]] = []
        self.build_types = {"image", "maven", "win", "remote-source-file"}
        self.refuse: dict[str, list[Exception]] = {}  # by call: raised once each, then it works
        self.lose_reply: set[str] = set()  # calls that are done, and whose reply is lost
        self.may_import = True
        self.full = ""  # folders that begin so take no files
        self.host = SimpleNamespace(tagBuild=self._tag_build)

    def new_session(self) -> None:
        """A connection that is shared with nobody."""
        self.connections += 1

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name.startswith("_") or not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.refuse.get(name):
                raise self.refuse[name].pop(0)
            answer = value(*args, **kwargs)
            if name in self.lose_reply:
                raise ConnectionError("connection reset")
            return answer

        return call

    # -- what there is

    def getKojiVersion(self) -> str:
        return self.version

    def getLoggedInUser(self) -> dict[str, Any]:
        return {"id": 5, "name": "builder1"}

    def getAPIVersion(self) -> int:
        return koji.API_VERSION

    def getLastEvent(self) -> dict[str, Any]:
        return {"id": 99}

    def getBuildTargets(self) -> list[dict[str, Any]]:
        return [{"name": "f43"}]

    def getBuildTarget(self, name: str, event: int) -> Optional[dict[str, Any]]:
        if name != "f43":
            return None
        return {"name": "f43", "build_tag": 1, "build_tag_name": "f43-build", "dest_tag": 2,
                "dest_tag_name": "f43-candidate"}  # fmt: skip

    def getBuildConfig(self, tag: int, event: int) -> dict[str, Any]:
        return {"arches": self.arches, "extra": self.tag_extra}

    def getTag(self, tag: int, event: int) -> dict[str, Any]:
        return {"id": 2, "name": "f43-candidate", "locked": self.locked}

    def getRepo(self, tag: int) -> dict[str, Any]:
        return {"id": 12, "create_event": 98}

    def getUser(self, user: int) -> dict[str, Any]:
        return {"id": user, "name": "packager"}

    def getChannel(self, channel: int) -> dict[str, Any]:
        return {"id": channel, "name": "container-binary"}

    def getPackageConfig(self, tag: int, package: str) -> Optional[dict[str, Any]]:
        return self.packages.get(package)

    def getTaskInfo(self, task_id: int) -> Optional[dict[str, Any]]:
        return {"state": self.task_states[task_id]} if task_id in self.task_states else None

    def getBuild(self, info: Any) -> Optional[dict[str, Any]]:
        return next((b for b in self.builds.values() if info in (b["nvr"], b["id"])), None)

    def listArchives(self, buildID: int, type: str = "") -> list[dict[str, Any]]:  # noqa: N803
        """What is of Maven or Windows alone is told only to who asks for that type."""
        special = ("group_id", "artifact_id", "version", "relpath")
        here = (row for row in self.archives if row["build_id"] == buildID)
        rows = [row for row in here if type in ("", row["btype"])]
        return [{k: v for k, v in row.items() if type or k not in special} for row in rows]

    def listBTypes(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in sorted(self.build_types)]

    def getArchiveType(self, filename: str) -> Optional[dict[str, Any]]:
        return {"name": "tar"} if filename.endswith((".tar.gz", ".zip", ".jar")) else None

    def listTags(self, build: int) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.tags.get(build, [])]

    def listTagged(
        self, tag: str, package: str, latest: bool, type: str, inherit: bool = False
    ) -> list[dict[str, Any]]:
        """kojihub.readTaggedBuilds: complete builds, the one that was tagged last comes first."""
        assert (latest, type, inherit) == (True, "image", False)
        tagged = [build for build in self._images(package) if tag in self.tags.get(build["id"], ())]
        order = list(self.tags)
        return sorted(tagged, key=lambda build: -order.index(build["id"]))[:1]

    def listBuilds(
        self,
        packageID: str,
        queryOpts: dict[str, Any],
        state: Optional[int] = None,
        type: Optional[str] = None,
        pattern: str = "*",
    ) -> list[dict[str, Any]]:
        assert queryOpts["order"] in ("-build_id", "-completion_time")  # the same here
        assert type in (None, "image")
        builds = self._images(packageID) if type else self._of_package(packageID)
        found = [
            build
            for build in builds
            if state in (None, build["state"]) and fnmatch(build["nvr"], pattern)
        ]
        return found[::-1][: queryOpts["limit"]]

    def _of_package(self, package: str) -> list[dict[str, Any]]:
        builds = (build for build in self.builds.values() if build["name"] == package)
        return [{**build, "build_id": build["id"]} for build in builds]

    def _images(self, package: str) -> list[dict[str, Any]]:
        with_image = {archive["build_id"] for archive in self.archives}
        return [
            {**build, "build_id": build["id"]}
            for build in self.builds.values()
            if build["name"] == package and build["state"] == STATES["COMPLETE"]
            if build["id"] in with_image
        ]

    def listRPMs(self, imageID: int) -> list[dict[str, Any]]:
        return self.archive_rpms.get(imageID, [])

    def getRPM(self, rpminfo: dict[str, Any]) -> Optional[dict[str, Any]]:
        return self.rpms.get(tuple(rpminfo[k] for k in ("name", "version", "release", "arch")))

    def queryRPMSigs(self, rpm_id: int) -> list[dict[str, Any]]:
        return [{"rpm_id": rpm_id, "sigkey": key, "sighash": ""} for key in self.sigs[rpm_id]]

    def _import_archives(self, build_id: int, outputs: list[dict[str, Any]]) -> None:
        """kojihub.CG_Importer: packages that Koji does not have are left out."""
        for output in outputs:
            if output["type"] == "log":
                continue
            number = len(self.archives) + 1
            self.archives.append(
                {"id": number, "build_id": build_id, "filename": output["filename"],
                 "btype": next(iter(output["extra"].get("typeinfo", {"image": {}}))),
                 "arch": output["extra"].get("image", {}).get("arch"), "extra": output["extra"]}
            )  # fmt: skip
            parts = output.get("components", ())
            found = [self.getRPM(each) for each in parts if each.get("type", "rpm") == "rpm"]
            self.archive_rpms[number] = [rpm for rpm in found if rpm]

    def add_rpm(self, name: str, version: str, release: str = "1", arch: str = "x86_64") -> None:
        """A package of some other build, with a checksum of its own."""
        md5 = hashlib.md5(f"{name}-{version}-{release}.{arch}".encode()).hexdigest()
        self.rpms[name, version, release, arch] = {
            "name": name, "version": version, "release": release, "epoch": None, "arch": arch,
            "payloadhash": md5, "id": len(self.rpms) + 1, "external_repo_id": 0,
        }  # fmt: skip

    def add_build(self, nvr: str, outputs: list[dict[str, Any]], *tags: str) -> int:
        """A complete build; `outputs` as in content generator metadata."""
        name, version, release = nvr.rsplit("-", 2)
        number = len(self.builds) + 1
        self.builds[nvr] = {"name": name, "version": version, "release": release, "nvr": nvr,
                            "id": number, "state": STATES["COMPLETE"]}  # fmt: skip
        self._import_archives(number, outputs)
        if tags:
            self.tags[number] = list(tags)
        return number

    def add_image(
        self, nvr: str, repository: str, index: str = "", archives: Mapping[str, str] = _NONE
    ) -> int:
        """The build of an image: digest of its index if there is one, and those of each arch."""
        tag = nvr.partition("-container-")[2]

        def output(arch: str, digest: str) -> dict[str, Any]:
            pull = [f"{repository}:{tag}-{arch}", f"{repository}@{digest}"]
            docker = {"digests": {"manifest": digest}, "repositories": pull}
            extra = {"image": {"arch": arch}, "docker": docker}
            return {"type": "docker-image", "filename": f"{arch}.tar.gz", "extra": extra}

        number = self.add_build(nvr, [output(*each) for each in archives.items()])
        pull = [f"{repository}@{index}", f"{repository}:{tag}"]
        image = {"index": {"digests": {"list": index}, "pull": pull}} if index else {}
        self.builds[nvr]["extra"] = {"image": image, "typeinfo": {"image": image}}
        return number

    @contextmanager
    def _multicall(self) -> Iterator[Any]:
        session = self

        class Calls:
            def __getattr__(self, name: str) -> Any:
                return lambda *a, **k: SimpleNamespace(result=getattr(session, name)(*a, **k))

        yield Calls()

    def multicall(self, strict: bool, batch: Optional[int] = None) -> Any:
        return self._multicall()

    # -- reservations and imports

    def cancelBuild(self, build_id: int) -> bool:
        build = self.getBuild(build_id)
        assert build
        if build["state"] != STATES["BUILDING"]:
            return False
        build["state"] = STATES["CANCELED"]
        self.tokens.pop(build_id)
        return True

    def CGInitBuild(self, generator: str, data: dict[str, Any]) -> dict[str, Any]:
        if not self.may_import:
            raise koji.ActionNotAllowed(f"Content generator import denied: {generator}")
        nvr = "{name}-{version}-{release}".format(**data)
        old = self.builds.get(nvr)
        if old and old["state"] not in (STATES["FAILED"], STATES["CANCELED"]):
            raise koji.GenericError(f"Build already exists (id={old['id']}, state=BUILDING)")
        number = old["id"] if old else len(self.builds) + 1
        self.builds[nvr] = {**data, "nvr": nvr, "id": number, "state": STATES["BUILDING"]}
        self.tokens[number] = f"secret-{len(self.reserved)}"
        self.reserved.append(dict(data))
        return {"build_id": number, "token": self.tokens[number]}

    def CGRefundBuild(self, generator: str, build_id: int, token: str, state: int) -> None:
        build = self.getBuild(build_id)
        assert build
        if build["state"] != STATES["BUILDING"]:
            raise koji.GenericError("Build is not in BUILDING state")
        if self.tokens[build_id] != token:
            raise koji.GenericError("Token doesn't match")
        build["state"] = state

    def CGImport(self, metadata: str, folder: str, token: str) -> dict[str, Any]:
        document = json.loads(self.uploads[f"{folder}/{metadata}"])
        build = self.getBuild(document["build"]["build_id"])
        assert build
        if build["state"] != STATES["BUILDING"] or self.tokens[build["id"]] != token:
            raise koji.GenericError("Token doesn't match")
        for output in document["output"]:
            data = self.uploads[f"{folder}/{output['filename']}"]
            if (len(data), hashlib.md5(data).hexdigest()) != (
                output["filesize"],
                output["checksum"],
            ):
                raise koji.GenericError(f"Size or checksum mismatch for {output['filename']}")
        build["state"] = STATES["COMPLETE"]
        extra = document["build"].get("extra", {})
        build["extra"] = {**extra, "typeinfo": {"image": extra.get("image")}}
        self._import_archives(build["id"], document["output"])
        self.imported.append(document)
        return build

    def _tag_build(self, task_id: int, tag: str, build: int) -> None:
        if self.refuse.get("tagBuild"):
            raise self.refuse["tagBuild"].pop(0)
        self.tags.setdefault(build, []).append(tag)

    # -- files

    def uploadWrapper(self, path: str, folder: str, name: str, blocksize: int) -> None:
        self.uploads[f"{folder}/{name}"] = bytearray(Path(path).read_bytes())

    def uploadFile(
        self, folder: str, name: str, size: int, md5: str, offset: str, data: str
    ) -> bool:
        if self.full and folder.startswith(self.full):
            raise koji.GenericError("quota")
        block = base64.b64decode(data)
        assert (len(block), hashlib.md5(block).hexdigest()) == (size, md5)
        file = self.uploads.setdefault(f"{folder}/{name}", bytearray())
        end = int(offset) + len(block)
        if len(file) < end:
            file.extend(bytes(end - len(file)))
        file[int(offset) : end] = block
        return True
