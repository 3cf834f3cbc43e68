"""From configuration and container.yaml to what the finished image must pass."""

from __future__ import annotations

import pytest

from koji_containerbuild.config import Config, LimitsConfig, SignaturesConfig
from koji_containerbuild.contract.plan import Checks
from koji_containerbuild.errors import ConfigError
from koji_containerbuild.rules.levels import FAIL, Level
from koji_containerbuild.rules.signatures import key_ids
from koji_containerbuild.source.settings import Settings
from koji_containerbuild.tasks.checks import checks


def site(policy: Level = FAIL, **keys: str) -> Config:
    signing_keys = {name.replace("ANY", "*"): key_ids(ids) for name, ids in keys.items()}
    return Config(signatures=SignaturesConfig(policy), signing_keys=signing_keys)


def test_a_site_and_an_image_that_say_nothing_check_nothing():
    assert checks("f43", Settings(), Config()) == Checks()


def test_limit_and_tests_are_taken_over():
    config = Config(limits=LimitsConfig(image_size_mib=2))
    made = checks("f43", Settings(tests=("true",)), config)
    assert (made.max_size, made.tests) == (2 * 1024 * 1024, ("true",))


def test_the_very_name_counts_before_the_first_pattern_that_fits():
    config = site(f4ANY="aaaaaaaa", f43="0xBBBBBBBB cccccccccccccccc", ANY="dddddddd")
    assert checks("f43", Settings(), config).keys == ("bbbbbbbb", "cccccccccccccccc")
    assert checks("f44", Settings(), config).keys == ("aaaaaaaa",)
    assert checks("eln", Settings(), config).keys == ("dddddddd",)


@pytest.mark.parametrize(
    "config, words",
    [
        (site(FAIL), "has no keys for the target f43. Add a line 'f43 = KEY-ID'"),
        (site("warn", f42="aaaaaaaa"), "has no keys for the target f43"),
        (site(FAIL, f43=""), "has no keys for the target f43"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_the_administrators_mistake(config: Config, words: str):
    with pytest.raises(ConfigError, match=words):
        checks("f43", Settings(), config)


def test_no_keys_are_needed_where_signatures_are_ignored():
    assert checks("f43", Settings(), site("ignore", f43="aaaaaaaa")) == Checks()
