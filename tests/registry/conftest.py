"""The registries that the tests run on: the fake one, and marked `stack` a real docker-registry."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules.pullspec import Pullspec
from tests.fakes.registry import FakeRegistry

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: {deletes}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def serve(folder: Path, deletes: bool) -> Iterator[str]:
    """A docker-registry with its own storage, as long as the generator lives."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder, port=port, deletes=str(deletes).lower()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def real_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("registry"), deletes=True)


@pytest.fixture(scope="session")
def real_host_without_deletes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("registry"), deletes=False)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """A registry that works, fake and real."""
    if request.param == "real":
        yield request.getfixturevalue("real_host")
    else:
        with FakeRegistry() as fake:
            yield fake.host


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def host_without_deletes(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield request.getfixturevalue("real_host_without_deletes")
    else:
        with FakeRegistry(deletes=False) as fake:
            yield fake.host


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def now(self) -> float:
        return sum(self.waits)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(clock: Clock, *hosts: str, **settings: str) -> Registry:
    chosen = RegistrySettings(insecure=hosts, timeout=10, **settings)  # type: ignore[arg-type]
    return Registry(chosen, sleep=clock.sleep, clock=clock.now)


@pytest.fixture
def registry(host: str, clock: Clock) -> Iterator[Registry]:
    with client(clock, host) as chosen:
        yield chosen


@pytest.fixture
def spec(host: str, request: pytest.FixtureRequest) -> Pullspec:
    """A repository that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return Pullspec(host, f"test/{'-'.join(filter(None, name.split('-')))}"[:200].rstrip("-"))
