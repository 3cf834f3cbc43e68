"""An image whose RUN searches for what it should not see: words planted around the program."""

from __future__ import annotations

import dataclasses

from koji_containerbuild.contract.plan import BuildPlan, Destination, Parent, Source
from tests.fakes.plans import PLAN
from tests.stack.builds import unique_name
from tests.stack.images import Image

# To be planted in the password file, in a path and in the program's environment. `[Y]`:
# the search is not to find itself.
WORD = "PLANTED-CANARY"
PATTERN = "PLANTED-CANAR?"  # the same for a shell, in a path
NOTHING = ["found: begin", "found: end"]
SEARCH = r"""
W=PLANTED-CANAR[Y]
echo "found: begin"
env | grep "$W" && echo "found: in the environment"
for P in /proc/[0-9]*; do
    grep -q "$W" $P/environ 2>/dev/null && echo "found: $P/environ"
    grep -q "$W" $P/cmdline 2>/dev/null && echo "found: $P/cmdline"
    cat $P/root$SECRET $P/cwd/auth.json 2>/dev/null | grep -q "$W" && echo "found: below $P"
done
grep -r -q "$W" /run /var/run /etc 2>/dev/null && echo "found: in the files"
cat $SECRET 2>/dev/null && echo "found: the file itself"
echo "found: end"
"""


def files(base: str, secret: str, more: str = "") -> dict[str, str]:
    """The sources. `secret`: path of the password file, in which the word is a pattern."""
    labels = "".join(f"LABEL {key}={value}\n" for key, value in PLAN.labels.items())
    recipe = f"FROM {base}\nENV SECRET={secret}\nCOPY search /\nRUN sh /search\n{more}"
    return {"Dockerfile": recipe + labels, "search": SEARCH}


def searching_plan(registry: str, source: Source) -> BuildPlan:
    """To build it, and push it to the same registry as its base."""
    base = f"{registry}/demo/base"
    pinned = f"{base}@{Image.pull(f'{base}:1').index_digest}"
    return dataclasses.replace(
        PLAN,
        source=source,
        parents=(Parent(f"{base}:1", f"{base}:1", pinned, final=True),),
        destination=Destination(f"{registry}/fedora/web", unique_name("search"), "", ()),
    )


def found_in(log: bytes) -> list[str]:
    """What the search said."""
    return [line for line in log.decode().splitlines() if line.startswith("found: ")]
