"""buildah, by its command line: one store for all builds of a machine, of whatever arch.

Facts this stands on (tried with 1.28): plain `bud` gives the parent's layers and exactly one more;
`--format docker` keeps HEALTHCHECK, ONBUILD and SHELL; `--timestamp` gives equal digests; with
`--platform` the config has that architecture, and the variant that the parent has.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.buildroot.programs import logged, output
from koji_containerbuild.buildroot.step import InstructionFailed
from koji_containerbuild.buildroot.tools import BuildJob
from koji_containerbuild.buildroot.triggers import triggers, write_twin
from koji_containerbuild.config import Config
from koji_containerbuild.contract.image import Tool
from koji_containerbuild.errors import ConfigError, ServiceError
from koji_containerbuild.rules.manifests import goarch

SHOWN = 2000  # characters, and
SHOWN_LINES = 15  # of a failed instruction's output
# Seconds before each further attempt to push; buildah itself spends six on each.
PUSH_AGAIN = (1, 2, 4, 8, 15)
# A network and processes of its own, which end with it and with us.
ALONE = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--pid", "--kill-child", "--")
_REFUSED = re.compile(
    r"unauthorized|denied|authentication required|\b40[0135] \(|status: 4(?!08|29)|x509", re.I
)
_LAST_WORDS = re.compile(
    r"(Error: (while running runtime: )?|subprocess )?(exited with |exit )status \d+"
    r"|container exited on \w+"
)


class Buildah:
    """The image builder of a machine, as its configuration has it, for images of one arch."""

    def __init__(
        self,
        config: Config,
        temporary: Path,
        arch: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._sleep = sleep
        # Not for the machine's own arch: buildah would warn of arguments that nobody uses.
        own = arch == platform.machine()
        self._platform = () if own else (f"--platform=linux/{goarch(arch)}",)
        self._temporary = temporary
        self._told: dict[str, Any] = {}
        settings = config.buildroot
        self._runtime = settings.runtime or _runtime()
        self._env = {**os.environ, "TMPDIR": str(temporary)}
        self._base = (
            "buildah",
            "--root", str(settings.storage),
            "--runroot", str(settings.storage) + ".run",
            "--storage-driver", settings.driver,
        )  # fmt: skip

    def pull(self, image: str) -> None:
        """A digest never changes, so an image that is there is not pulled again."""
        try:
            how = (*self._platform, "--policy", "missing", *self._access(image))
            self._output("pull", "-q", *how, image)
        except ServiceError as error:
            raise ServiceError(f"Cannot pull the parent image {image}: {error.what}") from error

    def with_files(self, parent: str, name: str, files: Path, folder: str) -> None:
        """Parent and files; its ONBUILD triggers are not set off, and kept."""
        if self._has(name):
            return
        self.pull(parent)
        with self._container(parent) as (container, kept):
            self._output("copy", "-q", container, str(files), folder)
            if kept:
                self._output("config", *(f"--onbuild={line}" for line in kept), container)
            self._output(
                "commit", "-q", "--format", "docker", "--identity-label=false", "--timestamp", "0",
                container, name,
            )  # fmt: skip

    @contextmanager
    def using_store(self) -> Iterator[None]:
        """While a build uses the store, no other build may clear it.

        Parents stay in it for the next build, as long as the disk has room for them.
        """
        settings = self._config.buildroot
        settings.storage.mkdir(parents=True, exist_ok=True)
        with open(f"{settings.storage}.lock", "w", encoding="utf-8") as lock:
            free = shutil.disk_usage(settings.storage).free
            if free < settings.min_free_mib * 1024 * 1024:
                with suppress(BlockingIOError, ServiceError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._output("rmi", "--all", "--force")
            self._clear(lock)
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield
            finally:
                self._clear(lock)

    def _clear(self, lock: IO[str]) -> None:
        """Remove containers, with their mounts: a builder that is told to end may leave one.

        Whose they are cannot be seen, so only when no other build is at work; the last one does it.
        """
        settings = self._config.buildroot
        table = settings.storage / f"{settings.driver}-containers" / "containers.json"
        with suppress(OSError, ServiceError):  # no such table; BlockingIOError
            if table.read_bytes().strip() not in (b"", b"[]", b"null"):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._output("rm", "--all")

    def build(self, job: BuildJob, console: Console) -> None:
        """Raises InstructionFailed with the instruction and the last lines of its output."""
        settings = self._config.buildroot
        contexts = [f"--build-context={name}={path}" for name, path in job.files.items()]
        status, tail = logged(
            [
                *self._base, "bud", *self._platform,
                "--isolation", settings.isolation,
                "--runtime", self._runtime,
                "--network", settings.network,
                "--pull-never", "--no-cache", "--format", "docker", "--identity-label=false",
                "--timestamp", str(job.created),
                *contexts,
                "--file", str(job.dockerfile), "--tag", job.image, str(job.context),
            ],
            console,
            self._env,
        )  # fmt: skip
        if status:
            raise _instruction_failed(tail.decode(errors="replace"), status)

    def labels(self, image: str) -> Mapping[str, str]:
        """As they are in the image's config."""
        config = json.loads(self._about(image)["Config"]).get("config") or {}
        return dict(config.get("Labels") or {})

    def layer_sizes(self, image: str) -> Sequence[int]:
        """From the store's own manifest, whose layers are not compressed."""
        about = self._about(image)
        return [layer["size"] for layer in json.loads(about["Manifest"])["layers"]]

    @contextmanager
    def container(self, image: str) -> Iterator[WorkingContainer]:
        """A working container, mounted; its ONBUILD triggers are not set off."""
        with self._container(image) as (name, _):
            tree = Path(self._output("mount", name).strip())
            yield WorkingContainer(tree, self._run_in(name), self._env)

    def _run_in(self, container: str) -> tuple[str, ...]:
        """The words before those of a program that is to have no network."""
        if self._config.buildroot.isolation == "chroot":
            # It knows no networks, and what runs in it outlives it.
            run = (*ALONE, *self._base, "run")
            return (*run, "--isolation", "chroot", container, "--")
        how = ("--isolation", "oci", "--runtime", self._runtime, "--network", "none")
        return (*self._base, "run", *how, container, "--")

    @contextmanager
    def _container(self, image: str) -> Iterator[tuple[str, list[str]]]:
        """A working container, and the ONBUILD triggers that it does not have."""
        about = self._about(image)
        kept = triggers(about)
        if kept:
            with TemporaryDirectory(dir=self._temporary) as twin:
                write_twin(about, Path(twin))
                image = self._output("pull", "-q", f"dir:{twin}").strip()
        try:
            container = self._output("from", "-q", *self._platform, "--pull-never", image).strip()
            try:
                yield container, kept
            finally:
                self._output("rm", container)
        finally:
            if kept:
                self.remove(image)

    def _about(self, image: str) -> Any:
        """What `buildah inspect` tells of an image, asked once."""
        if image not in self._told:
            self._told[image] = json.loads(self._output("inspect", "--type", "image", image))
        return self._told[image]

    def push(self, image: str, to: str, console: Console) -> None:
        """As a Docker schema 2 manifest: the parents' blobs are found where they are.

        A registry that is away for a minute costs no build. One that refuses us is not asked again.
        """
        words = ("push", "-q", "--format", "v2s2", *self._access(to), image, f"docker://{to}")
        for wait in (*PUSH_AGAIN, None):
            try:
                self._output(*words)
                return
            except ServiceError as error:
                if wait is None or _REFUSED.search(error.what):
                    raise
                console.say(f"{error.what.rpartition('Error: ')[2]}. Pushing again in {wait} s.")
            self._sleep(wait)

    def remove(self, image: str) -> None:
        """Its layers go too, unless another image stands on them."""
        with suppress(ServiceError):  # it was not made
            self._output("rmi", "--force", image)

    def tools(self) -> Sequence[Tool]:
        """Versions in the programs' own words."""
        return [
            Tool("buildah", _version(["buildah", "--version"])),
            Tool(Path(self._runtime).name, _version([self._runtime, "--version"])),
        ]

    def _has(self, image: str) -> bool:
        return bool(self._output("images", "-q", "--filter", f"reference={image}").strip())

    def _access(self, image: str) -> list[str]:
        host = image.partition("/")[0]
        if self._config.is_insecure(host):
            return ["--tls-verify=false"]  # and no password: it would go in the clear
        auth_file = self._config.registry.auth_file
        return ["--authfile", auth_file] if auth_file else []

    def _output(self, *arguments: str) -> str:
        return output([*self._base, *arguments], env=self._env, timeout=None).decode()


