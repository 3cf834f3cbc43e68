"""Make the manual page /help.1 out of help.md.

Takes:   the text of help.md (markdown as go-md2man reads it), name and time of the image
Gives:   the file name of the source if there was one
Touches: the folder of added files
Fails:   when the converter fails, or makes nothing of it
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

from koji_containerbuild.buildroot.programs import output
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.source.manual import HELP

PAGE = "help.1"


def help_page(text: Optional[str], plan: BuildPlan, files: Path) -> Optional[str]:
    """The page's title, author and date are put in front, unless the text has them."""
    if text is None:
        return None
    markdown = files.parent / HELP
    markdown.write_text(text if text.startswith("%") else _title(plan) + text, encoding="utf-8")
    with markdown.open("rb") as file:  # not by name: nobody may look into our folder
        page = output(["go-md2man"], timeout=60, hostile=True, stdin=file)
    (files / PAGE).write_bytes(page)
    if not page:
        raise BuildFailed(f"go-md2man made nothing of {HELP}.", do="Check its markdown.")
    return HELP


def _title(plan: BuildPlan) -> str:
    when = datetime.fromtimestamp(plan.created, timezone.utc)
    author = plan.labels.get("maintainer") or plan.labels.get("vendor") or plan.nvr.name
    name = plan.destination.repository.rpartition("/")[2]
    return f"% {name.upper()}(1) Container Image Pages\n% {author}\n% {when:%B %d, %Y}\n\n"
