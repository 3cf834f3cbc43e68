"""Get the one commit that is to be built.

Takes:   the source of the plan; a checkout of it that may be on this machine already
Gives:   the checkout
Touches: the work folder; the git server, unless the commit is here
Fails:   when the commit cannot be had
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.plan import Source
from koji_containerbuild.source.checkout import Checkout, fetch


def fetch_source(source: Source, near: Optional[Path], work: Path) -> Checkout:
    """A commit id names its content, so any repository that has it will do."""
    url = near.as_uri() if near and (near / ".git").is_dir() else source.url
    checkout = fetch(url, source.commit, work / "source")
    shutil.rmtree(checkout.root / ".git")  # not of the source: COPY must not bring it along
    return checkout
