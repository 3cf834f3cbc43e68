"""Addresses of the cluster: a small network of its own, and one port per listener.

The node's address is put on the loopback interface: pods and the machine itself reach it, other
machines do not, and it does not change with the machine's own address.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from koji_containerbuild.devstack.places import Places
from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ConfigError

HOST = "127.0.0.1"
INTERFACE = "lo"


@dataclass(frozen=True)
class Network:
    """Chosen at the first `up` and remembered."""

    number: int  # the third byte of the addresses: several clusters may be on one machine
    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    kubelet: int
    kubelet_health: int

    @property
    def node_ip(self) -> str:
        """Of the node, of the apiserver, and what pods call the machine."""
        return f"10.244.{self.number}.1"

    @property
    def pods(self) -> str:
        """Where pods get their addresses from."""
        return f"10.244.{self.number}.0/24"

    @property
    def url(self) -> str:
        """The apiserver's."""
        return f"https://{self.node_ip}:{self.apiserver}"


def read(places: Places) -> Network | None:
    """What was chosen, or None before the first `up`."""
    path = _file(places)
    if not path.exists():
        return None
    try:
        return Network(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged.", do="Run `cluster reset`, then `up`.") from error


def choose(places: Places) -> Network:
    """The remembered network, or a free one."""
    found = read(places)
    if found is None:
        found = Network(number=_free_number(places.state), **_free_ports())
        _file(places).write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


def add_address(network: Network) -> None:
    """Make the node's address one of this machine's."""
    if f" {network.node_ip}/" not in _addresses():
        run_program(["ip", "address", "add", f"{network.node_ip}/32", "dev", INTERFACE])


def remove_address(network: Network) -> None:
    """Take it away again."""
    asked = ["ip", "-o", "-4", "address", "show", "dev", INTERFACE]
    if f" {network.node_ip}/" in run_program(asked):
        run_program(["ip", "address", "del", f"{network.node_ip}/32", "dev", INTERFACE])


def _free_number(state: Path) -> int:
    """By the name of the state folder, so that two first starts at once do not meet."""
    taken = _addresses() + run_program(["ip", "-4", "route", "show"])
    first = int(hashlib.sha256(str(state).encode()).hexdigest(), 16) % 256
    for step in range(256):
        number = (first + step) % 256
        if f" 10.244.{number}." not in f" {taken}".replace("\n", " "):
            return number
    raise ConfigError("All networks 10.244.N.0/24 are in use on this machine.")


def _free_ports() -> dict[str, int]:
    names = [field.name for field in fields(Network) if field.name != "number"]
    sockets = [socket.socket() for _ in names]
    for one in sockets:
        one.bind(("", 0))
    found = {name: one.getsockname()[1] for name, one in zip(names, sockets)}
    for one in sockets:
        one.close()
    return found


def _addresses() -> str:
    return run_program(["ip", "-o", "-4", "address", "show"])


def _file(places: Places) -> Path:
    return places.state / "network.json"
