"""The programs of Kubernetes 1.20, compiled from Debian's source package and kept in the cache.

Debian packages no apiserver, scheduler or kubelet, and none comes by PyPI or npm; its source
package has all of them, with everything that they need (docs/adr/0011-kubernetes-of-debian.md).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from koji_containerbuild.devstack.cluster.debian import Packages
from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ServiceError

VERSION = "1.20.2"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
GO = "1.19"
REFLECT = "github.com/modern-go/reflect2"
TREE = "k8s.io/kubernetes"  # where a GOPATH has it
OPENAPI = "pkg/generated/openapi/zz_generated.openapi.go"
VERSION_FILES = ("component-base/version/base.go", "client-go/pkg/version/base.go")

Say = Callable[[str], None]


def provide(cache: Path, say: Say) -> Path:
    """The folder of the programs; minutes the first time. A second caller waits for the first."""
    home = cache / f"kubernetes-{VERSION}-{_recipe()}"
    if home.is_dir():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "kubernetes.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("    another process compiles Kubernetes: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            _make(home, say)
    return home


def _recipe() -> str:
    """Changes when what is compiled, or how, changes. Debian's mends of 1.20.2 do not count."""
    here = Path(__file__).parent
    text = b"".join((here / name).read_bytes() for name in ("binaries.py", "debian.py"))
    return hashlib.sha256(text).hexdigest()[:12]


def _make(home: Path, say: Say) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="kubernetes-") as scratch:
        work = Path(scratch)
        try:
            out = _compile(work, say)
        finally:  # Go writes folders that only their owner could delete, were it not root
            shutil.rmtree(work / "gopath", ignore_errors=True)
        out.rename(home)


def _compile(work: Path, say: Say) -> Path:
    packages = Packages(work / "apt")
    say("    fetching the source of Kubernetes, and Go")
    packages.update()
    source = packages.source("kubernetes", work / "download")
    if VERSION not in source.name:
        raise ServiceError(
            f"Debian's source package is {source.name}, and not of Kubernetes {VERSION}.",
            do="The devstack needs the mirror of Debian 12 (bookworm).",
        )
    names = (f"golang-{GO}-go", f"golang-{GO}-src", "golang-github-modern-go-reflect2-dev")
    root = packages.unpack(names, work / "root")
    tree = work / "gopath" / "src" / TREE
    tree.parent.mkdir(parents=True)
    run_program(["dpkg-source", "--no-check", "-x", str(source), str(tree)])
    _mend(tree, root)
    env = _environment(work, root)
    say("    generating the API's description")
    _generate_openapi(work, tree, env)
    out = work / "out"
    out.mkdir()
    for name in PROGRAMS:
        say(f"    compiling {name}")
        _go(
            [
                "build",
                "-trimpath",
                "-tags",
                "providerless,dockerless",
                "-ldflags",
                "-s -w",
                "-o",
                f"{out}/",
                f"./cmd/{name}",
            ],
            tree,
            env,
        )
    (out / "versions.json").write_text(json.dumps(packages.versions, indent=1) + "\n")
    return out


def _mend(tree: Path, root: Path) -> None:
    """What the source lacks to work with today's Go, and its version."""
    # reflect2 1.0.1 crashes with Go >= 1.18 (the apiserver at the first custom resource).
    vendored = tree / "vendor" / REFLECT
    shutil.rmtree(vendored)
    shutil.copytree(root / "usr/share/gocode/src" / REFLECT, vendored)
    major, minor, _ = VERSION.split(".")
    facts = {
        "gitMajor": major,
        "gitMinor": minor,
        "gitVersion": f"v{VERSION}",
        "gitTreeState": "clean",
    }
    for name in VERSION_FILES:
        path = tree / "staging/src/k8s.io" / name
        text = path.read_text()
        for key, value in facts.items():
            text = re.sub(rf'(?m)^(\s*{key}\b[^="]*=\s*)"[^"]*"', rf'\g<1>"{value}"', text)
        path.write_text(text)


def _environment(work: Path, root: Path) -> dict[str, str]:
    """Go as it was unpacked, not installed, and nothing from the network."""
    home = root / f"usr/lib/go-{GO}"
    for name in ("src", "api", "test", "misc"):  # links into /usr/share, where nothing is
        shared = root / f"usr/share/go-{GO}" / name
        with suppress(FileNotFoundError):
            (home / name).unlink()
        if shared.exists():
            (home / name).symlink_to(shared)
    return {
        "GOROOT": str(home),
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "GOPATH": str(work / "gopath"),
        "GOCACHE": str(work / "gocache"),
        "GOTMPDIR": str(work),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }


def _generate_openapi(work: Path, tree: Path, env: Mapping[str, str]) -> None:
    """The source package lacks this one generated file."""
    if (tree / OPENAPI).exists():
        return
    program = work / "openapi-gen"
    _go(["build", "-o", str(program), "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"], tree, env)
    folders = ",".join(f"{TREE}/{folder}" for folder in sorted(_described(tree)))
    header = "vendor/k8s.io/code-generator/hack/boilerplate.go.txt"
    run_program(
        [str(program), "--logtostderr", "-i", folders, "-p", f"{TREE}/{Path(OPENAPI).parent}",
         "-O", "zz_generated.openapi", "-h", header, "-r", str(work / "violations"),
         "--output-base", str(tree.parents[1])],
        env=env, cwd=tree,
    )  # fmt: skip


def _described(tree: Path) -> set[str]:
    """Folders of types that say `+k8s:openapi-gen=`, as Kubernetes' own Makefile looks for them."""
    found = set()
    for top in ("pkg", "cmd", "plugin", "staging/src/k8s.io"):
        for path in (tree / top).rglob("*.go"):
            name = str(path.parent.relative_to(tree))
            if any(one in name for one in ("code-generator", "sample-apiserver", "_examples")):
                continue
            if b"+k8s:openapi-gen=" in path.read_bytes():
                found.add(re.sub("^staging/src/", "vendor/", name))
    return found


def _go(words: list[str], tree: Path, env: Mapping[str, str]) -> None:
    # nice: the machine may be somebody's desktop, and this takes minutes of all its processors.
    run_program(["nice", "-n", "10", "go", *words], env=env, cwd=tree)