@dataclass(frozen=True)
class WorkingContainer:
    """A container that buildah knows, and its own."""

    tree: Path
    _command: tuple[str, ...]  # that runs a program in it
    _env: Mapping[str, str]

    def run(self, words: Sequence[str], console: Console) -> tuple[int, str]:
        """What buildah says of a program's end is not shown: it is the exit status."""
        end = signal.SIGTERM
        if self._command[: len(ALONE)] == ALONE:
            _check_alone()
            end = signal.SIGKILL  # unshare does not end at a TERM
        status, tail = logged([*self._command, *words], console, self._env, end=end)
        lines = tail.decode(errors="replace").replace("\r\n", "\n").splitlines()
        while lines and _LAST_WORDS.fullmatch(lines[-1]):
            lines.pop()
        return status, _shown(lines)


@lru_cache(maxsize=1)
def _check_alone() -> None:
    """Its exit status would be taken for that of the program in the container."""
    try:
        output([*ALONE, "true"])
    except (ConfigError, ServiceError) as error:
        raise ConfigError(
            f"With isolation = chroot, tests need a network and processes of their own, which "
            f"{os.uname().nodename} cannot give them: {error.what}",
            do="Install unshare and setpriv (util-linux) and allow unshare, or set isolation = oci "
            "in [buildroot].",
        ) from error


