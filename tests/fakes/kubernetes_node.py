"""Controllers and node of tests/fakes/kubernetes.py: Jobs become pods, and pods processes.

As version 1.20 does it: a pod that is deleted while its Job is active is replaced by another one.
"""

from __future__ import annotations

import base64
import copy
import itertools
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from tests.fakes.kubernetes import Object, Output, Refusal

if TYPE_CHECKING:
    from tests.fakes.kubernetes import FakeKubernetes

QUOTA = "quota"
TROUBLES: dict[str, Object] = {
    "image": {
        "containerStatuses": [
            {
                "name": "buildroot",
                "state": {
                    "waiting": {
                        "reason": "ErrImagePull",
                        "message": 'rpc error: code = NotFound desc = failed to pull "x": not found',
                    }
                },
            }
        ]
    },
    "unschedulable": {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 node(s) didn't match node selector.",
            }
        ]
    },
    "mount": {
        "containerStatuses": [
            {"name": "buildroot", "state": {"waiting": {"reason": "ContainerCreating"}}}
        ]
    },
}


class Node:
    """`trouble`: what keeps new pods from starting, a key of TROUBLES or QUOTA; empty: nothing."""

    def __init__(self, cluster: FakeKubernetes) -> None:
        self.trouble = ""
        self.reason = ""  # of the ends of containers; empty: what the exit code says
        self.made = 0  # pods so far
        self.refusals: list[Object] = []  # of the next pods: their status, for which none starts
        self._cluster = cluster
        self._store = cluster.store
        self._outputs: dict[str, Output] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)
        self._closed = False

    # -- what the API server tells us, with the store's lock held

    def created(self, kind: str, found: Object) -> None:
        if kind == "jobs":
            self._make_pod(found)

    def changed(self, kind: str, found: Object) -> None:
        if kind == "jobs" and found["spec"]["parallelism"] == 0:
            for pod in self._pods_of(found):
                self._leave(pod)

    def deleted(self, kind: str, found: Object) -> None:
        if kind == "pods":
            self._leave(found)
            return
        self._store.put(kind, found, "DELETED")
        for secret in self._owned("secrets", found):
            self._store.put("secrets", secret, "DELETED")
        for pod in self._pods_of(found):
            self._leave(pod)

    def output(self, name: str) -> Output:
        if name not in self._store.of("pods"):
            raise Refusal(404, "NotFound", f'pods "{name}" not found')
        if name not in self._outputs:
            words = f'container "buildroot" in pod "{name}" is waiting to start: ContainerCreating'
            raise Refusal(400, "BadRequest", words)
        return self._outputs[name]

    # -- faults

    def pod_of(self, arch: str) -> Object:
        """The newest one."""
        with self._store.changed:
            pods = [pod for pod in self._store.of("pods").values() if _arch_of(pod) == arch]
            return pods[-1]

    def kill(self, arch: str) -> None:
        """Its process, without a word."""
        self._processes[self.pod_of(arch)["metadata"]["name"]].kill()

    def delete_pod(self, arch: str) -> None:
        with self._store.changed:
            self._leave(self.pod_of(arch))

    def end_with(self, arch: str, **status: Any) -> None:
        """As the kernel or a kubelet ends a pod, and this is why. A kubelet asks first."""
        with self._store.changed:
            pod = self.pod_of(arch)
            pod["why"] = status
            process = self._processes[pod["metadata"]["name"]]
            if "container" in status:
                process.kill()
            else:
                process.terminate()

    def lose(self, arch: str) -> None:
        """Its node does not answer, and its controller has noticed."""
        with self._store.changed:
            pod = self.pod_of(arch)
            pod["metadata"]["deletionTimestamp"] = _now()
            pod["status"].update(
                reason="NodeLost", message="Node node-1 which was running pod is unresponsive"
            )
            self._store.put("pods", pod)

    def leave_behind(self, arch: str) -> None:
        """Its node is gone: it is deleted, and nobody tells that it has ended."""
        with self._store.changed:
            pod = self.pod_of(arch)
            pod["metadata"]["deletionTimestamp"] = _now()
            self._store.put("pods", pod)

    def wait_longer(self, arch: str, reason: str, message: str) -> None:
        """Its container is still not there, and this is why."""
        with self._store.changed:
            pod = self.pod_of(arch)
            waiting = {"reason": reason, "message": message}
            pod["status"]["containerStatuses"] = [_status(pod, waiting=waiting)]
            self._store.put("pods", pod)

    def resume(self) -> None:
        """What kept pods from starting is over."""
        with self._store.changed:
            self.trouble = ""
            for pod in self._store.of("pods").values():
                if pod["status"]["phase"] == "Pending":
                    name = pod["metadata"]["name"]
                    threading.Thread(target=self._run, args=(name,), daemon=True).start()

    def exceed_deadline(self, arch: str) -> None:
        """The Job's controller deletes its pods; the Job has failed when they are gone."""
        with self._store.changed:
            pod = self.pod_of(arch)
            job = self._store.of("jobs")[pod["metadata"]["ownerReferences"][0]["name"]]
            target = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}
            job["status"] = {"conditions": [target]}
            self._store.put("jobs", job)
            self._leave(pod)

    def rotate(self, arch: str) -> None:
        self._outputs[self.pod_of(arch)["metadata"]["name"]].rotate()

    def close(self) -> None:
        with self._store.changed:  # a pod that is lost now is not made again
            self._closed = True
        for process in self._processes.values():
            process.kill()
            process.wait()

    # -- controllers

    def _make_pod(self, job: Object) -> None:
        meta = job["metadata"]
        if self.trouble == QUOTA:
            self._event(meta, "FailedCreate", _FORBIDDEN)
            return
        self.made += 1
        name = f"{meta['name']}-{next(self._numbers):05d}"
        owner = {"kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        pod = self._store.create(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "labels": {**job["spec"]["template"]["metadata"]["labels"], "job-name": "x"},
                    "ownerReferences": [owner],
                },
                "spec": job["spec"]["template"]["spec"],
                "status": {"phase": "Pending"},
            },
        )
        self.begin(pod)

    def begin(self, pod: Object) -> None:
        """A pod that has been created begins, or shows what keeps it from that."""
        name = pod["metadata"]["name"]
        if self.refusals:
            pod["status"] = {"phase": "Failed", **self.refusals.pop()}
            self._store.put("pods", pod)
            return
        if self.trouble:
            status = copy.deepcopy(TROUBLES[self.trouble])
            for each in status.get("containerStatuses", ()):
                each["name"] = pod["spec"]["containers"][0]["name"]
            pod["status"].update(status)
            self._store.put("pods", pod)
            if self.trouble == "mount":
                words = 'MountVolume.SetUp failed for volume "config": configmap "x" not found'
                self._event(pod["metadata"], "FailedMount", words)
            return
        threading.Thread(target=self._run, args=(name,), daemon=True).start()

    def _event(self, about: Object, reason: str, message: str) -> None:
        self._store.create(
            "events",
            {
                "metadata": {"name": f"{about['name']}.{next(self._numbers)}"},
                "involvedObject": {"name": about["name"], "uid": about["uid"]},
                "type": "Warning",
                "reason": reason,
                "message": message,
            },
        )

    def _owned(self, kind: str, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return [
            found
            for found in self._store.of(kind).values()
            if any(o["uid"] == uid for o in found["metadata"].get("ownerReferences") or ())
        ]

    def _pods_of(self, job: Object) -> list[Object]:
        return self._owned("pods", job)

    def _leave(self, pod: Object) -> None:
        """The pod is told to end; when it has, it goes."""
        pod["metadata"].setdefault("deletionTimestamp", _now())
        self._store.put("pods", pod)
        name = pod["metadata"]["name"]
        process = self._processes.get(name)
        if process and process.poll() is None:
            process.terminate()
        else:
            self._gone(pod)

    def _gone(self, pod: Object) -> None:
        self._store.put("pods", pod, "DELETED")
        for owner in pod["metadata"]["ownerReferences"]:
            job = self._store.of("jobs").get(owner["name"])
            conditions = job["status"]["conditions"] if job and "status" in job else []
            if job and conditions and conditions[0]["type"] == "FailureTarget":
                conditions.append({**conditions[0], "type": "Failed"})
                self._store.put("jobs", job)
            active = job and job["metadata"]["uid"] == owner["uid"] and job["spec"]["parallelism"]
            if job and active and not conditions:
                self._make_pod(job)

    # -- kubelet

    def _run(self, name: str) -> None:
        plan = self._plan(name)
        with self._store.changed:
            pod = self._store.of("pods").get(name)
            if self._closed or pod is None or plan is None:
                return
            if pod["metadata"].get("deletionTimestamp"):
                return
            folder = self._cluster.folder / name
            folder.mkdir()
            (folder / "plan.json").write_bytes(plan)
            (folder / "termination-log").touch()
            process = subprocess.Popen(
                _command(pod, folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **_env(pod)},
            )
            self._processes[name] = process
            output = self._outputs[name] = Output()
            pod["status"] = {"phase": "Running", "containerStatuses": [_status(pod, running={})]}
            self._store.put("pods", pod)
        _copy(process, output)
        code = process.wait()
        output.end()
        with self._store.changed:
            self._ended(name, code, (folder / "termination-log").read_text())

    def _plan(self, name: str) -> Optional[bytes]:
        """A pod waits for the secrets that it mounts."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with self._store.changed:
                pod = self._store.of("pods").get(name)
                if pod is None:
                    return None
                volume = next((v for v in pod["spec"]["volumes"] if v["name"] == "plan"), None)
                if volume is None:
                    return b""  # it is in the environment
                secret = self._store.of("secrets").get(volume["secret"]["secretName"])
                if secret:
                    return base64.b64decode(secret["data"]["plan.json"])
                self._store.changed.wait(0.5)
        return None

    def _ended(self, name: str, code: int, message: str) -> None:
        pod = self._store.of("pods").get(name)
        if pod is None or not self._cluster.folder.exists():
            return
        why = pod.pop("why", {})
        exit_code = code if code >= 0 else 128 - code
        terminated = {
            "exitCode": exit_code,
            "reason": why.pop("container", self.reason or ("Error" if code else "Completed")),
            **({"message": message} if message else {}),
        }
        pod["status"] = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [_status(pod, terminated=terminated)],
            **why,
        }
        self._store.put("pods", pod)
        for owner in pod["metadata"]["ownerReferences"]:
            job = self._store.of("jobs").get(owner["name"])
            leaving = pod["metadata"].get("deletionTimestamp")
            if job and job["metadata"]["uid"] == owner["uid"] and not leaving:
                kind = "Complete" if code == 0 else "Failed"
                job["status"] = {"conditions": [{"type": kind, "status": "True"}]}
                self._store.put("jobs", job)
        if pod["metadata"].get("deletionTimestamp"):
            self._gone(pod)


_FORBIDDEN = (
    'Error creating: pods "x" is forbidden: exceeded quota: builds, requested: pods=1, used: '
    "pods=1, limited: pods=1"
)


def _env(pod: Object) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0].get("env", ())}


def _arch_of(pod: Object) -> str:
    return str(
        pod["metadata"]["labels"].get("koji-containerbuild/arch") or _env(pod).get("PLAN_ARCH")
    )


def _command(pod: Object, folder: Path) -> list[str]:
    there = {
        "/run/koji-containerbuild/plan/plan.json": "plan.json",
        "/dev/termination-log": "termination-log",
        "/var/tmp/kcb.log": "kcb.log",
        "python3": sys.executable,
    }
    return [there.get(word, word) for word in pod["spec"]["containers"][0]["command"]]


def _copy(process: subprocess.Popen[bytes], output: Output) -> None:
    assert process.stdout
    rest = b""
    with process.stdout:
        while block := os.read(process.stdout.fileno(), 65536):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                output.write(lines + newline)
    if rest:
        output.write(rest)


def _status(pod: Object, **state: Any) -> Object:
    return {"name": pod["spec"]["containers"][0]["name"], "state": state}


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
