"""The containers of a test's pods, which are processes of this machine."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.cluster.pods import Pods


def processes(pods: Pods) -> Iterator[tuple[int, set[bytes]]]:
    """Process id and environment of each: a pod's name is its host's name."""
    found = pods.cluster.api.call("GET", pods.path)["items"]
    return processes_of({pod["metadata"]["name"] for pod in found})


def processes_of(names: Collection[str]) -> Iterator[tuple[int, set[bytes]]]:
    """Of these pods; nobody is asked."""
    hosts = {f"HOSTNAME={name}".encode() for name in names}
    for folder in Path("/proc").iterdir():
        try:
            text = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        environment = set(text.split(b"\0"))
        if hosts & environment:
            yield int(folder.name), environment


def show(file: Path, pods: Pods, ended: threading.Event) -> None:
    """Have a file, once a test has made it, in the containers too, until it has ended."""

    def look() -> None:
        while not ended.wait(0.05):
            for process, _ in processes(pods) if file.exists() else ():
                there = Path(f"/proc/{process}/root{file}")
                try:
                    there.parent.mkdir(parents=True, exist_ok=True)
                    there.touch()
                except OSError:
                    continue  # it has ended

    threading.Thread(target=look, daemon=True).start()
