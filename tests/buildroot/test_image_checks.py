"""Checks of the finished image, as far as they need no image."""

from __future__ import annotations

import pytest

from koji_containerbuild.buildroot.stages.check_signatures import SHOWN, check_signatures
from koji_containerbuild.buildroot.stages.check_size import MIB, check_size
from koji_containerbuild.contract.image import Rpm
from koji_containerbuild.contract.plan import Checks
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.rules.levels import FAIL, WARN

KEY = "829b606631645531"


def rpm(name: str, signature: str | None) -> Rpm:
    return Rpm(name, "1", "2", None, "x86_64", "ab" * 16, signature)


@pytest.mark.parametrize(
    "signature, key",
    [(KEY, KEY), (KEY, KEY[-8:]), (KEY[-8:], KEY), (KEY[-8:], KEY[-8:])],
)
def test_a_short_key_id_is_the_end_of_a_long_one(signature: str, key: str):
    checks = Checks(signatures=FAIL, keys=("0" * 16, key))
    assert check_signatures([rpm("web", signature)], False, checks) == ()


@pytest.mark.parametrize("signature", [None, "", "0" * 16, KEY[:8], "0" + KEY[1:]])
def test_anything_else_is_foreign(signature: str | None):
    with pytest.raises(BuildFailed, match="1 of 2 packages"):
        rpms = [rpm("web", KEY), rpm("other", signature)]
        check_signatures(rpms, False, Checks(signatures=FAIL, keys=(KEY,)))


def test_each_package_is_named_with_its_key_up_to_a_number():
    rpms = [rpm(f"p{n}", "0" * 8) for n in range(SHOWN + 3)]
    (text,) = check_signatures(rpms, False, Checks(signatures=WARN, keys=(KEY,)))
    assert text.count("(key 00000000)") == SHOWN
    assert text.endswith("p19-1-2.x86_64 (key 00000000), and 3 more.")
    assert text.startswith("23 of 23 packages")


def test_a_size_up_to_the_limit_is_fine():
    check_size(3 * MIB, 5 * MIB, 8 * MIB)
    with pytest.raises(BuildFailed) as caught:
        check_size(3 * MIB, 6 * MIB, 8 * MIB)
    assert caught.value.what == (
        "The image has 9.0 MiB uncompressed, and the limit of the site is 8.0 MiB. "
        "3.0 MiB are the parent's, 6.0 MiB the image's own."
    )
    with pytest.raises(BuildFailed, match="The parent alone is too large"):
        check_size(9 * MIB, 0, 8 * MIB)
