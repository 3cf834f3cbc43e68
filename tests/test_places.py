"""Where a devstack listens: chosen once, remembered, changed on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from koji_containerbuild.devstack.places import (
    addresses,
    choose_ports,
    find_places,
    read_ports,
    require_free,
)
from koji_containerbuild.errors import ConfigError


def test_a_devstack_is_on_127_0_0_1_unless_somebody_says_else(tmp_path: Path):
    ports = choose_ports(find_places(str(tmp_path)), {})
    assert addresses(ports).registry == f"127.0.0.1:{ports.registry}"


def test_the_address_is_remembered_like_the_ports(tmp_path: Path):
    places = find_places(str(tmp_path))
    chosen = choose_ports(places, {}, "127.0.0.2")
    assert addresses(chosen).git == f"git://127.0.0.2:{chosen.git}"
    assert choose_ports(places, {}) == read_ports(places) == chosen
    assert choose_ports(places, {}, "127.0.0.1").host == "127.0.0.1"


def test_a_state_folder_of_before_has_no_address_in_it_and_is_read(tmp_path: Path):
    (tmp_path / "ports.json").write_text('{"hub": 1, "hub_ssl": 2, "registry": 3, "git": 4}')
    assert addresses(choose_ports(find_places(str(tmp_path)), {})).registry == "127.0.0.1:3"


@pytest.mark.parametrize(
    ("host", "error"),
    [("192.0.2.77", "is no address of this machine"), ("localhost", "is no IPv4 address")],
)
def test_an_address_that_nothing_can_listen_on_is_refused(tmp_path: Path, host: str, error: str):
    with pytest.raises(ConfigError, match=error):
        choose_ports(find_places(str(tmp_path)), {}, host)


def test_the_address_is_no_part_with_a_port(tmp_path: Path):
    with pytest.raises(ConfigError, match="no part host"):
        choose_ports(find_places(str(tmp_path)), {"host": 5})


def test_a_free_port_is_free():
    require_free(0, "git")
