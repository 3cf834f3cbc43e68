"""EMULATION of OpenShift: the build controller, which makes a pod of every Build.

It looks at all Builds that are not over whenever one changes, and a few times a second while there
are some. Pods are real ones, of the cluster that `Pods` asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from koji_containerbuild.devstack.cluster.openshift_objects import (
    ENDED,
    Object,
    log_snippet,
    pod_name,
    pod_of,
    progress,
    set_phase,
)
from koji_containerbuild.devstack.cluster.openshift_store import Store, now

PAUSE = 0.2  # seconds between two looks at pods
LABEL = "openshift.io/build.name"
CANCELLED = ("Cancelled", "CancelledBuild", "The build was cancelled by the user.")
EXISTS = "The pod for this build already exists and is older than the build."


class Pods:
    """The API of the cluster, as far as it is needed here."""

    def __init__(self, url: str, ca_file: str | bool, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = ca_file
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._lock = threading.Lock()  # a session is for one thread at a time

    def call(self, method: str, path: str, body: Object | None = None) -> tuple[int, Object]:
        """Status and answer. Raises requests.RequestException."""
        with self._lock:
            done = self._session.request(method, self._url + path, json=body, timeout=20)
        return done.status_code, done.json()

    def stream(self, path: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """An answer as it comes."""
        session = self._session
        with requests.get(
            self._url + path, params=dict(params), stream=True, timeout=(10, None),
            headers=dict(session.headers), verify=session.verify,
        ) as answer:  # fmt: skip
            yield from answer.raw.stream(64 * 1024)

    def all(self) -> dict[tuple[str, str], Object]:
        """Pods of Builds by namespace and name."""
        _, found = self.call("GET", f"/api/v1/pods?labelSelector={LABEL}")
        return {
            (each["metadata"]["namespace"], each["metadata"]["name"]): each
            for each in found["items"]
        }


class Controller:
    """One thread calls `run`."""

    def __init__(self, store: Store, pods: Pods) -> None:
        self._store, self._pods = store, pods
        self.stopped = threading.Event()

    def run(self) -> None:
        """Until `stopped`. A cluster that does not answer is asked again."""
        while not self.stopped.is_set():
            try:
                busy = self.look()
            except (requests.RequestException, KeyError, ValueError) as error:
                print(f"emulated build controller: {type(error).__name__}: {error}", flush=True)
                busy = True
            if busy:
                self.stopped.wait(PAUSE)
            else:
                with self._store.changed:
                    if not self._active() and not self._store.deleted:
                        self._store.changed.wait(1.0)

    def look(self) -> bool:
        """One round; whether another is needed soon."""
        while self._store.deleted:
            self._delete_pod(self._store.deleted[0])
            self._store.deleted.pop(0)
        active = self._active()
        if not active:
            return False
        pods = self._pods.all()
        for build in active:
            meta = build["metadata"]
            self._handle(build, pods.get((meta["namespace"], pod_name(build))), active)
        self._prune()
        return True

    def _active(self) -> list[Object]:
        return [each for each in self._store.all("builds") if each["status"]["phase"] not in ENDED]

    def _handle(self, build: Object, pod: Object | None, active: list[Object]) -> None:
        phase = build["status"]["phase"]
        if build["status"].get("cancelled"):
            self._delete_pod(build)
            self._become(build, CANCELLED, pod)
        elif phase == "New" and pod is None:
            if self._may_run(build, active):
                self._create_pod(build)
        else:
            news = progress(build, pod)
            if news[0] != phase:
                self._become(build, news, pod)

    def _may_run(self, build: Object, active: list[Object]) -> bool:
        """By the run policy of its BuildConfig: one after the other, or all at once."""
        labels = build["metadata"].get("labels", {})
        if labels.get("openshift.io/build.start-policy") == "Parallel":
            return True
        mine, number = _config_of(build), _number(build)
        return not any(_config_of(each) == mine and _number(each) < number for each in active)

    def _create_pod(self, build: Object) -> None:
        meta, pod = build["metadata"], pod_of(build)
        code, answer = self._pods.call("POST", f"/api/v1/namespaces/{meta['namespace']}/pods", pod)
        if code == 409 and answer.get("reason") == "AlreadyExists":
            self._become(build, ("Error", "BuildPodExists", EXISTS), None)
        elif code != 201:
            self._event(build, f"Error creating build pod: {answer.get('message')}")
            news = ("New", "CannotCreateBuildPod", "Failed creating build pod.")
            self._become(build, news, None)
        else:
            self._become(build, ("Pending", "", ""), answer)

    def _become(self, build: Object, news: tuple[str, str, str], pod: Object | None) -> None:
        def change(current: Object) -> None:
            set_phase(current, news, now())
            if pod is not None:
                note = current["metadata"].setdefault("annotations", {})
                note["openshift.io/build.pod-name"] = pod_name(build)
            if news[0] == "Failed":
                current["status"]["logSnippet"] = log_snippet(pod)

        meta = build["metadata"]
        with self._store.changed:
            found = [
                each for each in self._store.all("builds") if each["metadata"]["uid"] == meta["uid"]
            ]
            for each in found:
                before = dict(each["status"])
                change(each)
                if each["status"] != before:
                    self._store.put("builds", each)

    def _delete_pod(self, build: Object) -> None:
        path = f"/api/v1/namespaces/{build['metadata']['namespace']}/pods/{pod_name(build)}"
        self._pods.call("DELETE", path)

    def _event(self, build: Object, message: str) -> None:
        meta = build["metadata"]
        if build["status"].get("reason") == "CannotCreateBuildPod":
            return  # said once
        of = {"kind": "Build", "namespace": meta["namespace"], "name": meta["name"],
              "uid": meta["uid"], "apiVersion": "build.openshift.io/v1"}  # fmt: skip
        event: dict[str, Any] = {
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "involvedObject": of, "reason": "FailedCreate", "message": message, "type": "Warning",
            "source": {"component": "build-controller"}, "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(),
        }  # fmt: skip
        self._pods.call("POST", f"/api/v1/namespaces/{meta['namespace']}/events", event)

    def _prune(self) -> None:
        """Of each BuildConfig only so many Builds that are over are kept."""
        with self._store.changed:
            builds = self._store.all("builds")
            for config in self._store.all("buildconfigs"):
                owner = config["metadata"]["namespace"], config["metadata"]["name"]
                mine = [each for each in builds if _config_of(each) == owner]
                for phases, limit in (
                    (("Complete",), config["spec"]["successfulBuildsHistoryLimit"]),
                    (("Failed", "Error", "Cancelled"), config["spec"]["failedBuildsHistoryLimit"]),
                ):
                    over = [each for each in mine if each["status"]["phase"] in phases]
                    for each in sorted(over, key=_number)[: max(0, len(over) - limit)]:
                        self._store.remove("builds", each)


def _config_of(build: Object) -> tuple[str, str]:
    meta = build["metadata"]
    return meta["namespace"], meta.get("labels", {}).get("buildconfig", "")


def _number(build: Object) -> int:
    return int(build["metadata"].get("annotations", {}).get("openshift.io/build.number", 0))


def wait_for_start(pods: Pods, build: Object, seconds: float) -> bool:
    """Whether the pod of a Build has begun, within that time."""
    meta, deadline = build["metadata"], time.monotonic() + seconds
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{pod_name(build)}"
    while time.monotonic() < deadline:
        code, pod = pods.call("GET", path)
        if code == 200 and pod.get("status", {}).get("phase", "Pending") != "Pending":
            return True
        time.sleep(PAUSE)
    return False
