"""Which of two RPM versions is newer, as rpm itself decides (rpm's rpmio/rpmvercmp.c).

Hosts that run the command line need not have rpm's Python module.
"""

from __future__ import annotations

import re
from itertools import zip_longest

_PIECE = re.compile(r"[0-9]+|[a-zA-Z]+|~|\^")


def compare_versions(one: str, other: str) -> int:
    """-1, 0 or 1: `one` is older, no different, newer. For a version or a release alone.

    `~` sorts before everything, also before the end; `^` after the end, before everything else.

    >>> compare_versions("5.2.15", "5.2.21"), compare_versions("1.0~rc1", "1.0")
    (-1, -1)
    >>> compare_versions("1.0^git1", "1.0"), compare_versions("1.0^git1", "1.0.1")
    (1, -1)
    >>> compare_versions("1.01", "1_1")
    0
    """
    for piece, against in zip_longest(_PIECE.findall(one), _PIECE.findall(other), fillvalue=""):
        if piece != against and (found := _compare_pieces(piece, against)):
            return found
    return 0


def _compare_pieces(one: str, other: str) -> int:
    if "~" in (one, other):
        return -1 if one == "~" else 1
    if "" in (one, other):  # the longer one is newer
        return 1 if one else -1
    if "^" in (one, other):
        return -1 if one == "^" else 1
    if one.isdigit() != other.isdigit():
        return 1 if one.isdigit() else -1
    if one.isdigit():
        one, other = one.lstrip("0"), other.lstrip("0")
        one, other = f"{len(one):9}{one}", f"{len(other):9}{other}"  # more digits, larger
    return (one > other) - (one < other)


def compare_evr(one: str, other: str) -> int:
    """The same for [epoch:]version-release; no epoch is epoch 0.

    >>> compare_evr("1:1.0-1", "2.0-1"), compare_evr("0:1-1", "1-1"), compare_evr("1-9", "1-10")
    (1, 0, -1)
    """
    for ours, theirs in zip(_parts(one), _parts(other)):
        if found := compare_versions(ours, theirs):
            return found
    return 0


def _parts(evr: str) -> tuple[str, str, str]:
    epoch, colon, rest = evr.partition(":")
    version, _, release = (rest if colon else evr).rpartition("-")
    return (epoch if colon else "0"), version, release
