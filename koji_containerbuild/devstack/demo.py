"""The demo: a real build from a packager's command to Koji's page, and what came of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack import example
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.errors import ServiceError

PACKAGE = "hello-container"
TARGET = "f43-container-candidate"


def show(stack: Stack, again: str = "make demo") -> None:
    """Build the worked example on a stack that is up. Raises ServiceError when a step fails.

    `again`: what somebody typed, and may type again.
    """
    commit = example.commit(stack.git)
    _title("A packager builds an image")
    _run(_koji(stack, "container-build", "--wait", "--git-branch", "f43", TARGET, commit.source))
    session = stack.session()
    build = session.getLatestBuilds(TARGET, package=PACKAGE, type="image")[0]
    record = session.getBuild(build["build_id"])
    by_digest, by_tag = record["extra"]["image"]["index"]["pull"]

    _title("What Koji knows")
    print(f"task    {record['extra']['container_koji_task_id']}")
    print(f"build   {record['nvr']}, built by {record['owner_name']}")
    print(f"pull    {by_tag}\n        {by_digest}")
    _packages(session, record["build_id"])

    _title("What the registry has")
    inspect = ["skopeo", "inspect", "--tls-verify=false"]
    index = _json([*inspect, "--raw", f"docker://{by_tag}"])
    image = f"{by_digest.partition('@')[0]}@{index['manifests'][0]['digest']}"
    layers = _json([*inspect, "--raw", f"docker://{image}"])["layers"]
    config = _json([*inspect, "--config", f"docker://{image}"])["config"]
    _layers(stack, layers, inspect)
    for name, value in sorted(config["Labels"].items()):
        print(f"label   {name}={value}")

    _title("The image, run once")
    _run_image(stack, by_tag, [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])

    _title("Look around")
    web = stack.addresses.web
    print(f"build   {web}/buildinfo?buildID={record['build_id']}")
    print(f"task    {web}/taskinfo?taskID={record['extra']['container_koji_task_id']}")
    print(f"build again with `{again}`, end it all with `make demo-down`")


def _packages(session: Any, build_id: int) -> None:
    """The package list that Koji holds, each RPM with the Koji build that it is from."""
    archive = session.listArchives(buildID=build_id, type="image")[0]
    rpms = session.listRPMs(imageID=archive["id"])
    print(f"rpms    {len(rpms)} in {archive['filename'][:40]}…")
    for rpm in sorted(rpms, key=lambda each: str(each["name"])):
        source = session.getBuild(rpm["build_id"])["nvr"] if rpm.get("build_id") else "not in Koji"
        print(f"        {rpm['nvr']}.{rpm['arch']}  from {source}")


def _layers(stack: Stack, layers: Sequence[dict[str, Any]], inspect: Sequence[str]) -> None:
    name = f"docker://{stack.addresses.registry}/demo/base"
    index = _json([*inspect, "--raw", f"{name}:1"])
    base = _json([*inspect, "--raw", f"{name}@{index['manifests'][0]['digest']}"])
    below = {layer["digest"] for layer in base["layers"]}
    for layer in layers:
        whose = "of the parent" if layer["digest"] in below else "of this image"
        print(f"layer   {layer['digest'][:19]}…  {layer['size']:>9} bytes  {whose}")


def _run_image(stack: Stack, image: str, command: Sequence[str]) -> None:
    """With buildah, since it is here; `podman run` would do."""
    with _container(stack.places.state / "demo-containers", image) as (buildah, name):
        print(f"$ buildah from {image}; buildah run {name} -- {shlex.join(command)}", flush=True)
        flags = ["--isolation", "oci", "--runtime", shutil.which("runc") or "crun"]
        subprocess.run([*buildah, "run", *flags, "--network", "none", name, "--", *command])


@contextmanager
def _container(store: Path, image: str) -> Iterator[tuple[list[str], str]]:
    buildah = ["buildah", "--root", str(store), "--runroot", f"{store}.run"]
    name = _output([*buildah, "from", "-q", "--pull", "--tls-verify=false", f"docker://{image}"])
    try:
        yield buildah, name
    finally:
        _output([*buildah, "rm", name])


def _koji(stack: Stack, *words: str) -> list[str]:
    beside = Path(sys.executable).with_name("koji")
    return [str(beside), "-c", str(stack.places.koji_conf), "-p", "devstack", *words]


def _run(command: Sequence[str]) -> None:
    """Show the command, run it, let it speak for itself."""
    print(f"$ {shlex.join([Path(command[0]).name, *command[3:]])}", flush=True)
    repo = str(Path(__file__).resolve().parents[2])
    if subprocess.run(command, env={**os.environ, "PYTHONPATH": repo}).returncode:
        raise ServiceError("The build did not succeed.", do="See its log, named above.")


def _json(command: Sequence[str]) -> Any:
    return json.loads(_output(command))


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)