def _runtime() -> str:
    """crun cannot work where cgroup v1 and v2 are mixed; else it is the quicker one."""
    mixed = Path("/sys/fs/cgroup/unified").exists()
    for name in ("runc", "crun") if mixed else ("crun", "runc"):
        if path := shutil.which(name):
            return path
    raise ConfigError("No container runtime is installed.", do="Install runc or crun.")


def _version(command: Sequence[str]) -> str:
    match = re.search(rb"\d+(?:\.\d+)+\S*", output(command))
    return match.group().decode() if match else "unknown"


def _shown(lines: Sequence[str]) -> str:
    return "\n".join(lines[-SHOWN_LINES:])[-SHOWN:]


def _instruction_failed(tail: str, status: int) -> InstructionFailed:
    """For the reader only: what to show comes out of buildah's words, no decision does."""
    lines = tail.replace("\r\n", "\n").splitlines()
    while lines and re.match(r"time=|level=|exit status \d+$", lines[-1]):
        lines.pop()
    said, mark, words = (lines.pop() if lines else "").rpartition("Error: ")
    if said or not mark:  # a last line without its end stands before buildah's own
        lines.append(said or words)
    match = re.search(r'building at STEP "(.*?)": (.*)', words)
    instruction, cause = (match[1], match[2]) if match else ("", words)
    cause = cause if mark else f"exit status {status}"
    steps = [n for n, line in enumerate(lines) if re.match(r"(\[\d+/\d+\] )?STEP \d+", line)]
    own = lines[steps[-1] + 1 :] if steps else lines
    missing = re.search(r'copier: stat: "/?(.*?)": no such file', cause)
    if missing:
        return InstructionFailed(
            f"There is no {missing[1]} to copy.",
            instruction,
            "",
            do="Is it committed, beside the Dockerfile, and not named in .dockerignore?",
        )
    return InstructionFailed(
        f"{cause.removeprefix('while running runtime: ')}.",
        instruction,
        _shown(own),
        do="Look at the last lines of its output." if instruction and own else "",
    )
