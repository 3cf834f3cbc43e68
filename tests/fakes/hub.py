"""A small working Koji hub: users, tags, targets, tasks with output files, builds.

`FakeHub.session()` is what koji.ClientSession is: calls cross the wire as XML and come back as
Koji's errors. `buildContainer` is the real hub plugin, loaded as the hub loads it, with this hub
in place of the module `kojihub`.
"""

from __future__ import annotations

import base64
import pathlib
import sys
import types
from typing import Any, Callable, Optional
from xmlrpc.client import Fault

import koji
import koji.plugin
import koji.xmlrpcplus
from koji.context import context

HUB_PLUGINS = str(pathlib.Path(__file__).parents[2] / "hub")
ANONYMOUS = ""


class FakeHub:
    def __init__(self) -> None:
        self.admins = {"admin"}
        self.channels = {"default", "container-binary", "slow"}
        self.tags: dict[int, dict[str, Any]] = {}
        self.targets: dict[str, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.results: dict[int, Any] = {}
        self.outputs: dict[int, dict[str, bytes]] = {}
        self.builds: dict[int, dict[str, Any]] = {}
        self.builder: Callable[[int], None] = lambda task_id: None  # runs when a task is made
        self.away: Optional[Exception] = None  # what every call fails with
        self.calls: list[str] = []
        self.plugin = self._load_plugin()

    # -- what a site has

    def add_target(self, name: str, dest_tag: str, locked: bool = False) -> None:
        tag_id = len(self.tags) + 1
        self.tags[tag_id] = {"id": tag_id, "name": dest_tag, "locked": locked, "arches": "x86_64"}
        self.targets[name] = {
            "id": len(self.targets) + 1, "name": name,
            "build_tag": tag_id, "build_tag_name": f"{name}-build",
            "dest_tag": tag_id, "dest_tag_name": dest_tag,
        }  # fmt: skip

    # -- the module `kojihub`, as far as the plugin uses it

    def make_task(self, method: str, arglist: list[Any], **opts: Any) -> int:
        if not context.session.logged_in:
            raise koji.GenericError("task must have an owner")
        if opts["channel"] not in self.channels:
            raise koji.GenericError(f"No such channel: {opts['channel']}")
        params = koji.tasks.parse_task_params(method, arglist)  # as for the policies
        task_id = len(self.tasks) + 1
        self.tasks[task_id] = {
            "id": task_id, "method": method, "request": arglist, "params": params,
            "state": koji.TASK_STATES["FREE"], "host_id": None, "start_time": None,
            "priority": opts.get("priority", koji.PRIO_DEFAULT), "channel": opts["channel"],
            "owner": context.session.user_id,
        }  # fmt: skip
        self.outputs[task_id] = {}
        self.builder(task_id)
        return task_id

    def get_build_target(self, info: str) -> Optional[dict[str, Any]]:
        return self.targets.get(info)

    def get_build_targets(self) -> list[dict[str, Any]]:
        return list(self.targets.values())

    def get_tag(self, info: int) -> Optional[dict[str, Any]]:
        return self.tags.get(info)

    # -- what kojid does to a task

    def open(self, task_id: int) -> None:
        self.tasks[task_id].update(
            state=koji.TASK_STATES["OPEN"], host_id=1, start_time=f"run {len(self.calls)}"
        )

    def write(self, task_id: int, name: str, text: str) -> None:
        files = self.outputs[task_id]
        files[name] = files.get(name, b"") + text.encode()

    def close(self, task_id: int, result: Any) -> None:
        self.tasks[task_id]["state"] = koji.TASK_STATES["CLOSED"]
        self.results[task_id] = result

    def fail(self, task_id: int, code: int, text: str) -> None:
        self.tasks[task_id]["state"] = koji.TASK_STATES["FAILED"]
        self.results[task_id] = Fault(code, text)

    def cancel(self, task_id: int) -> None:
        self.tasks[task_id]["state"] = koji.TASK_STATES["CANCELED"]

    # -- clients

    def session(self, user: str = "packager") -> FakeSession:
        return FakeSession(self, user)

    def _load_plugin(self) -> Any:
        kojihub: Any = types.ModuleType("kojihub")
        for name in ("make_task", "get_build_target", "get_build_targets", "get_tag"):
            setattr(kojihub, name, getattr(self, name))
        before = sys.modules.get("kojihub")
        sys.modules["kojihub"] = kojihub
        try:
            tracker = koji.plugin.PluginTracker(path=HUB_PLUGINS)
            return tracker.load("hub_containerbuild", reload=True)
        finally:
            sys.modules.pop("kojihub")
            if before:
                sys.modules["kojihub"] = before


class _Login:
    """The hub's own side of a session: koji.auth.Session."""

    def __init__(self, hub: FakeHub, user: str):
        self.user_id = user
        self.logged_in = bool(user)
        self._admin = user in hub.admins

    def hasPerm(self, name: str) -> bool:  # noqa: N802
        return self._admin and name == "admin"

    def assertLogin(self) -> None:  # noqa: N802
        if not self.logged_in:
            raise koji.ActionNotAllowed("you must be logged in for this operation")


class FakeSession:
    """koji.ClientSession, for the calls that we use."""

    def __init__(self, hub: FakeHub, user: str):
        self._hub = hub
        self._user = user
        self.logged_in = bool(user)
        self.opts: dict[str, Any] = {}
        self.baseurl = "http://hub.example.com/kojihub"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(_Calls, name):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(name, args, kwargs)

    def logout(self) -> None:
        if self.logged_in:
            self._call("logout", (), {})
            self.setSession(None)

    def setSession(self, sinfo: Any) -> None:  # noqa: N802
        self.logged_in = sinfo is not None

    def downloadTaskOutput(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: N802
        return base64.b64decode(self._call("downloadTaskOutput", args, kwargs))

    def _call(self, name: str, args: Any, kwargs: Any) -> Any:
        self._hub.calls.append(name)
        if self._hub.away:
            raise self._hub.away
        wire = koji.xmlrpcplus.dumps(koji.encode_args(*args, **kwargs), name)
        try:
            answer, _ = koji.xmlrpcplus.loads(self._serve(wire))
        except Fault as fault:
            raise koji.convertFault(fault) from None
        return answer[0]

    def _serve(self, wire: str) -> str:
        """kojixmlrpc: a handler's error becomes a fault."""
        params, name = koji.xmlrpcplus.loads(wire)
        args, kwargs = koji.decode_args(*params)
        context.session = _Login(self._hub, self._user if self.logged_in else ANONYMOUS)
        try:
            func = getattr(_Calls(self._hub), name)
            answer = koji.util.call_with_argcheck(func, args, kwargs)
            return koji.xmlrpcplus.dumps((answer,), methodresponse=1)
        except Fault as fault:
            return koji.xmlrpcplus.dumps(fault)
        except koji.GenericError as error:
            return koji.xmlrpcplus.dumps(Fault(error.faultCode, str(error)))
        except Exception as error:  # noqa: BLE001 — so does the hub
            return koji.xmlrpcplus.dumps(Fault(1, f"{type(error)}: {error}"))
        finally:
            del context.session


class _Calls:
    """The hub's API, with its names and parameters."""

    def __init__(self, hub: FakeHub):
        self._hub = hub
        self.buildContainer = hub.plugin.buildContainer

    buildContainer: Any = None  # noqa: N815

    def logout(self) -> None:
        pass

    def getBuildTarget(self, info: str) -> Any:  # noqa: N802
        return self._hub.get_build_target(info)

    def getBuildTargets(self) -> Any:  # noqa: N802
        return self._hub.get_build_targets()

    def getTag(self, tagInfo: int) -> Any:  # noqa: N802, N803
        return self._hub.get_tag(tagInfo)

    def getBuild(self, buildInfo: int) -> Any:  # noqa: N802, N803
        return self._hub.builds.get(buildInfo)

    def getHost(self, hostInfo: int) -> Any:  # noqa: N802, N803
        return {"id": hostInfo, "name": "builder1"}

    def listTasks(self, opts: Any = None, queryOpts: Any = None) -> Any:  # noqa: N802, N803
        method = (opts or {}).get("method")
        return [{"id": n} for n, row in self._hub.tasks.items() if method in (None, row["method"])]

    def getTaskInfo(self, task_id: int, request: bool = False) -> Any:  # noqa: N802
        task = self._hub.tasks.get(task_id)
        if task is None:
            return None
        hidden = {"params"} if request else {"params", "request"}
        return {key: value for key, value in task.items() if key not in hidden}

    def getTaskResult(self, taskId: int, raise_fault: bool = True) -> Any:  # noqa: N802, N803
        state = koji.TASK_STATES[self._hub.tasks[taskId]["state"]]
        if state == "CANCELED":
            raise koji.GenericError(f"Task {taskId} is canceled")
        if state not in ("CLOSED", "FAILED"):
            raise koji.GenericError(f"Task {taskId} is not finished")
        result = self._hub.results[taskId]
        if not isinstance(result, Fault):
            return result
        if raise_fault:
            raise result
        return {"faultCode": result.faultCode, "faultString": result.faultString}

    def listTaskOutput(self, taskID: int) -> Any:  # noqa: N802, N803
        return list(self._hub.outputs[taskID])

    def downloadTaskOutput(  # noqa: N802
        self,
        taskID: int,
        fileName: str,
        offset: int = 0,
        size: int = -1,  # noqa: N803
    ) -> str:
        files = self._hub.outputs[taskID]
        if fileName not in files:
            raise koji.GenericError(f'no file "{fileName}" output by task {taskID}')
        end = None if size < 0 else offset + size
        return base64.b64encode(files[fileName][offset:end]).decode()
