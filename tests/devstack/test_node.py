"""The node's control groups, in plain files: the kernel's own refusals are not in these."""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.devstack.cluster.node import _hand_down


def group(top: Path, available: str, handed_down: str) -> Path:
    (top / "cgroup.controllers").write_text(available)
    control = top / "cgroup.subtree_control"
    control.write_text(handed_down)
    return control


def test_what_is_missing_is_handed_down_and_what_nobody_needs_is_not(tmp_path: Path):
    control = group(tmp_path, "cpuset cpu io memory pids rdma misc\n", "memory pids\n")
    _hand_down(tmp_path)
    assert control.read_text() == "+cpu +cpuset +io"


def test_nothing_is_changed_where_all_is_handed_down_as_by_systemd(tmp_path: Path):
    control = group(tmp_path, "cpu memory rdma\n", "cpu memory\n")
    _hand_down(tmp_path)
    assert control.read_text() == "cpu memory\n"
