"""What can be seen from inside a pod: its environment, its mounts, and what the API says to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cluster.containers import processes_of

# Run by a Python in the pod. `API`, `PATHS` and `FILES` are put in.
_LOOK = r"""
import json, os, ssl, urllib.error, urllib.request

def ask(url):
    try:
        context = ssl._create_unverified_context()
        return urllib.request.urlopen(url, timeout=10, context=context).status
    except urllib.error.HTTPError as error:
        return error.code

print(json.dumps({
    "environment": dict(os.environ),
    "mounts": [line.split()[4] for line in open("/proc/self/mountinfo")],
    "service_account": os.path.exists("/var/run/secrets/kubernetes.io"),
    "files": {path: open(path).read() for path in FILES},
    "api": {path: ask(API + path) for path in PATHS},
}))
"""


@dataclass(frozen=True)
class Seen:
    """By the script."""

    environment: dict[str, str]
    mounts: list[str]
    service_account: bool  # whether there is a folder for its token
    files: dict[str, str]  # path → content
    api: dict[str, int]  # path → status

    @property
    def variables(self) -> set[str]:
        """Names in the environment, but those of the services that every pod gets."""
        return {name for name in self.environment if not name.startswith("KUBERNETES_")}

    @property
    def own_mounts(self) -> set[str]:
        """Those that are not the kernel's, nor of the container that is being built."""
        others = re.compile(r"/(proc|sys|dev)\b|(/var/lib|/run)/containers/|/var/tmp/")
        return {mount for mount in self.mounts if not others.match(mount)}


def script(api: str, namespace: str, files: Sequence[str]) -> str:
    """A Python program for the pod. It tells these files, too."""
    core, jobs = f"/api/v1/namespaces/{namespace}", f"/apis/batch/v1/namespaces/{namespace}/jobs"
    paths = (f"{core}/secrets", f"{core}/pods", jobs, "/api/v1/nodes")
    text = _LOOK.replace("API", repr(api)).replace("PATHS", repr(paths))
    return text.replace("FILES", repr(tuple(files)))


def seen(printed: str) -> Seen:
    """Of what the script has printed."""
    return Seen(**json.loads(printed))


def look(pod: str, program: str) -> Seen:
    """Have the script run in a pod of this machine, beside what runs there, with its environment."""
    first = first_process(pod)
    assert first, f"no process of pod {pod}"
    words = (first / "environ").read_text().rstrip("\0").split("\0")
    environment = dict(word.split("=", 1) for word in words)
    enter = [str(shutil.which("nsenter")), "--target", first.name]
    done = subprocess.run(
        [*enter, "--mount", "--uts", "--ipc", "--net", "--pid", "python3", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return replace(seen(done.stdout), environment=environment)  # Python itself adds LC_CTYPE


def assert_no_way_to_the_api(found: Seen, pod: dict[str, Any], token: str) -> None:
    """`token`: the builder's."""
    assert not found.service_account
    assert set(found.api.values()) == {403}, found.api
    assert token and token not in json.dumps([found.environment, found.files])
    spec = pod["spec"]
    assert spec["serviceAccountName"] == "buildroot"
    assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in spec["volumes"])


def first_process(pod: str) -> Path | None:
    """In /proc: the process that is number 1 of its one container, if it runs."""
    for process, _ in processes_of({pod}):
        folder = Path(f"/proc/{process}")
        try:
            status = (folder / "status").read_text()
        except OSError:  # it has ended
            continue
        if re.search(r"^NSpid:\s+\d+\s+1$", status, re.M):
            return folder
    return None
