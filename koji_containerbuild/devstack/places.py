"""Where everything of one devstack lives: folders, ports and addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from koji_containerbuild.errors import ConfigError

HOST = "127.0.0.1"
FREE_SECONDS = 2.0
REPO = Path(__file__).resolve().parents[2]
DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Ports:
    """The address that all listen on and are named by, and one TCP port per listener."""

    hub: int  # plain http: kojid, the browser, files
    hub_ssl: int  # https, for clients with a certificate
    registry: int
    git: int
    host: str = HOST


PARTS_WITH_PORT = tuple(field.name for field in fields(Ports) if field.name != "host")


@dataclass(frozen=True)
class Places:
    """Folders. `state` is of one devstack; `cache` is shared and may be deleted at any time."""

    state: Path
    cache: Path
    repo: Path = REPO

    @property
    def topdir(self) -> Path:
        """Koji's /mnt/koji."""
        return self.state / "koji"

    @property
    def conf(self) -> Path:
        """Configuration of the parts; written anew by each `up`."""
        return self.state / "conf"

    @property
    def run(self) -> Path:
        """Records of what runs (process.py)."""
        return self.state / "run"

    @property
    def log(self) -> Path:
        """One log per part."""
        return self.state / "log"

    @property
    def certs(self) -> Path:
        """Certificates; each with its key."""
        return self.state / "certs"

    @property
    def git(self) -> Path:
        """The bare repositories."""
        return self.state / "git"

    @property
    def lookaside(self) -> Path:
        """The files of the lookaside cache."""
        return self.state / "lookaside"

    @property
    def builder_conf(self) -> Path:
        """What $KOJI_CONTAINERBUILD_CONFIG of kojid names."""
        return self.state / "builder.conf"

    @property
    def koji_conf(self) -> Path:
        """What `koji -c` takes: the client profiles."""
        return self.state / "koji.conf.d" / "devstack.conf"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's own folder.

        PostgreSQL refuses to run as root, and user postgres cannot reach a state folder below
        /root; a Unix socket's path must be short, too. So it lives in /var/tmp, named after the
        state folder, and `reset` removes it.
        """
        name = hashlib.sha256(str(self.state).encode()).hexdigest()[:12]
        return Path("/var/tmp") / f"koji-containerbuild-pg-{name}"  # noqa: S108


@dataclass(frozen=True)
class Addresses:
    """What a person or a test needs to know."""

    hub: str
    hub_ssl: str
    web: str
    files: str
    lookaside: str  # the base: + "/container/hello/FILE/sha512/HEX/FILE"
    registry: str  # host:port, as in a pull spec
    git: str  # the base: + "/container/hello.git#<sha>"


def addresses(ports: Ports) -> Addresses:
    """The addresses that belong to these ports."""
    http = f"http://{ports.host}:{ports.hub}"
    return Addresses(
        hub=f"{http}/kojihub",
        hub_ssl=f"https://{ports.host}:{ports.hub_ssl}/kojihub",
        web=f"{http}/koji",
        files=f"{http}/kojifiles",
        lookaside=f"{http}/lookaside",
        registry=f"{ports.host}:{ports.registry}",
        git=f"git://{ports.host}:{ports.git}",
    )


def find_places(state: str | None = None) -> Places:
    """From the command line, else $KCB_STATE and $KCB_CACHE, else ./.state and ~/.cache."""
    chosen = state or os.environ.get("KCB_STATE") or ".state"
    cache = os.environ.get("KCB_CACHE") or "~/.cache/koji-containerbuild"
    return Places(
        state=Path(chosen).expanduser().resolve(), cache=Path(cache).expanduser().resolve()
    )


def read_ports(places: Places) -> Ports | None:
    """The ports chosen at the first `up`, or None before that."""
    path = places.state / "ports.json"
    if not path.exists():
        return None
    try:
        return Ports(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged.", do="Run `reset`, then `up`.") from error


def choose_ports(places: Places, wanted: Mapping[str, int], host: str | None = None) -> Ports:
    """The remembered ports and address, changed by `wanted` (part → port) and `host`.

    The first time: ports that are free, on 127.0.0.1.
    """
    unknown = set(wanted) - set(PARTS_WITH_PORT)
    if unknown:
        raise ConfigError(
            f"There is no part {', '.join(sorted(unknown))}.",
            do=f"Parts with a port: {', '.join(PARTS_WITH_PORT)}.",
        )
    remembered = read_ports(places)
    address = host or (remembered.host if remembered else HOST)
    _require_ours(address)
    chosen = asdict(remembered) if remembered else _free_ports(address)
    ports = Ports(**{**chosen, **wanted, "host": address})
    places.state.mkdir(parents=True, exist_ok=True)
    (places.state / "ports.json").write_text(json.dumps(asdict(ports), indent=1) + "\n")
    return ports


def _require_ours(address: str) -> None:
    """ConfigError if nothing can listen there."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise ConfigError(
            f"{address!r} is no IPv4 address.", do="Write it as 10.244.7.1, say."
        ) from error
    refused = _bind_error(address, 0)
    if refused:
        raise ConfigError(
            f"{address} is no address of this machine ({refused.strerror}).",
            do="If it is a cluster's, run `cluster up` first. `ip address` shows what there is.",
        ) from refused


def require_free(port: int, part: str, host: str = HOST) -> None:
    """Raise ConfigError if somebody else listens on the port.

    Waits a moment: the threads of a program we have just ended may outlive its main thread.
    """
    deadline = time.monotonic() + FREE_SECONDS
    while error := _bind_error(host, port):
        if time.monotonic() > deadline:
            raise ConfigError(
                f"Port {port} of part '{part}' is used by another program ({error.strerror}).",
                do=f"End that program, or choose another: `up --port {part}=NUMBER`, or `reset`.",
            ) from error
        time.sleep(0.05)


def _bind_error(host: str, port: int) -> OSError | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def answers(port: int, host: str = HOST) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _free_ports(host: str) -> dict[str, int]:
    """All at the same time, so that none is given twice."""
    sockets = [socket.socket() for _ in PARTS_WITH_PORT]
    for one in sockets:
        one.bind((host, 0))
    found = {name: one.getsockname()[1] for name, one in zip(PARTS_WITH_PORT, sockets)}
    for one in sockets:
        one.close()
    return found
