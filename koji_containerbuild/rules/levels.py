"""How strict a site is about a rule: one word, the same in the configuration and in a plan."""

from __future__ import annotations

from typing import Final, Literal

Level = Literal["ignore", "warn", "fail"]
IGNORE: Final = "ignore"
WARN: Final = "warn"
FAIL: Final = "fail"
