"""Put the image's own Dockerfile, and the help page if there is one, into the image.

Takes:   the Dockerfile as in git and as rewritten; name-version-release for file names
Gives:   the instructions that copy the files in
Touches: the folder of added files
Fails:   never

The files come from a build context of their own, so .dockerignore does not reach them; COPY makes
them root's, whatever USER says.
"""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.source.from_line import OURS

CONTEXT = OURS  # name of the build context, for COPY --from
FOLDER = "buildinfo"


def copy_files(files: Path) -> str:
    """The instructions: help page to /, Dockerfiles to /root/buildinfo."""
    pages = [f"COPY --from={CONTEXT} /{page.name} /" for page in sorted(files.glob("help.*"))]
    return "\n".join([*pages, f"COPY --from={CONTEXT} /{FOLDER}/ /root/{FOLDER}/"])


def buildinfo(original: str, rewritten: str, image: str, files: Path) -> None:
    """In the image: Dockerfile-IMAGE as it was built, Dockerfile.original-IMAGE as in git."""
    name = image.replace("/", "-")
    folder = files / FOLDER
    folder.mkdir()
    (folder / f"Dockerfile-{name}").write_text(rewritten, encoding="utf-8")
    (folder / f"Dockerfile.original-{name}").write_text(original, encoding="utf-8")
