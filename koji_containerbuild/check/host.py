"""This host: kojid's configuration, and what must be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from koji_containerbuild.check.fact import Fact, not_tried, ok, wrong
from koji_containerbuild.config import CLUSTERS, Config
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.koji_api.kojid_conf import KojidConf, read

PLUGIN = "builder_containerbuild"
MODULES = ("requests", "dxf", "dockerfile_parse", "fastjsonschema", "yaml")  # of extra `builder`
INSTALL = "dnf install koji-containerbuild-builder\nor: pip install 'koji-containerbuild[builder]'"
OF_TASKS = ("git",)
OF_BUILDS = ("buildah", "rpm", "setpriv", "prlimit", "unshare")
RUNTIMES = ("crun", "runc")  # one is enough
ZSTD = "a repo with metadata compressed by zstd cannot be read for `version: from_rpm`"
MD2MAN = "an image with a help.md cannot be built"
# Where containers.conf(5) has buildah look for its network.
NETAVARK = [
    Path(lib, "podman/netavark")
    for lib in ("/usr/libexec", "/usr/lib", "/usr/local/libexec", "/usr/local/lib")
]
CNI = [
    Path(folder, "bridge")
    for folder in ("/usr/libexec/cni", "/usr/lib/cni", "/usr/local/lib/cni", "/opt/cni/bin")
]
NO_OVERLAY = ("overlayfs", "nfs")  # file systems that Linux puts no overlay on
SECONDS = 20  # for a program to tell its version


def check_kojid(path: Path) -> Iterator[Fact]:
    """kojid.conf, as far as it is about us."""
    conf = read_kojid(path)
    if isinstance(conf, Fact):
        yield conf
        return
    yield ok("kojid's configuration can be read", str(path))
    yield _plugin(conf, path)
    yield _sources(conf, path)


def read_kojid(path: Path) -> KojidConf | Fact:
    """A Fact: it cannot be read, and why."""
    what = "kojid's configuration can be read"
    if path.exists() and not os.access(path, os.R_OK):
        return not_tried(what, f"{path} is not readable for this user; run this as root.")
    try:
        return read(path)
    except ConfigError as error:
        return wrong(what, error.what, error.do or "Give its path: check --kojid-conf FILE")


def _plugin(conf: KojidConf, path: Path) -> Fact:
    what = f"kojid has the plugin {PLUGIN}"
    if PLUGIN not in conf.plugins:
        line = f"plugin = {' '.join((*conf.plugins, PLUGIN))}"
        return wrong(what, "It is not named.", f"{line} in {path}, then systemctl restart kojid")
    folders = conf.pluginpath.split(":")
    if not any((Path(folder) / f"{PLUGIN}.py").is_file() for folder in folders):
        return wrong(
            what,
            f"There is no {PLUGIN}.py in {conf.pluginpath}.",
            f"dnf install koji-containerbuild-builder, or correct pluginpath in {path}",
        )
    return ok(what)


def _sources(conf: KojidConf, path: Path) -> Fact:
    what = "this builder may build from somewhere"
    if conf.allowed_scms_use_policy:
        return not_tried(what, "The hub's policy build_from_scm decides, for each task.")
    if not conf.allowed_scms_use_config:
        return ok(what, "from anywhere: neither allowed_scms nor a policy is asked")
    if not conf.allowed_scms.split():
        return wrong(
            what,
            "allowed_scms is empty.",
            f"allowed_scms = src.example.com:/container/*:no in {path}, "
            "then systemctl restart kojid",
        )
    return ok(what, conf.allowed_scms)


def check_host(config: Config) -> Iterator[Fact]:
    """What must be installed here, and be writable."""
    missing = [module for module in MODULES if not find_spec(module)]
    what = "the Python packages of a builder are there"
    if missing:
        yield wrong(what, f"Missing: {', '.join(missing)}.", INSTALL)
    else:
        yield ok(what)
    yield _writable("work_dir", config.builder.work_dir)
    for name in OF_TASKS:
        yield _program(name)
    yield _optional("zstd", ZSTD)
    engine = config.builder.engine
    if engine == "local":
        yield from _local(config)
    elif engine != CLUSTERS:
        mend = f"Write engine = local or {CLUSTERS} in [builder]."
        yield wrong("builds run somewhere", f"There is no engine '{engine}'.", mend)


def _local(config: Config) -> Iterator[Fact]:
    if os.getuid():
        yield wrong("builds run as root", "They would not.", "Run this, and kojid, as root.")
    else:
        yield ok("builds run as root")
    for name in OF_BUILDS:
        yield _program(name)
    runtime = config.buildroot.runtime or next((r for r in RUNTIMES if shutil.which(r)), "runc")
    yield _program(runtime)
    yield _optional("go-md2man", MD2MAN)
    yield _writable("storage", config.buildroot.storage)
    if config.buildroot.driver == "overlay":
        yield overlay(config.buildroot.storage)
    if config.buildroot.network == "private" and config.buildroot.isolation == "oci":
        yield private_network()


def _optional(name: str, without: str) -> Fact:
    there, what = shutil.which(name), f"{name} is installed"
    return ok(what, there) if there else not_tried(what, f"It is not; {without}.")


def overlay(storage: Path, stat: Sequence[str] = ("stat", "-f", "-c", "%T")) -> Fact:
    """`stat`: what tells the type of a file system."""
    what = "storage is on a disk where the driver overlay works"
    there = _nearest(storage)
    command = [*stat, str(there)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return not_tried(what, f"{stat[0]} does not run: {error}.")
    kind = done.stdout.decode(errors="replace").strip()
    if kind in NO_OVERLAY:
        said = f"{there} is on {kind}, where it takes a mount_program (fuse-overlayfs) in"
        return not_tried(what, f"{said} storage.conf; else set driver = vfs in [buildroot].")
    return ok(what, kind)


def private_network(helpers: Sequence[Path] = (*NETAVARK, *CNI)) -> Fact:
    """For `network = private`; `helpers`: one of them is enough."""
    what = "RUN can have a network of its own"
    there = next((path for path in helpers if path.exists()), None)
    if there:
        return ok(what, str(there))
    mend = "dnf install netavark\nor network = host in [buildroot]"
    return wrong(what, "There is neither netavark nor CNI's bridge.", mend)


def _program(name: str) -> Fact:
    what = f"{name} is installed"
    try:
        done = subprocess.run(
            [name, "--version"], capture_output=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        return wrong(what, "It is not.", f"dnf install {PACKAGE_OF.get(name, name)}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return wrong(what, f"It does not run: {error}.", f"Run by hand: {name} --version")
    lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
    if done.returncode:
        said = lines[-1] if lines else f"exit status {done.returncode}"
        return wrong(what, f"It fails: {said}", f"Run by hand: {name} --version")
    return ok(what, lines[0] if lines else "")


PACKAGE_OF = {
    "setpriv": "util-linux",
    "prlimit": "util-linux",
    "unshare": "util-linux",
    "go-md2man": "golang-github-cpuguy83-md2man",
}


def _writable(key: str, folder: Path) -> Fact:
    """Nothing is made here: a build makes what is missing below a folder that it may write to."""
    what = f"{key} can be written to"
    there = _nearest(folder)
    if there is None or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return wrong(what, f"{folder} cannot.", f"install -d {folder}, as the user of kojid (root)")
    free = shutil.disk_usage(there).free // 2**20
    return ok(what, f"{folder}, {free} MiB free")


def _nearest(folder: Path) -> Optional[Path]:
    return next((each for each in (folder, *folder.parents) if each.exists()), None)
